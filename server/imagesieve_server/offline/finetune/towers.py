"""Pictures and texts through a model's two towers, as far as their last maps.

Pictures are read as the server reads them (its decoder, its view 0), texts as policies are (the
exported tokenizer), so that what is learned is what will be asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagesieve_server.core.errors import ImageUndecodable, LabelsError, RequestError
from imagesieve_server.core.views import Coverage, Pixels, Preprocessing, ViewPlan
from imagesieve_server.encoders.text import TextTokenizer
from imagesieve_server.extras import need
from imagesieve_server.images.decode import decode_image
from imagesieve_server.images.limits import Limits
from imagesieve_server.offline.export.load import LoadedModel
from imagesieve_server.offline.export.text_source import write_tokenizer
from imagesieve_server.offline.finetune.features import Floats
from imagesieve_server.offline.finetune.projections import Tower, image_tower, text_tower
from imagesieve_server.offline.labelled.pictures import Picture

_ONE_VIEW = ViewPlan(coverage=Coverage.CENTRE, max_views=1)


class Towers:
    """A loaded model, taken apart."""

    def __init__(self, loaded: LoadedModel, *, tokenizer: Path | None) -> None:
        """``tokenizer``: folder with tokenizer files, where not with the model.

        Raises BundleError where the model or its tokenizer cannot be used.
        """
        self.image: Tower = image_tower(loaded.model)
        self.text: Tower = text_tower(loaded.model)
        self._preprocessing = loaded.preprocessing
        with tempfile.TemporaryDirectory(prefix="imagesieve-finetune-") as scratch:
            file = Path(scratch) / "tokenizer.json"
            spec = write_tokenizer(loaded, folder=tokenizer, path=file)
            self._tokens = TextTokenizer(file=file, spec=spec)

    def check(self, pictures: Sequence[Picture], texts: Sequence[str]) -> None:
        """See that both towers follow their maps. Raises BundleError, LabelsError."""
        self.image.check(self._pixels(pictures))
        self.text.check(self._tokenised(texts))

    def of_pictures(self, pictures: Sequence[Picture]) -> tuple[Floats, Floats | None]:
        """(features [N, F], base [N, D] or None for zero). Raises LabelsError."""
        return _arrays(*self.image.take_apart(self._pixels(pictures)))

    def of_texts(self, texts: Sequence[str]) -> tuple[Floats, Floats | None]:
        """(features [N, F], base [N, D] or None for zero)."""
        return _arrays(*self.text.take_apart(self._tokenised(texts)))

    def _tokenised(self, texts: Sequence[str]) -> Any:
        return need("torch").from_numpy(self._tokens(texts))

    def _pixels(self, pictures: Sequence[Picture]) -> Any:
        pixels = np.stack([_view(picture, self._preprocessing) for picture in pictures])
        values = pixels.astype(np.float32) / 255.0
        view = self._preprocessing
        mean, std = (np.array(v, dtype=np.float32) for v in (view.mean, view.std))
        scaled = np.ascontiguousarray(((values - mean) / std).transpose(0, 3, 1, 2))
        return need("torch").from_numpy(scaled)


def _view(picture: Picture, preprocessing: Preprocessing) -> Pixels:
    """View 0, uint8 [S, S, 3]."""
    try:
        decoded = decode_image(
            picture.read(), plan=_ONE_VIEW, preprocessing=preprocessing, limits=Limits()
        )
    except ImageUndecodable as error:
        reason = error.detail.value
    except RequestError as error:
        reason = error.reason
    else:
        pixels: Pixels = decoded.pixels[0]
        return pixels
    raise LabelsError(
        f"is no picture that the server can decode ({reason})", file=str(picture.path)
    )


def _arrays(inputs: Any, base: Any) -> tuple[Floats, Floats | None]:
    return inputs.numpy(), None if base is None else base.numpy()
