"""An embedding store that forgets with the process."""

from __future__ import annotations

import time
from collections.abc import Callable

from imagesieve_server.core.kept import JudgedImage, KeptImage, kept_image


class MemoryEmbeddings:
    """The EmbeddingStore port over a list, ``images``, in the order of seeing."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.images: list[KeptImage] = []
        self._clock = clock

    def see(self, image: JudgedImage) -> None:
        """As the Onlooker port."""
        self.images.append(kept_image(image, at=self._clock()))

    async def erase(self, *, tenant: str, sha256: str) -> int:
        """As the EmbeddingStore port."""
        gone = [i for i in self.images if (i.tenant, i.sha256) == (tenant, sha256)]
        self.images = [i for i in self.images if (i.tenant, i.sha256) != (tenant, sha256)]
        return sum(len(image.views) for image in gone)
