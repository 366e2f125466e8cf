"""A real object store with S3's API on this machine, with buckets of its own for tests.

OpenStack Swift from its package: real files, real signatures, real checks of what arrives. It
listens on loopback and dies with the process that started it, or before, where a test kills it.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from imagesieve_server.review_queue.bucket import Bucket, BucketPlace

ACCESS_KEY = "imagesieve:tests"
SCRIPT = Path(__file__).with_name("object_store_process.py")


class ObjectStore:
    """One server."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="s3-"))
        self.secret_key = secrets.token_hex(16)
        self.port = 0
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """The first time at a port of its own, after ``kill`` at the same one."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(self.folder), str(self.port), self.secret_key],
                stdout=subprocess.PIPE,
                stderr=log,
                env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            )
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        self._process.stdout.close()
        if not told:
            raise RuntimeError((self.folder / "log").read_text()[-4000:])
        self.port = int(told)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def new_bucket(self, *, versioned: bool = False) -> str:
        """The name of an empty bucket."""
        name = f"b{secrets.token_hex(6)}"
        self._native("PUT", name)
        if versioned:
            self._native("POST", name, {"X-Versions-Enabled": "true"})
        return name

    def place(self, bucket: str, **changes: object) -> BucketPlace:
        given: dict[str, object] = {
            "bucket": bucket,
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key": ACCESS_KEY,
            "secret_key": self.secret_key,
            "allow_http": True,
        }
        return BucketPlace(**{**given, **changes})  # type: ignore[arg-type]

    def bucket(self, name: str, **changes: object) -> Bucket:
        return Bucket(self.place(name, **changes))

    def settings(self, bucket: str, secret_file: Path) -> dict[str, str]:
        """Environment variables for a server that keeps its evidence here."""
        secret_file.write_text(self.secret_key)
        return {
            "IMAGESIEVE__QUEUE__EVIDENCE": f"s3://{bucket}/evidence",
            "IMAGESIEVE__QUEUE__EVIDENCE_ENDPOINT": self.endpoint,
            "IMAGESIEVE__QUEUE__EVIDENCE_REGION": "us-east-1",
            "IMAGESIEVE__QUEUE__EVIDENCE_ACCESS_KEY": ACCESS_KEY,
            "IMAGESIEVE__QUEUE__EVIDENCE_SECRET_KEY_FILE": str(secret_file),
        }

    def _native(self, method: str, bucket: str, headers: dict[str, str] | None = None) -> None:
        """A call of Swift's own API."""
        who = {"X-Auth-User": ACCESS_KEY, "X-Auth-Key": self.secret_key}
        told = _ask(urllib.request.Request(f"{self.endpoint}/auth/v1.0", headers=who))
        token = {"X-Auth-Token": told["X-Auth-Token"], "Content-Length": "0"}
        url = f"{told['X-Storage-Url']}/{bucket}"
        _ask(urllib.request.Request(url, method=method, headers={**token, **(headers or {})}))


def _ask(request: urllib.request.Request) -> dict[str, str]:
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with straight.open(request, timeout=20) as answer:
        return dict(answer.headers)
