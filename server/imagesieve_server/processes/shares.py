"""A front end's settings: the server's, with its share of what the machine has once.

Knows which settings are rooms and crews of the whole server. What counts callers or time is not
shared out: each front end counts for itself, as each of several servers does.
"""

from __future__ import annotations

import math
from dataclasses import replace

from imagesieve_server.config import Settings
from imagesieve_server.usable_cores import usable_cores

_LEAST_VIEWS = 64  # two pictures of the most views that a picture can have
_LEAST_CONNECTIONS = 2


def of_front_end(settings: Settings, *, address: str, leading: bool) -> Settings:
    """The settings of one front end that listens on ``address``."""
    server, images, count = settings.server, settings.images, settings.server.front_ends

    def share(whole: int, least: int = 1) -> int:
        return max(math.ceil(whole / count), min(whole, least))

    shared = replace(
        settings,
        server=replace(
            server,
            address=address,
            max_in_flight_views=share(server.max_in_flight_views, _LEAST_VIEWS),
            # Room for the largest picture must be there, or it could never come in.
            max_in_flight_mib=share(server.max_in_flight_mib, images.max_mib),
            max_moderation_calls=share(server.max_moderation_calls),
        ),
        metrics=replace(settings.metrics, address=""),  # the supervisor's
        images=replace(
            images,
            workers=share(images.workers or usable_cores()),
            cache_mib=share(images.cache_mib),
        ),
        queue=replace(
            settings.queue,
            database_connections=share(settings.queue.database_connections, _LEAST_CONNECTIONS),
        ),
    )
    if leading:
        return shared
    return replace(
        shared,
        console=replace(settings.console, address=""),
        webhooks=replace(settings.webhooks, endpoints=""),
    )
