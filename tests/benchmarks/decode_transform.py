"""Our decoding and preprocessing on one core ÷ open_clip's own transform (Pillow, torchvision).

python tests/benchmarks/decode_transform.py [--rounds 5] [--seconds 4] [--json FILE]
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import open_clip
import torch
from PIL import Image

from imagesieve_server.commands.bench import decoding, report
from imagesieve_server.commands.bench.effort import Bench, Effort
from imagesieve_server.config import Settings
from imagesieve_server.demo_data import DEMO_BUNDLE
from imagesieve_server.encoders.bundle import load_bundle

SIDE = 224  # px, as ViT-B-32


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    preprocess = open_clip.image_transform(SIDE, is_train=False)

    def transform(data: bytes) -> object:
        with Image.open(io.BytesIO(data)) as image:
            return preprocess(image)

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            effort=Effort(rounds=args.rounds, seconds=args.seconds),
            folder=Path(folder),
            settings=Settings(),
            bundle=load_bundle(DEMO_BUNDLE),
        )
        figures = decoding.compare(bench, transform, name="open_clip's transform", side=SIDE)
    found = report.Report(about=report.facts(), figures=figures, failed={})
    for line in report.lines(found):
        print(line)
    if args.json:
        args.json.write_text(report.as_json(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
