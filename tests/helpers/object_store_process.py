"""OpenStack Swift with its S3 API in one process on this machine: ``folder`` and port in, the
port on standard output.

All four of Swift's servers (proxy, account, container, object), one disk, one replica, real files
and real signatures. Run by ``object_store.py``; dies with whoever started it.
"""

from __future__ import annotations

import ctypes
import json
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from swift.common.utils import eventlet_monkey_patch

eventlet_monkey_patch()

import eventlet  # noqa: E402
import eventlet.wsgi  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

PAGE = 100
"""Objects of one page of a listing; Amazon's have a thousand."""
KINDS = ("account", "container", "object")
PR_SET_PDEATHSIG = 1
STORAGE = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
[pipeline:main]
pipeline = server
[app:server]
use = egg:swift#{kind}
"""
PROXY = """
[DEFAULT]
swift_dir = {folder}
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth copy slo dlo versioned_writes symlink \
proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
paste.filter_factory = object_store_process:cache_factory
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
max_bucket_listing = {page}
[filter:tempauth]
use = egg:swift#tempauth
user_imagesieve_tests = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""


class Cache:
    """What memcached does for Swift, for one process; nothing is ever dropped."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def get(self, key: str, *args: object, **more: object) -> Any:
        return self._kept.get(key)

    def set(self, key: str, value: Any, *args: object, **more: object) -> None:
        self._kept[key] = json.loads(json.dumps(value))

    def incr(self, key: str, delta: int = 1, **more: object) -> int:
        self._kept[key] = max(0, int(self._kept.get(key) or 0) + delta)
        return int(self._kept[key])

    def delete(self, key: str, *args: object, **more: object) -> None:
        self._kept.pop(key, None)


def cache_factory(settings: dict[str, str], **more: str) -> Any:
    """Paste's way of naming a filter."""
    cache = Cache()

    def filtered(app: Any) -> Any:
        def call(environ: dict[str, Any], start_response: Any) -> Any:
            environ["swift.cache"] = cache
            return app(environ, start_response)

        return call

    return filtered


def main(folder: Path, port: int, secret: str) -> None:
    """Serve until killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    (folder / "devices" / "disk").mkdir(parents=True, exist_ok=True)
    utils.HASH_PATH_SUFFIX = b"tests"
    listening = {kind: _listen(0) for kind in KINDS}
    for kind in KINDS:
        _ring(folder / f"{kind}.ring.gz", listening[kind].getsockname()[1])
    listening["proxy"] = _listen(port)
    threads = []
    for kind, listener in listening.items():
        path = folder / f"{kind}.conf"
        text = PROXY if kind == "proxy" else STORAGE
        path.write_text(text.format(folder=folder, kind=kind, secret=secret, page=PAGE))
        threads.append(
            eventlet.spawn(
                eventlet.wsgi.server,
                listener,
                loadapp(str(path)),
                log=logging.getLogger("requests"),
                protocol=SwiftHttpProtocol,
                log_output=False,
            )
        )
    print(listening["proxy"].getsockname()[1], flush=True)
    for thread in threads:
        thread.wait()


def _listen(port: int) -> Any:
    listener = eventlet.listen(("127.0.0.1", port), backlog=512)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _ring(path: Path, port: int) -> None:
    builder = RingBuilder(4, 1, 0)
    builder.add_dev(
        {
            "id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "disk",
            "ip": "127.0.0.1", "port": port,
            "replication_ip": "127.0.0.1", "replication_port": port,
        }
    )  # fmt: skip
    builder.rebalance()
    builder.get_ring().save(str(path))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))  # Paste imports this module by its name
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
