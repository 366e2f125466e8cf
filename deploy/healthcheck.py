"""Exit 0 where the server at HOST:PORT (default 127.0.0.1:50051) is SERVING, else 1.

For container health checks; plaintext only. Needs nothing but the client.
"""

from __future__ import annotations

import sys

from imagesieve import Client, HealthStatus, ImagesieveError


def main(target: str) -> int:
    try:
        with Client(target) as client:
            status = client.health(timeout=2.0)
    except ImagesieveError as error:
        sys.stderr.write(f"{target}: {error.reason}\n")
        return 1
    sys.stderr.write(f"{target}: {status.value}\n")
    return 0 if status is HealthStatus.SERVING else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
