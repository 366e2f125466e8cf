"""The port Prometheus reads: ``/metrics`` over plain HTTP in a thread of its own.

It knows sockets and a registry; what is in the registry is ``recorder.py``'s.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from imagesieve_server.core.errors import ConfigError


class MetricsServer:
    """Serves one registry until ``stop``."""

    def __init__(self, *, registry: CollectorRegistry, host: str = "127.0.0.1", port: int) -> None:
        """Listens at once; port 0 takes a free one. Raises ConfigError where it cannot listen."""
        try:
            self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise ConfigError(
                f"cannot listen for metrics on {host}:{port}: {error.strerror}"
            ) from error

    @property
    def port(self) -> int:
        """The port in use."""
        return self._server.server_port

    def stop(self) -> None:
        """Close the port and end the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
