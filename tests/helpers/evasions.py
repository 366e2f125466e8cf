"""The demo's six evasions, judged by the server's decoding and by plain decoding side by side.

Plain decoding is what a first attempt does: Pillow's first frame, ``convert("RGB")``, the
bundle's own crop. Both are scored by the same model under the same policy.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import ExifTags, Image, ImageChops

from helpers import pictures
from imagesieve_server.core.policy import Policy
from imagesieve_server.core.scoring import score_image
from imagesieve_server.core.verdict import Verdict, decide
from imagesieve_server.core.views import DecodedImage, DecodeInfo, View, ViewKind, ViewPlan
from imagesieve_server.demo_data import DEMO_BUNDLE, DEMO_IMAGES, DEMO_POLICIES
from imagesieve_server.encoders.bundle import load_bundle
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.images.preprocess import bundle_view
from imagesieve_server.offline.demo_images.catalogue import PICTURES, Evasion, Picture
from imagesieve_server.policy_files import compiled

SHIPPED = [picture for picture in PICTURES if picture.evasion]
OPEN = [picture for picture in PICTURES if picture.category and not picture.evasion]
"""The demo's flagged pictures, which show openly what they show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one way of decoding made of one file."""

    verdict: Verdict
    score: float  # of the picture's own category
    log_odds: float
    view: View  # of that score

    @property
    def flagged(self) -> bool:
        return self.verdict is not Verdict.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """The demo model and the demo policy."""

    encoder: OnnxImageEncoder = field(
        default_factory=lambda: OnnxImageEncoder(
            bundle=load_bundle(DEMO_BUNDLE),
            options=RuntimeOptions(provider=Provider.CPU, threads=1),
        )
    )
    policy: Policy = field(
        default_factory=lambda: compiled.read(DEMO_POLICIES / f"demo{compiled.SUFFIX}").policy
    )

    def whole(self, data: bytes, category: str) -> Seen:
        """By the server's decoding."""
        plan = ViewPlan(coverage=self.policy.coverage, max_views=self.policy.max_views)
        decoded = decode_image(
            data, plan=plan, preprocessing=self.encoder.spec.preprocessing, limits=Limits()
        )
        return self._seen(decoded, category)

    def plain(self, data: bytes, category: str) -> Seen:
        """By plain decoding."""
        image = Image.open(io.BytesIO(data)).convert("RGB")
        pixels = bundle_view(image, self.encoder.spec.preprocessing)
        still = View(kind=ViewKind.STILL, box=(0, 0, *image.size))
        info = DecodeInfo(format="", width=image.width, height=image.height, mode="RGB")
        decoded = DecodedImage(pixels=np.stack([pixels]), views=(still,), info=info)
        return self._seen(decoded, category)

    def _seen(self, decoded: DecodedImage, category: str) -> Seen:
        scored = score_image(
            policy=self.policy,
            categories=self.policy.categories,
            embeddings=self.encoder.run(decoded.pixels),
            views=decoded.views,
        )
        judgement = decide(
            policy=self.policy,
            scores=scored.scores,
            scores_valid=scored.valid,
            coverage=decoded.coverage,
            truncated=decoded.truncated,
        )
        score = next(s for s in scored.scores if s.category == category)
        return Seen(
            verdict=judgement.verdict,
            score=score.score,
            log_odds=score.log_odds,
            view=decoded.views[score.view],
        )


def shipped_file(picture: Picture) -> bytes:
    """The demo's own file."""
    return (DEMO_IMAGES / picture.file).read_bytes()


def shown(picture: Picture) -> Image.Image:
    """What a viewer shows of one of the open pictures."""
    image = Image.open(io.BytesIO(shipped_file(picture)))
    return image.convert("RGBA").convert("RGB")


def _late_frame(image: Image.Image) -> bytes:
    small = image.resize((128, 128))
    harmless = shown(next(p for p in PICTURES if p.file == "photo_cat.jpg")).resize((128, 128))
    frames = [harmless.copy() for _ in range(24)]
    frames[19] = small
    for number, frame in enumerate(frames):
        frame.putpixel((number, 0), (number, 0, 0))  # or the writer would merge equal frames
    return pictures.animation(frames, "WEBP", lossless=True, method=0)


def _alpha_only(image: Image.Image) -> bytes:
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    black.putalpha(ImageChops.invert(image.convert("L")))
    return pictures.encode(black, "PNG")


def _strip_end(image: Image.Image) -> bytes:
    strip = Image.new("RGB", (image.height * 12, image.height), (120, 140, 160))
    strip.paste(image, (strip.width - image.width, 0))
    return pictures.encode(strip, "JPEG", quality=90)


def _exif_rotated(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    turned = image.transpose(Image.Transpose.ROTATE_180)
    return pictures.encode(turned, "JPEG", quality=90, exif=exif)


def _grey16(image: Image.Image) -> bytes:
    luma = np.asarray(image.convert("L"), dtype=np.uint16)
    sixteen = Image.fromarray(np.maximum(luma * np.uint16(257), np.uint16(256)))
    return pictures.encode(sixteen, "PNG")


def _cmyk(image: Image.Image) -> bytes:
    return pictures.encode(image.convert("CMYK"), "JPEG", quality=90)


def openly(image: Image.Image, kind: Evasion) -> bytes:
    """What is left to see once it is found: in two of the six ways colours are lost."""
    is_grey = kind in (Evasion.ALPHA_ONLY, Evasion.GREY16)
    return pictures.encode(image.convert("L") if is_grey else image, "PNG")


HIDE: dict[Evasion, Callable[[Image.Image], bytes]] = {
    Evasion.LATE_FRAME: _late_frame,
    Evasion.ALPHA_ONLY: _alpha_only,
    Evasion.STRIP_END: _strip_end,
    Evasion.EXIF_ROTATED: _exif_rotated,
    Evasion.GREY16: _grey16,
    Evasion.CMYK: _cmyk,
}
"""Any picture, hidden in each of the six ways."""
