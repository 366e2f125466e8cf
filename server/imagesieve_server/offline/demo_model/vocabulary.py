"""The vocabulary: the first merges of CLIP's byte pair encoding.

A prefix of the merges is itself a valid encoding, and the token table is a third of this model's
weights as it is. Knows open_clip's merges file; refuses to know models.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from imagesieve_server.extras import need

MERGES = 8_000
SIZE = 2 * 256 + MERGES + 2
"""Every byte, with and without the end-of-word mark; one token a merge; start and end."""

CONTEXT_LENGTH = 24
"""Tokens per text, start and end included; the longest name has 19."""

FILE = "bpe_merges.txt.gz"


def write_merges(path: Path) -> None:
    """Write the truncated merges in the form that open_clip's SimpleTokenizer reads."""
    with gzip.open(need("open_clip.tokenizer").default_bpe()) as file:
        lines = file.read().decode("utf-8").split("\n")
    # Line 0 is a version comment. No final newline: open_clip would read an empty merge.
    text = "\n".join(lines[: MERGES + 1])
    # mtime 0, or the same merges would be another file each time.
    path.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))


def make_tokenizer(merges: Path) -> Any:
    """open_clip's SimpleTokenizer over ``merges``; called with texts, gives int64 [N, 24]."""
    tokenizer = need("open_clip.tokenizer")
    return tokenizer.SimpleTokenizer(bpe_path=str(merges), context_length=CONTEXT_LENGTH)
