"""Text cleaning and tokens as open_clip's, unit embeddings one text at a time."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from helpers.tiny_bundle import CONTEXT, WIDTH, write_tiny_bundle
from imagesieve_server.core.errors import BundleError
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.manifest import TextCleaning, TextSpec, TokenizerKind
from imagesieve_server.encoders.text import OnnxTextEncoder, TextTokenizer, clean


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.mark.parametrize(
    ("cleaning", "text", "cleaned"),
    [
        (TextCleaning.LOWER, "  A  photo\tof\n a CAT. ", "a photo of a cat."),
        (TextCleaning.LOWER, "fish &amp;amp; chips", "fish & chips"),
        (TextCleaning.LOWER, "schÃ¶n", "schön"),
        (TextCleaning.LOWER, "ﬁre", "fire"),
        (TextCleaning.WHITESPACE, "A  Photo ", "A Photo"),
        (TextCleaning.CANONICALIZE, "A_photo, of: a “cat”!", "a photo of a cat"),
        (TextCleaning.CANONICALIZE, "...", ""),
    ],
)
def test_cleaning(cleaning: TextCleaning, text: str, cleaned: str) -> None:
    assert clean(text, cleaning) == cleaned


def test_clip_tokens_start_end_and_are_padded(bundle: Bundle) -> None:
    spec = bundle.manifest.text
    tokens = TextTokenizer(file=bundle.tokenizer, spec=spec)(["Ab", ""])
    assert tokens.shape == (2, CONTEXT)
    assert tokens.dtype == np.int64
    first = tokens[0]
    assert first[0] == spec.start_token
    assert first[3] == spec.end_token
    assert (first[4:] == 0).all()
    assert list(tokens[1][:2]) == [spec.start_token, spec.end_token]


def test_truncation_keeps_the_end_token(bundle: Bundle) -> None:
    spec = bundle.manifest.text
    short, long = TextTokenizer(file=bundle.tokenizer, spec=spec)(["a" * 14, "a" * 400])
    assert short[-1] == spec.end_token
    assert long[-1] == spec.end_token
    assert long[0] == spec.start_token
    assert (long[1:-1] == short[1]).all()


def test_special_words_in_a_text_are_special_tokens(bundle: Bundle) -> None:
    spec = bundle.manifest.text
    (tokens,) = TextTokenizer(file=bundle.tokenizer, spec=spec)(["a <end_of_text>"])
    assert list(tokens).count(spec.end_token) == 2


def test_embeddings_are_unit_and_independent_of_their_company(bundle: Bundle) -> None:
    encoder = OnnxTextEncoder(bundle=bundle, threads=1)
    texts = ["a cat", "a handgun", "", "ein Schloß"]
    together = encoder.encode(texts)
    assert together.shape == (4, WIDTH)
    assert together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    for row, text in enumerate(texts):
        assert np.array_equal(encoder.encode([text])[0], together[row])
    assert np.linalg.norm(together[0] - together[1]) > 0.01


def test_a_file_that_is_no_tokenizer(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="not a readable tokenizer"):
        TextTokenizer(file=tmp_path / "tokenizer.json", spec=bundle.manifest.text)


def trained_tokenizer() -> Tokenizer:
    """A small Unigram tokenizer with an end token, as SigLIP's is built."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(["a photo of a cat", "a photo of a dog"] * 10, trainer)
    end = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", end)]
    )
    return tokenizer


HUGGINGFACE = TextSpec(
    tokenizer=TokenizerKind.HUGGINGFACE, cleaning=TextCleaning.CANONICALIZE, context_length=8
)


def test_a_hugging_face_tokenizer_pads_truncates_and_keeps_its_end(tmp_path: Path) -> None:
    tokenizer = trained_tokenizer()
    end = tokenizer.token_to_id("</s>")
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(length=8, pad_id=end, pad_token="</s>")
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    short, long = TextTokenizer(file=path, spec=HUGGINGFACE)(["A Cat!", "a photo of a dog " * 9])
    assert short[-1] == end
    assert long[-1] == end
    assert list(long).count(end) == 1
    expected = tokenizer.encode("a cat").ids
    assert list(short) == expected


def test_a_tokenizer_file_without_padding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    trained_tokenizer().save(str(path))
    with pytest.raises(BundleError, match="does not pad"):
        TextTokenizer(file=path, spec=HUGGINGFACE)(["a cat"])


# --- against open_clip itself ---------------------------------------------------------------

STRANGE = [
    "a photo of a cat",
    "It's WE'LL they've I'd 'S 'ſ I'M ''s",
    "<end_of_text> x <start_of_text>",
    "!<end_of_text>!<START_OF_TEXT>",
    "&amp;lt;b&amp;gt; &eacute; &#128512; &notanentity;",
    "",
    " \t\n ",
    "ﬁ ﬀ ½ ² ① Ⅷ",
    "a\u0345 \u0558\u0558 \u0378",
    "İstanbul ΑΣ Σ ß ẞ K",
    "x" * 500,
    "cat dog " * 100,
    "👩\u200d👩\u200d👧\u200d👦 🇩🇪 e\u0301 \u202eabc",
    "schÃ¶n â€œquotesâ€",
    "\x00\x01a\x7f\x85\xa0\u2028\u3000b",
    "日本語のテキスト 中文 한국어 العربية हिन्दी",
    "1234567890 3.14 1e-9 0x7f",
    "don't—stop…now!!! ##$%^&*()_+",
    "𝐀𝐁𝐂 ＡＢＣ",
]


def strange_texts() -> list[str]:
    chance = random.Random(0)
    ranges = ((32, 127), (32, 0x3000), (0x300, 0x370), (0xE000, 0x110000))

    def text() -> str:
        return "".join(
            chr(chance.randrange(*chance.choice(ranges))) for _ in range(chance.randrange(1, 40))
        )

    return STRANGE + [text() for _ in range(3000)]


@pytest.mark.torch
@pytest.mark.parametrize("cleaning", ["lower", "whitespace", "canonicalize"])
def test_token_for_token_as_open_clip(tmp_path: Path, cleaning: str) -> None:
    import open_clip

    from imagesieve_server.offline.export.tokenizer_file import write_clip_tokenizer

    theirs = open_clip.SimpleTokenizer(clean=cleaning)
    spec = write_clip_tokenizer(theirs, context_length=77, path=tmp_path / "tokenizer.json")
    ours = TextTokenizer(file=tmp_path / "tokenizer.json", spec=spec)
    texts = strange_texts()
    expected, found = theirs(texts).numpy(), ours(texts)
    different = [text for text, a, b in zip(texts, expected, found, strict=True) if (a != b).any()]
    assert different == []


@pytest.mark.torch
@pytest.mark.timeout(600)
def test_every_character_is_split_as_by_open_clip(tmp_path: Path) -> None:
    """All of Unicode, each as a letter beside others and after an apostrophe."""
    import open_clip

    from imagesieve_server.offline.export.tokenizer_file import write_clip_tokenizer

    theirs = open_clip.SimpleTokenizer()
    write_clip_tokenizer(theirs, context_length=77, path=tmp_path / "tokenizer.json")
    ours = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).pre_tokenizer
    different = []
    for point in (p for p in range(0x110000) if not 0xD800 <= p < 0xE000):
        text = f"a{chr(point) * 2}1!'{chr(point)}e"
        pieces = [
            "".join(theirs.byte_encoder[byte] for byte in piece.encode())
            for piece in theirs.pat.findall(text)
        ]
        if [piece for piece, _ in ours.pre_tokenize_str(text)] != pieces:
            different.append(hex(point))
    assert different == []


@pytest.mark.torch
def test_a_truncated_vocabulary(tmp_path: Path) -> None:
    """The first 8 000 merges, in a file with and without a last newline."""
    import open_clip

    from imagesieve_server.offline.export.tokenizer_file import write_clip_tokenizer

    published = Path(open_clip.tokenizer.default_bpe()).read_bytes()
    lines = gzip.decompress(published).decode().split("\n")
    for ending in ("", "\n"):
        bpe = tmp_path / "merges.txt.gz"
        bpe.write_bytes(gzip.compress(("\n".join(lines[:8001]) + ending).encode()))
        theirs = open_clip.SimpleTokenizer(bpe_path=str(bpe), context_length=32)
        spec = write_clip_tokenizer(theirs, context_length=32, path=tmp_path / "tokenizer.json")
        ours = TextTokenizer(file=tmp_path / "tokenizer.json", spec=spec)
        assert spec.end_token == theirs.vocab_size - 1
        assert np.array_equal(ours(STRANGE), theirs(STRANGE).numpy())
