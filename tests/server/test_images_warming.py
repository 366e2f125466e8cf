"""A decode worker has loaded all it needs before its first picture, whatever that is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.pictures import FORMATS, animation, encode, noise, scene
from imagesieve_server.core.views import Preprocessing
from imagesieve_server.demo_data import DEMO_IMAGES
from imagesieve_server.images.warming import warm

WORKER = """
import sys
import imagesieve_server.images.worker
from pathlib import Path
from imagesieve_server.core.errors import ImagesieveError
from imagesieve_server.core.views import Coverage, Preprocessing, PreviewPlan, ViewPlan
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.preview import preview_image
from imagesieve_server.images.warming import warm

preprocessing = Preprocessing(size=64)
warm(preprocessing)
warmed = set(sys.modules)
for path in sys.argv[1:]:
    data = Path(path).read_bytes()
    try:
        for coverage in Coverage:
            plan = ViewPlan(coverage=coverage)
            decode_image(data, plan=plan, preprocessing=preprocessing, limits=Limits(),
                         frame_key=b"key")
        preview_image(data, plan=PreviewPlan(side=99), limits=Limits())
    except ImagesieveError:
        pass
print(*sorted(set(sys.modules) - warmed))
"""


@pytest.mark.beside_extras
def test_a_warm_worker_imports_nothing_for_any_picture(tmp_path: Path) -> None:
    files = sorted(DEMO_IMAGES.glob("*.*"))
    for format_ in FORMATS:
        frames = [noise((90, 64), seed=seed) for seed in range(4)]
        still = scene((300, 200)).convert("RGB")
        made = [encode(still, format_)]
        if format_ == "JPEG":
            made += [encode(still.convert(mode), format_) for mode in ("L", "CMYK")]
            made += [encode(still, format_, progressive=True)]
        else:
            made += [animation(frames, format_)]
        if format_ in ("PNG", "WEBP", "AVIF"):
            made += [encode(still.convert("RGBA"), format_)]
        made += [made[0][: len(made[0]) // 2]]
        for at, data in enumerate(made):
            files.append(tmp_path / f"{format_}{at}")
            files[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", WORKER, *map(str, files)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == []


@pytest.mark.parametrize("side", [1, 64, 384])
def test_any_size_of_views_can_be_warmed(side: int) -> None:
    """A worker that makes previews has views of one pixel."""
    warm(Preprocessing(size=side))
