"""``tokenizer.json`` from open_clip's tokenizer: the same tokens without torch and open_clip.

Knows both tokenizers' rules; refuses to know models. The character classes of open_clip's
pattern are measured on open_clip's own regular expression engine and written out as ranges:
engines differ in their Unicode version and in what IGNORECASE does to a class (for the ``regex``
module unassigned characters are then letters), and a token that differs is another prompt.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import BundleError, MissingExtra
from imagesieve_server.encoders.manifest import TextCleaning, TextSpec, TokenizerKind
from imagesieve_server.encoders.text import END_TEXT, START_TEXT

_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_SURROGATES = range(0xD800, 0xE000)


def write_clip_tokenizer(tokenizer: Any, *, context_length: int, path: Path) -> TextSpec:
    """Write ``tokenizer.json`` equal to an open_clip ``SimpleTokenizer`` and describe it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    # A merges file that ends in a newline gives open_clip one empty merge, which never applies.
    pairs = [(pair[0], pair[1]) for pair in merges if len(pair) == 2]
    # dropout None, no unknown token: every byte is in the vocabulary.
    model = models.BPE(vocab=tokenizer.encoder, merges=pairs, end_of_word_suffix="</w>")
    file = Tokenizer(model)
    pattern = Regex(_written_out_pattern())
    file.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    file.decoder = decoders.BPEDecoder(suffix="</w>")
    file.save(str(path), pretty=False)
    return TextSpec(
        tokenizer=TokenizerKind.CLIP_BPE,
        cleaning=_cleaning_of(tokenizer),
        context_length=context_length,
        start_token=int(tokenizer.encoder[START_TEXT]),
        end_token=int(tokenizer.encoder[END_TEXT]),
    )


def write_folder_tokenizer(
    folder: Path, *, cleaning: str, context_length: int, path: Path
) -> TextSpec:
    """Copy a Hugging Face tokenizer folder's ``tokenizer.json`` with padding and truncation set.

    The padding token is the folder's ``tokenizer_config.json``'s, else ``<pad>``. Raises
    BundleError where a file or the token is missing.
    """
    from tokenizers import Tokenizer

    source = folder / "tokenizer.json"
    if not source.is_file():
        raise BundleError(f"{folder.name}: no tokenizer.json in the tokenizer folder")
    file = Tokenizer.from_file(str(source))
    pad = _pad_token(folder)
    pad_id = file.token_to_id(pad)
    if pad_id is None:
        raise BundleError(f"{folder.name}: the padding token {pad!r} is not in tokenizer.json")
    file.enable_truncation(max_length=context_length)
    file.enable_padding(length=context_length, pad_id=pad_id, pad_token=pad)
    file.save(str(path), pretty=False)
    return TextSpec(
        tokenizer=TokenizerKind.HUGGINGFACE,
        cleaning=TextCleaning(cleaning),
        context_length=context_length,
    )


def _pad_token(folder: Path) -> str:
    try:
        config: Mapping[str, Any] = json.loads((folder / "tokenizer_config.json").read_text())
    except FileNotFoundError:
        return "<pad>"
    token = config.get("pad_token", "<pad>")
    return str(token["content"] if isinstance(token, dict) else token)


def _cleaning_of(tokenizer: Any) -> TextCleaning:
    """The cleaning rule by the identity of open_clip's function, not by its name."""
    from open_clip.tokenizer import get_clean_fn

    for cleaning in TextCleaning:
        if tokenizer.clean_fn is get_clean_fn(cleaning.value):
            return cleaning
    raise BundleError("open_clip cleans this model's text in a way this release does not know")


@functools.cache
def _written_out_pattern() -> str:
    """open_clip's pattern (``SimpleTokenizer.pat``) with every class as explicit ranges."""
    specials = (*_each_letter(START_TEXT), "|", *_each_letter(END_TEXT))
    contractions = ["".join(_each_letter(text)) for text in _CONTRACTIONS]
    letters = _ranges(_matching(r"[\p{L}]"))
    digits = _ranges(_matching(r"[\p{N}]"))
    others = _ranges(_matching(r"[^\s\p{L}\p{N}]"))
    return "|".join(
        ["".join(specials), *contractions, f"[{letters}]+", f"[{digits}]", f"[{others}]+"]
    )


def _each_letter(text: str) -> Iterable[str]:
    """For each character, the class of all that equal it without regard to case."""
    for character in text:
        if character.isalpha():
            yield f"[{_ranges(_matching(character))}]"
        else:
            yield character


def _matching(pattern: str) -> list[int]:
    """Code points that ``pattern`` matches on open_clip's engine, with IGNORECASE as there."""
    findall = _engine()(pattern)
    everything = "".join(chr(c) for c in range(0x110000) if c not in _SURROGATES)
    return [ord(character) for character in findall(everything)]


def _engine() -> Callable[[str], Callable[[str], list[str]]]:
    try:
        import regex
    except ImportError as problem:
        raise MissingExtra(
            "exporting a model needs open_clip: pip install 'imagesieve[export]'"
        ) from problem
    return lambda pattern: regex.compile(pattern, regex.IGNORECASE).findall


def _ranges(points: list[int]) -> str:
    """A class's inside: sorted code points as ``\\x{a}-\\x{b}`` ranges."""
    starts = [points[0]] + [b for a, b in pairwise(points) if b != a + 1]
    ends = [a for a, b in pairwise(points) if b != a + 1] + [points[-1]]
    return "".join(f"\\x{{{a:x}}}-\\x{{{b:x}}}" for a, b in zip(starts, ends, strict=True))
