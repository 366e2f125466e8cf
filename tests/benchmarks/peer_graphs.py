"""The graphs that users of other servers would export, by each tool's documented defaults.

    python tests/benchmarks/peer_graphs.py [--arch ViT-B-32] [--cost]

Same seeded weights as our bundles, none of our rewriting. Settings and where they are documented:

- fp32: ``torch.onnx.export`` of the image tower and its normalisation to length 1, with a free
  batch size; exporter and opset of its choice (https://docs.pytorch.org/docs/stable/onnx).
- int8, dynamic: ``quantize_dynamic(model, out)``, "recommended […] for RNNs and transformer-based
  models"; int8, static: ``quantize_static(model, out, reader)``, by default QDQ, S8S8 ("should be
  the first choice"), one scale for a tensor; both behind ``quant_pre_process``, as their log asks
  (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).

Calibrated with the photographs that our int8 is calibrated with. How far each is from torch is
measured on the photographs of the export's gate, by the same formula. With ``--cost`` also what a
view takes of one thread in these graphs and in ours, in turn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from bundles import ARCH, FOLDER, exported
from peer_answers import apart

from imagesieve_server.commands.bench.figures import Ratio, Series
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.manifest import IMAGE_ENCODER

INPUT, OUTPUT = "images", "embeddings"
FP32, DYNAMIC, STATIC = "fp32", "int8 dynamic", "int8 static"
KINDS = (FP32, DYNAMIC, STATIC)
_FAR = "error.json"
_VERSIONS = "versions.json"
_MAKERS = ("torch", "open_clip_torch", "onnxruntime")
_ROUNDS = 10
_ROWS = (8, 1)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One of them."""

    kind: str
    path: Path
    error: float  # farthest embedding of a photograph from torch's ÷ distance between photographs

    @property
    def precision(self) -> str:
        return self.kind.partition(" ")[0]


def documented(arch: str, folder: Path = FOLDER) -> dict[str, Graph]:
    """The three graphs by kind; exported where they are not, or were with other versions. Needs
    the extra ``export``."""
    found = folder / f"{arch}-as-documented"
    versions = {name: metadata.version(name) for name in _MAKERS}
    if _made_with(found) != versions:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            errors = dict(_exported(arch, Path(unfinished)))
            Path(unfinished, _FAR).write_text(json.dumps(errors, indent=1) + "\n")
            Path(unfinished, _VERSIONS).write_text(json.dumps(versions, indent=1) + "\n")
            shutil.copytree(unfinished, found.with_suffix(".part"), dirs_exist_ok=True)
        shutil.rmtree(found, ignore_errors=True)
        found.with_suffix(".part").rename(found)
    errors = json.loads((found / _FAR).read_text())
    return {kind: Graph(kind=kind, path=_path(found, kind), error=errors[kind]) for kind in KINDS}


def _made_with(folder: Path) -> dict[str, str] | None:
    """The versions that the graphs in the folder were made with; None where nothing says so."""
    try:
        versions: dict[str, str] = json.loads((folder / _VERSIONS).read_text())
    except FileNotFoundError:
        return None
    return versions


def _path(folder: Path, kind: str) -> Path:
    return folder / f"{kind.replace(' ', '-')}.onnx"


def _exported(arch: str, folder: Path) -> Iterator[tuple[str, float]]:
    """Writes the graphs; each one's error."""
    import open_clip
    import torch

    from imagesieve_server.offline.export.parity import reference_embeddings
    from imagesieve_server.offline.export.photographs import (
        calibration_photographs,
        parity_photographs,
    )

    torch.manual_seed(0)  # as our bundles
    model, _, transform = open_clip.create_model_and_transforms(arch)
    model.eval()
    _export(torch, model, _path(folder, FP32))
    calibration = [transform(one).numpy()[None] for one in calibration_photographs()]
    _quantised(folder, calibration)
    pictures = parity_photographs()
    wanted = reference_embeddings(model, transform, pictures)
    pixels = [transform(one).numpy()[None] for one in pictures]
    for kind in KINDS:
        yield kind, apart(_embedded(_path(folder, kind), pixels), wanted)


def _export(torch: Any, model: Any, path: Path) -> None:
    class Tower(torch.nn.Module):  # type: ignore[misc]  # torch is imported at run time
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Any) -> Any:
            return self.model.encode_image(images, normalize=True)

    side = model.visual.preprocess_cfg["size"]
    side = side if isinstance(side, int) else side[0]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's notes about its own internals
        torch.onnx.export(
            Tower().eval(),
            (torch.zeros((2, 3, side, side)),),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
        )


def _quantised(folder: Path, calibration: Sequence[Any]) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Photographs(quantization.CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            self._rows = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self._rows, None)
            return None if row is None else {INPUT: row}

    with tempfile.TemporaryDirectory() as between:
        ready = Path(between, "ready.onnx")
        # Its first step fails at this exporter's Expand; each step is optional, as documented.
        quant_pre_process(_path(folder, FP32), ready, skip_symbolic_shape=True)
        quantization.quantize_dynamic(ready, _path(folder, DYNAMIC))
        quantization.quantize_static(ready, _path(folder, STATIC), Photographs())


def _embedded(path: Path, pixels: Sequence[Any]) -> Any:
    """[N, D], one picture at a time."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([OUTPUT], {INPUT: row})[0] for row in pixels])


def _costs(graphs: Mapping[str, Path], side: int) -> Iterator[Ratio]:
    """Processor time a view on one thread, each graph ÷ ours of its precision, round by round."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {
        name: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for name, path in graphs.items()
    }
    spent: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(_ROUNDS + 1):  # the first warms
        for (name, session), rows in itertools.product(sessions.items(), _ROWS):
            pixels = _noise(session.get_inputs()[0], rows, side)
            began = time.process_time()
            session.run(None, pixels)
            spent[name, rows].append((time.process_time() - began) / rows * 1000)
    found = {
        (name, rows): Series(what=name, unit="ms", values=tuple(each[1:]))
        for (name, rows), each in spent.items()
    }
    for rows, kind in itertools.product(_ROWS, KINDS):
        ours = found[f"ours, {kind.partition(' ')[0]}", rows]
        title = f"{kind} as documented ÷ ours, batches of {rows}"
        yield Ratio(measure="cost", title=title, over=found[kind, rows], under=ours)


def _noise(given: Any, rows: int, side: int) -> dict[str, Any]:
    chance = np.random.default_rng(0)
    if given.type == "tensor(uint8)":
        return {given.name: chance.integers(0, 256, (rows, side, side, 3), dtype=np.uint8)}
    return {given.name: chance.standard_normal((rows, 3, side, side), dtype=np.float32)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default=ARCH)
    parser.add_argument("--cost", action="store_true")
    args = parser.parse_args()
    graphs = documented(args.arch)
    for graph in graphs.values():
        print(f"{graph.kind}: error ÷ distance between photographs {graph.error:.3f}")
    if args.cost:
        bundles = {name: exported(name, arch=args.arch) for name in ("fp32", "int8")}
        side = load_bundle(bundles["fp32"]).manifest.preprocessing.size
        ours = {f"ours, {name}": one / IMAGE_ENCODER for name, one in bundles.items()}
        theirs = {kind: graph.path for kind, graph in graphs.items()}
        for one in _costs(ours | theirs, side):
            print(f"{one.title}: {one.over.median:.1f} ÷ {one.under.median:.1f} ms a view, "
                  f"{one.median:.2f} ({one.spread[0]:.2f} to {one.spread[1]:.2f})")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
