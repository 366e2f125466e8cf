"""The series of webhooks; a part of the catalogue. Endpoints are named in the operator's file."""

from __future__ import annotations

from imagesieve_server.metrics.series import counter, gauge

WEBHOOK_ATTEMPTS = counter(
    "imagesieve_webhook_attempts_total",
    "Attempts to tell an endpoint of a decision: told, refused (any answer but 2xx and 410), gone "
    "(410), timed_out, unreachable.",
    "endpoint",
    "result",
)
WEBHOOK_OLDEST_AGE = gauge(
    "imagesieve_webhook_oldest_untold_age_seconds",
    "Seconds since the oldest decision that an endpoint has not been told, dead letters "
    "excepted; 0 where there is none.",
    "endpoint",
)
WEBHOOK_RETRYING = gauge(
    "imagesieve_webhook_retrying",
    "Events that failed and are tried again, with those that wait behind them.",
    "endpoint",
)
WEBHOOK_DEAD = gauge(
    "imagesieve_webhook_dead_letters",
    "Events that were given up and wait for somebody to replay them.",
    "endpoint",
)
