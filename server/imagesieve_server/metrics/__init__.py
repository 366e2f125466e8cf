"""Prometheus series of the server, on a registry of its own, and the port they are read at."""

from imagesieve_server.metrics.catalogue import ALL_SERIES, Kind, Series, reference_table
from imagesieve_server.metrics.http import MetricsServer
from imagesieve_server.metrics.recorder import PrometheusMetrics

__all__ = [
    "ALL_SERIES",
    "Kind",
    "MetricsServer",
    "PrometheusMetrics",
    "Series",
    "reference_table",
]
