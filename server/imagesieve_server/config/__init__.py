"""Every setting of the server: ``Settings``, and ``load`` which reads them."""

from imagesieve_server.config.loading import ENV_PREFIX as ENV_PREFIX
from imagesieve_server.config.loading import load as load
from imagesieve_server.config.reviewing import ConsoleSettings as ConsoleSettings
from imagesieve_server.config.reviewing import QueueSettings as QueueSettings
from imagesieve_server.config.reviewing import WebhookSettings as WebhookSettings
from imagesieve_server.config.serving import EmbeddingSettings as EmbeddingSettings
from imagesieve_server.config.serving import PolicySettings as PolicySettings
from imagesieve_server.config.serving import ServerSettings as ServerSettings
from imagesieve_server.config.settings import Settings as Settings
