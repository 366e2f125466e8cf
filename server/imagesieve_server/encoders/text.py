"""Text to unit embeddings without torch: cleaning, tokens and the bundle's text encoder.

Token for token what open_clip's tokenizers do (its ``tokenizer.py``, MIT), for policies to be
compiled on a machine that only serves. Refuses to know prompts, templates and policies.
"""

from __future__ import annotations

import html
import string
from collections.abc import Callable, Sequence
from pathlib import Path

import ftfy
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from imagesieve_server.core.errors import BundleError
from imagesieve_server.core.scoring import UNIT_TOLERANCE
from imagesieve_server.core.views import Embeddings
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.manifest import TextCleaning, TextSpec, TokenizerKind
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, open_session

Tokens = npt.NDArray[np.int64]

START_TEXT = "<start_of_text>"
END_TEXT = "<end_of_text>"
"""open_clip's special tokens; a text that contains one of them gets its id, as there."""

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def clean(text: str, cleaning: TextCleaning) -> str:
    """open_clip's text cleaning: repair mojibake, resolve HTML entities, then by ``cleaning``."""
    basic = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return _CLEANERS[cleaning](basic)


def _one_space(text: str) -> str:
    return " ".join(text.split())


def _canonicalize(text: str) -> str:
    return _one_space(text.replace("_", " ").translate(_NO_PUNCTUATION).lower())


_CLEANERS: dict[TextCleaning, Callable[[str], str]] = {
    TextCleaning.LOWER: lambda text: _one_space(text).lower(),
    TextCleaning.WHITESPACE: _one_space,
    TextCleaning.CANONICALIZE: _canonicalize,
}


class TextTokenizer:
    """A bundle's tokenizer."""

    def __init__(self, *, file: Path, spec: TextSpec) -> None:
        """Read ``tokenizer.json``. Raises BundleError where it is not one."""
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as problem:  # the library raises bare Exception
            raise BundleError(f"{file.name}: not a readable tokenizer") from problem
        self._spec = spec

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokens int64 [N, L] of ``texts``; longer ones are truncated, keeping the end token."""
        cleaned = [clean(text, self._spec.cleaning) for text in texts]
        tokens = np.zeros((len(texts), self._spec.context_length), dtype=np.int64)
        for row, text in enumerate(cleaned):
            ids = self._ids(text)
            tokens[row, : len(ids)] = ids
        return tokens

    def _ids(self, text: str) -> list[int]:
        if self._spec.tokenizer is TokenizerKind.CLIP_BPE:
            return self._clip_ids(text)
        ids = list(self._tokenizer.encode(text).ids)
        if len(ids) != self._spec.context_length:
            raise BundleError("tokenizer.json does not pad and truncate to the context length")
        return ids

    def _clip_ids(self, text: str) -> list[int]:
        spec = self._spec
        assert spec.start_token is not None  # TextSpec checks it
        assert spec.end_token is not None
        special = {START_TEXT: spec.start_token, END_TEXT: spec.end_token}
        ids = [spec.start_token]
        # Piece by piece: as added tokens the special ones would also be found inside a piece
        # ("!<end_of_text>"), where open_clip's pattern does not find them.
        for piece, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(text):
            if piece in special:
                ids.append(special[piece])
            else:
                ids.extend(token.id for token in self._tokenizer.model.tokenize(piece))
        ids = ids[: spec.context_length - 1]
        return [*ids, spec.end_token]


class OnnxTextEncoder:
    """A bundle's tokenizer and text encoder, on the CPU."""

    def __init__(self, *, bundle: Bundle, threads: int = 0) -> None:
        """Open the session. Raises MissingExtra or BundleError."""
        manifest = bundle.manifest
        options = RuntimeOptions(provider=Provider.CPU, threads=threads)
        self.tokenizer = TextTokenizer(file=bundle.tokenizer, spec=manifest.text)
        self._session = open_session(bundle.text_encoder, options=options).session
        self._width = manifest.embedding_size

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Unit embeddings float32 [N, D] of ``texts``.

        One text a run, so that a vector never depends on what is encoded beside it. Raises
        BundleError where the graph fails or gives something that is not a finite unit vector.
        """
        embeddings = np.empty((len(texts), self._width), dtype=np.float32)
        for row, tokens in enumerate(self.tokenizer(texts)):
            embeddings[row] = self._encode_one(tokens[np.newaxis])
        return embeddings

    def _encode_one(self, tokens: Tokens) -> Embeddings:
        try:
            (found,) = self._session.run(["embeddings"], {"tokens": tokens})
        except Exception as problem:  # the library raises a class of its own per kind of failure
            raise BundleError("the text encoder failed on a text") from problem
        vector = np.asarray(found, dtype=np.float32)
        if vector.shape != (1, self._width):
            raise BundleError("the text encoder gave an embedding of another shape")
        if not abs(float(np.linalg.norm(vector)) - 1.0) <= UNIT_TOLERANCE:
            raise BundleError("the text encoder gave an embedding that is not a unit vector")
        return vector
