"""The series of a server of several processes; a part of the catalogue. The supervisor counts."""

from __future__ import annotations

from imagesieve_server.metrics.series import counter

PROCESS_RESTARTS = counter(
    "imagesieve_process_restarts_total",
    "Processes of a server with several front ends that ended unasked: encoder or front-N.",
    "process",
)
