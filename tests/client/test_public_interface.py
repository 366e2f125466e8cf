"""What users may rely on: names, signatures, and how little the package pulls in."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import imagesieve
import imagesieve.errors
import imagesieve.group_results
import imagesieve.quality_results
import imagesieve.testing
from imagesieve import (
    AsyncClient,
    AsyncGroupClient,
    AsyncQualityClient,
    AsyncReviewClient,
    Client,
    GroupClient,
    QualityClient,
    ReviewClient,
)

PAIRS = [
    (Client, AsyncClient),
    (ReviewClient, AsyncReviewClient),
    (GroupClient, AsyncGroupClient),
    (QualityClient, AsyncQualityClient),
]
IDS = ["client", "review", "groups", "quality"]
ITERATED = {"moderate_many", "moderate_bulk", "list", "watch", "items"}
ENTERING = {"__enter__": "__aenter__", "__exit__": "__aexit__"}


def methods(kind: type) -> set[str]:
    public = {n for n in vars(kind) if not n.startswith("_")}
    return public | ({"__init__"} | ENTERING.keys() | set(ENTERING.values())) & vars(kind).keys()


@pytest.mark.parametrize(("blocking", "asyncio"), PAIRS, ids=IDS)
def test_both_clients_have_the_same_methods(blocking: type, asyncio: type) -> None:
    assert {ENTERING.get(name, name) for name in methods(blocking)} == methods(asyncio)


@pytest.mark.parametrize(
    ("blocking", "asyncio", "name"),
    [(b, a, name) for b, a in PAIRS for name in sorted(methods(b))],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_both_clients_have_the_same_parameters(blocking: type, asyncio: type, name: str) -> None:
    ours = inspect.signature(getattr(blocking, name))
    theirs = inspect.signature(getattr(asyncio, ENTERING.get(name, name)))
    if name == "__init__" and blocking in (ReviewClient, GroupClient, QualityClient):
        return  # made by the clients only; each takes its own transport
    assert list(theirs.parameters.values()) == list(ours.parameters.values())
    returned = str(theirs.return_annotation).replace("Async", "")
    assert returned == str(ours.return_annotation)


@pytest.mark.parametrize(("blocking", "asyncio"), PAIRS, ids=IDS)
def test_every_asyncio_method_is_awaited_or_iterated(blocking: type, asyncio: type) -> None:
    for name in methods(asyncio) - ITERATED - {"__init__", "review"}:
        assert inspect.iscoroutinefunction(getattr(asyncio, name)), name
    assert blocking is not asyncio


@pytest.mark.parametrize(("blocking", "asyncio"), PAIRS, ids=IDS)
def test_every_public_method_is_documented(blocking: type, asyncio: type) -> None:
    for kind in (blocking, asyncio):
        for name in methods(kind) - ENTERING.keys() - set(ENTERING.values()) - {"__init__"}:
            assert getattr(kind, name).__doc__, name


def test_what_is_exported_is_sorted_and_there() -> None:
    for module in (imagesieve, imagesieve.testing):
        exported = module.__all__
        assert exported == sorted(exported)
        assert all(hasattr(module, name) for name in exported)


def test_every_error_and_every_value_is_exported() -> None:
    modules = [imagesieve.errors, imagesieve.results]
    modules += [imagesieve.review_results, imagesieve.policy_results, imagesieve.group_results]
    modules += [imagesieve.quality_results]
    made_here = {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    internal = {"ItemPage"}  # listings hide their pages
    assert made_here - internal <= set(imagesieve.__all__)


def test_nothing_internal_is_exported() -> None:
    modules = {
        name
        for name, value in vars(imagesieve).items()
        if inspect.ismodule(value) and not name.startswith("_")
    }
    assert not modules & set(imagesieve.__all__)


@pytest.mark.beside_extras
def test_importing_the_client_stays_light() -> None:
    """In a fresh interpreter, since pytest itself imports much."""
    script = (
        "import sys, imagesieve, imagesieve.testing, imagesieve.command\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "imagesieve" in loaded
    heavy = {"imagesieve_server", "numpy", "PIL", "onnxruntime", "torch", "sqlalchemy"}
    # grpc itself imports grpc_health and grpc_reflection where they are installed.
    assert not loaded & (heavy | {"grpc_status", "pytest"})


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(imagesieve.__file__).parent / "py.typed").exists()
