"""``canary.npz``, the same bytes for the same arrays (NumPy's own writer notes the time)."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np

from imagesieve_server.encoders.bundle import Canary


def write_canary(path: Path, canary: Canary) -> None:
    """Write the arrays that ``encoders.bundle`` reads back."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in (("pixels", canary.pixels), ("embeddings", canary.embeddings)):
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            # ZipInfo's default date is fixed, 1980.
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())
