"""All settings of the server, section by section."""

from __future__ import annotations

from dataclasses import dataclass, field

from imagesieve_server.config.reviewing import (
    ConsoleSettings,
    FloodSettings,
    QueueSettings,
    WebhookSettings,
)
from imagesieve_server.config.serving import (
    EmbeddingSettings,
    ImageSettings,
    LogSettings,
    MetricsSettings,
    ModelSettings,
    PolicySettings,
    ServerSettings,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All sections."""

    server: ServerSettings = field(default_factory=ServerSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    policies: PolicySettings = field(default_factory=PolicySettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    flood: FloodSettings = field(default_factory=FloodSettings)
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    log: LogSettings = field(default_factory=LogSettings)
