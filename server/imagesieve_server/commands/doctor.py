"""``imagesieve-server doctor``: check this installation and its settings, one line each."""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from imagesieve_server import config
from imagesieve_server.config import Settings
from imagesieve_server.core.errors import ImagesieveError, StoreNotUsable
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_POLICIES


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("doctor", help="check this installation and its settings")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    try:
        settings = config.load(args.config, os.environ)
    except ImagesieveError as error:
        print(f"FAIL  settings: {error.message}")
        return 1
    failures = 0
    for name, check in _checks(settings):
        try:
            print(f"ok    {name}: {check()}")
        except ImagesieveError as error:
            failures += 1
            print(f"FAIL  {name}: {error.for_operators}")
    return 1 if failures else 0


def _checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "imagesieve", lambda: metadata.version("imagesieve")
    yield "python", lambda: f"{sys.version.split()[0]} on {platform.platform()}"
    yield "onnxruntime", lambda: _runtime(settings)
    yield "gpu", lambda: _gpu(settings)
    yield "image formats", _formats
    yield "model", lambda: _model(settings)
    yield "policies", lambda: _policies(settings)
    yield "callers", lambda: _callers(settings)
    yield "webhooks", lambda: _webhooks(settings)
    yield "certificates", lambda: _certificates(settings)
    yield "embeddings", lambda: _embeddings(settings)
    yield "database", lambda: _database(settings)
    yield "evidence", lambda: _evidence(settings)


def _database(settings: Settings) -> str:
    """SQLite's file may be in use by a server; a PostgreSQL database is tried out."""
    from imagesieve_server.queue_store import open_store, place_of

    if not settings.queue.is_postgres:
        return f"SQLite {sqlite3.sqlite_version}, {settings.queue.database}"
    open_store(settings.queue).close()
    return f"PostgreSQL, {place_of(settings.queue)}"


def _evidence(settings: Settings) -> str:
    """A bucket is written to, read and cleaned, as a server does at its start."""
    from imagesieve_server.evidence_place import open_evidence

    if not settings.queue.evidence_is_bucket:
        return f"folder {settings.queue.evidence}"
    open_evidence(settings.queue)
    return f"bucket {settings.queue.evidence}"


def _runtime(settings: Settings) -> str:
    from imagesieve_server.encoders.runtime import library, refuse_two_runtimes

    refuse_two_runtimes()
    onnxruntime = library()
    found = f"{onnxruntime.__version__}, {', '.join(onnxruntime.get_available_providers())}"
    if settings.model.provider != "openvino":
        return found
    from imagesieve_server.encoders import openvino

    core = openvino.library().Core()
    openvino.refuse_without_bfloat16(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return f"{found}; OpenVINO {openvino.library().__version__}"


def _gpu(settings: Settings) -> str:
    """Whether what `model.provider` asks for could work; a session is not opened."""
    from imagesieve_server.core.errors import BundleError
    from imagesieve_server.encoders.cuda_session import load_libraries
    from imagesieve_server.encoders.gpu_facts import find_gpus
    from imagesieve_server.encoders.opening import has_cuda
    from imagesieve_server.encoders.runtime import library, why_not_cuda

    provider = settings.model.provider
    gpus = find_gpus()
    if provider == "cpu" or (provider == "auto" and not has_cuda()):
        return f"not used, {gpus or 'none'}"
    if not has_cuda():
        raise BundleError("this ONNX Runtime has no CUDA: pip install 'imagesieve[gpu]' instead")
    try:
        load_libraries(library())
    except BundleError as problem:
        if provider == "cuda":
            raise BundleError(why_not_cuda(problem)) from problem
        return f"not used: {why_not_cuda(problem)}"
    return f"{gpus or 'not shown by the driver'}; libraries load"


def _formats() -> str:
    from PIL import Image, features

    Image.init()
    found = [name for name in ("JPEG", "PNG", "WEBP", "GIF", "AVIF") if name in Image.OPEN]
    return f"Pillow {metadata.version('pillow')}, {', '.join(found)}, turbo: " + str(
        features.check_feature("libjpeg_turbo")
    )


def _model(settings: Settings) -> str:
    from imagesieve_server.encoders.bundle import load_bundle
    from imagesieve_server.encoders.int8_support import note_of

    bundle = load_bundle(Path(settings.model.bundle or DEMO_BUNDLE))
    found = f"{bundle.manifest.name}, {bundle.manifest.precision}, {bundle.fingerprint[:12]}"
    on_cpu = settings.model.provider in ("cpu", "auto")
    note = note_of(bundle.manifest.precision) if on_cpu else ""
    return f"{found}; {note}" if note else found


def _policies(settings: Settings) -> str:
    from imagesieve_server.core.errors import PolicyError
    from imagesieve_server.policy_files import compiled

    folder = Path(settings.policies.folder or DEMO_POLICIES)
    paths = sorted(folder.glob(f"*{compiled.SUFFIX}"))
    if not paths:
        raise PolicyError(f"no {compiled.SUFFIX} file", file=str(folder))
    names = [_name_of(path) for path in paths]
    if settings.policies.shadow_folder:
        shadows = Path(settings.policies.shadow_folder).glob(f"*{compiled.SUFFIX}")
        names += [f"shadow of {_name_of(path)}" for path in sorted(shadows)]
    return ", ".join(names)


def _name_of(path: Path) -> str:
    from imagesieve_server.policy_files import compiled

    policy = compiled.read(path).policy
    return f"{policy.name} {policy.version[:12]}"


def _callers(settings: Settings) -> str:
    from imagesieve_server.assembly import server_options
    from imagesieve_server.grpc_api.callers import read_callers

    server_options(settings)  # whether anything says who may call
    server = settings.server
    if not server.callers:
        return "no callers file: every caller that is let in has all roles"
    callers = read_callers(Path(server.callers), client_ca=bool(server.tls_client_ca))
    return f"{len(callers.records)} in {server.callers}"


def _webhooks(settings: Settings) -> str:
    if not settings.webhooks.endpoints:
        return "no endpoints file: decisions are told to nobody"
    from imagesieve_server.webhooks.endpoints import read_receivers

    receivers = read_receivers(Path(settings.webhooks.endpoints))
    return ", ".join(f"{name} at {one.where.origin}" for name, one in sorted(receivers.items()))


def _certificates(settings: Settings) -> str:
    from imagesieve_server.assembly import server_options
    from imagesieve_server.grpc_api.tls import check_tls

    files = server_options(settings).tls
    if files is None:
        return "none, without TLS"
    ends = (
        f"{role} until {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
        for role, at in check_tls(files).expires.items()
    )
    return ", ".join(ends)


def _embeddings(settings: Settings) -> str:
    """Whether what is asked for can be kept. It makes the folder, as the server would."""
    folder = settings.embeddings.folder
    if not folder:
        return "none are kept"
    from imagesieve_server.embedding_store.files import StoreFiles
    from imagesieve_server.extras import need

    version = need("pyarrow").__version__
    try:
        files = StoreFiles(root=Path(folder))
    except OSError as problem:
        raise StoreNotUsable(f"{folder} is not writable: {problem.strerror}") from problem
    days = settings.embeddings.keep_days
    kept = f"kept for {days:g} days" if days else "kept for ever"
    return f"pyarrow {version}, {files.size_bytes >> 20} MiB in {folder}, {kept}"
