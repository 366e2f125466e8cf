"""From a model that open_clip can load to a bundle that the server can serve.

The order of an export, on one page; every step has a module of its own. The folder appears under
its name only when everything in it is measured and written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import BundleError
from imagesieve_server.encoders import manifest as manifests
from imagesieve_server.encoders.bundle import Bundle, describe_file, load_bundle
from imagesieve_server.encoders.manifest import Manifest, Precision, Storage, TextSpec
from imagesieve_server.encoders.onnx import DEFAULT_BUCKETS
from imagesieve_server.extras import need
from imagesieve_server.offline.export.canary import write_canary
from imagesieve_server.offline.export.image_graph import OPSET, export_image_graph
from imagesieve_server.offline.export.load import LoadedModel, ModelSource, load_model
from imagesieve_server.offline.export.measure import Measured, Plan, measure, prepare
from imagesieve_server.offline.export.photographs import (
    CALIBRATION_NAME,
    calibration_photographs,
    folder_photographs,
)
from imagesieve_server.offline.export.quantise import quantise_int8
from imagesieve_server.offline.export.rewrite import (
    notable_operators,
    operator_counts,
    refuse_unexpected,
    store_in_half,
)
from imagesieve_server.offline.export.text_graph import export_text_graph
from imagesieve_server.offline.export.text_source import write_tokenizer

_SINGLE_FILE_LIMIT = 1_800_000_000
"""Bytes above which weights go to a file beside the graph (protobuf ends at 2 GiB)."""

UNKNOWN_LICENCE = "unknown: see where the weights come from"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to export, how, and what to say about it."""

    source: ModelSource
    out: Path  # must not exist
    precision: Precision = Precision.FP32
    storage: Storage = Storage.FP32
    name: str = ""  # default: architecture and weights
    tokenizer: Path | None = None  # folder with tokenizer files; default: found with the model
    calibration: Path | None = None  # folder with pictures for int8; default: scikit-image's
    reduce_range: bool = False  # 7-bit int8, for x86 without VNNI
    licence: str = UNKNOWN_LICENCE
    attribution: tuple[str, ...] = ()
    extra_files: Mapping[str, bytes] = field(default_factory=dict)  # e.g. a model card
    plan: Plan = field(default_factory=lambda: Plan(buckets=DEFAULT_BUCKETS))


def export_bundle(
    request: ExportRequest, *, progress: Callable[[str], None] = lambda _: None
) -> Bundle:
    """Export, measure, write; the bundle as loaded back.

    ``progress`` is told each step. Raises MissingExtra, BundleError (the model cannot be loaded,
    a gate is not passed, ``out`` exists or cannot be made).
    """
    if request.out.exists():
        raise BundleError(f"{request.out.name}: exists already; bundles are never changed")
    progress("loading the model")
    loaded = load_model(request.source)
    with _complete_or_absent(request.out) as folder:
        text = write_tokenizer(loaded, folder=request.tokenizer, path=folder / manifests.TOKENIZER)
        progress("exporting the encoders")
        operators = _write_graphs(loaded, folder, request)
        progress("comparing with torch on photographs")
        measured = measure(
            loaded,
            folder=folder,
            text=text,
            precision=request.precision,
            storage=request.storage,
            plan=request.plan,
        )
        write_canary(folder / manifests.CANARY, measured.canary)
        for name, content in request.extra_files.items():
            (folder / name).write_bytes(content)
        manifest = _manifest(loaded, request, folder, text, operators, measured)
        (folder / manifests.MANIFEST_NAME).write_bytes(manifests.render(manifest))
    return load_bundle(request.out)


def _write_graphs(loaded: LoadedModel, folder: Path, request: ExportRequest) -> dict[str, int]:
    """Write both graphs; the image graph's notable operators."""
    half = request.precision is Precision.FP16
    image = export_image_graph(loaded.model, loaded.preprocessing, half=half)
    refuse_unexpected(operator_counts(image))
    text = export_text_graph(loaded.model, context_length=loaded.context_length)
    if request.precision is Precision.INT8:
        chosen = request.calibration
        pictures = folder_photographs(chosen) if chosen else calibration_photographs()
        image = quantise_int8(
            image, calibration=prepare(pictures, loaded), reduce_range=request.reduce_range
        )
    if request.storage is Storage.FP16:
        image, text = store_in_half(image), store_in_half(text)
    _save(image, folder / manifests.IMAGE_ENCODER)
    _save(text, folder / manifests.TEXT_ENCODER)
    return notable_operators(image)


def _save(proto: Any, path: Path) -> None:
    onnx = need("onnx")
    if proto.ByteSize() <= _SINGLE_FILE_LIMIT:
        onnx.save_model(proto, path)
        return
    onnx.save_model(
        proto, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024
    )


def _manifest(
    loaded: LoadedModel,
    request: ExportRequest,
    folder: Path,
    text: TextSpec,
    operators: Mapping[str, int],
    measured: Measured,
) -> Manifest:
    quantised = request.precision is Precision.INT8
    chosen = request.calibration
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Manifest(
        format_version=manifests.FORMAT_VERSION,
        name=request.name or f"{loaded.architecture} ({loaded.pretrained.name})",
        architecture=loaded.architecture,
        pretrained=loaded.pretrained,
        embedding_size=loaded.embedding_size,
        preprocessing=loaded.preprocessing,
        text=text,
        logit_scale=loaded.logit_scale,
        logit_bias=loaded.logit_bias,
        activation=loaded.activation,
        precision=request.precision,
        storage=request.storage,
        opset=OPSET,
        operators=operators,
        calibration_set=(chosen.name if chosen else CALIBRATION_NAME) if quantised else None,
        parity=measured.parity,
        invariance=measured.invariance,
        licence=request.licence,
        attribution=request.attribution,
        files={path.relative_to(folder).as_posix(): describe_file(path) for path in files},
    )


@contextmanager
def _complete_or_absent(out: Path) -> Iterator[Path]:
    """A working folder that takes the name ``out`` at the end, or leaves nothing behind. Raises
    BundleError where it cannot be made."""
    folder = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise BundleError(f"{out}: cannot be written: {error.strerror}") from None
    try:
        yield folder
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
