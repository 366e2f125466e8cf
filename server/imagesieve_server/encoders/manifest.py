"""What ``bundle.json`` says: the frozen values of a model bundle's manifest.

Knows the fields, their rules and the fingerprint; refuses to know where a bundle lies, how its
files are verified and what runs it.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from imagesieve_server.core.errors import BundleError
from imagesieve_server.core.views import Preprocessing
from imagesieve_server.encoders import strict_json

FORMAT_VERSION = 1
"""The manifest format this release writes and reads."""

MANIFEST_NAME = "bundle.json"
IMAGE_ENCODER = "image_encoder.onnx"
TEXT_ENCODER = "text_encoder.onnx"
TOKENIZER = "tokenizer.json"
CANARY = "canary.npz"
REQUIRED_FILES = (IMAGE_ENCODER, TEXT_ENCODER, TOKENIZER, CANARY)


class Precision(enum.StrEnum):
    """Number format of the image encoder's matrix products."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"  # static QDQ, per channel, ranges fixed at export

    @property
    def canary_tolerance(self) -> float:
        """Largest Euclidean distance of a canary's embedding that a healthy device shows.

        λ times it bounds the change of any logit. fp32 leaves room for another device's order
        of summation, fp16 and int8 for values that this order moves across a rounding step.
        """
        return {Precision.FP32: 1e-3, Precision.FP16: 1e-2, Precision.INT8: 5e-2}[self]

    @property
    def bucket_tolerance(self) -> float:
        """Largest |Δ(λ·c)| at λ = 100 between two batch buckets (design: batch invariance)."""
        return 0.01 if self is Precision.FP32 else 0.1


class Storage(enum.StrEnum):
    """How large weights lie in the files; they are computed with in ``Precision``."""

    FP32 = "fp32"
    FP16 = "fp16"  # half the size; widened once, when the session is opened


class Activation(enum.StrEnum):
    """How the model was trained to read λ·c + b."""

    SOFTMAX = "softmax"  # CLIP
    SIGMOID = "sigmoid"  # SigLIP


class TokenizerKind(enum.StrEnum):
    """Which token rules ``tokenizer.json`` follows."""

    CLIP_BPE = "clip_bpe"  # open_clip's SimpleTokenizer: start and end tokens, padded with 0
    HUGGINGFACE = "huggingface"  # truncation, padding and special tokens are in the file


class TextCleaning(enum.StrEnum):
    """open_clip's text cleaning, run before the tokenizer; all begin with its basic_clean."""

    LOWER = "lower"  # one space between words, lower case
    WHITESPACE = "whitespace"  # one space between words
    CANONICALIZE = "canonicalize"  # also without ASCII punctuation


class WeightSource(enum.StrEnum):
    """Where the weights come from."""

    TAG = "tag"  # one of open_clip's published tags
    CHECKPOINT = "checkpoint"  # a local file or folder
    RANDOM = "random"  # seeded; for tests and measurements, never for moderation


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """The origin of the weights."""

    source: WeightSource
    name: str  # the tag, the checkpoint's file name, or "seed N"
    sha256: str | None = None  # of the checkpoint file, hex; None where there is no file


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpec:
    """How text becomes tokens."""

    tokenizer: TokenizerKind
    cleaning: TextCleaning
    context_length: int  # tokens per text, L
    start_token: int | None = None  # CLIP_BPE only
    end_token: int | None = None  # CLIP_BPE only; kept as the last token when truncated

    def __post_init__(self) -> None:
        if self.context_length < 3:
            raise ValueError("context_length must be at least 3")
        special = (self.start_token, self.end_token)
        if self.tokenizer is TokenizerKind.CLIP_BPE and None in special:
            raise ValueError("clip_bpe needs start_token and end_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Distance to open_clip's own transform and torch model, on photographs.

    ``delta_logit_*`` are |Δ(λ·c)| over picture and prompt vectors at λ = ``logit_scale``;
    ``relative_error`` is the largest embedding error ÷ the median distance between two
    different pictures' embeddings.
    """

    pictures: int
    prompts: int
    logit_scale: float
    delta_logit_median: float
    delta_logit_p99: float
    relative_error: float
    cosine_min: float
    cosine_median: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InvarianceReport:
    """Whether an embedding depends on what else is in the batch (16 photographs, λ = 100)."""

    buckets: tuple[int, ...]
    same_bits_within_bucket: bool
    delta_logit_across_buckets: float  # largest |Δ(λ·c)| between any two buckets


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of the bundle."""

    sha256: str  # hex
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that ``bundle.json`` says."""

    format_version: int
    name: str  # free, shown to people
    architecture: str  # open_clip's name, or the folder's
    pretrained: Pretrained
    embedding_size: int  # D
    preprocessing: Preprocessing
    text: TextSpec
    logit_scale: float  # λ, already exponentiated
    logit_bias: float  # b; 0 where the model has none
    activation: Activation
    precision: Precision
    storage: Storage
    opset: int  # of the default ONNX domain
    operators: Mapping[str, int]  # expected counts in image_encoder.onnx
    calibration_set: str | None  # name of the pictures that fixed the int8 ranges
    parity: ParityReport | None  # None only where it was not measured
    invariance: InvarianceReport | None
    licence: str  # SPDX id or a sentence
    attribution: tuple[str, ...]
    files: Mapping[str, FileEntry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.embedding_size < 1:
            raise ValueError("embedding_size must be positive")
        if self.logit_scale <= 0:
            raise ValueError("logit_scale must be positive (it is exp of the trained parameter)")
        if self.precision is Precision.INT8 and not self.calibration_set:
            raise ValueError("int8 needs calibration_set: ranges are fixed at export")
        missing = [name for name in REQUIRED_FILES if name not in self.files]
        if missing:
            raise ValueError(f"files does not list {missing[0]}")

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over the canonical manifest, which lists the sha256 of every file."""
        return hashlib.sha256(strict_json.canonical(self)).hexdigest()


def parse(text: bytes) -> Manifest:
    """Read ``bundle.json``. Raises BundleError naming the field that is wrong."""
    try:
        value = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise BundleError(f"{MANIFEST_NAME} is not valid JSON") from problem
    if not isinstance(value, dict):
        raise BundleError(f"{MANIFEST_NAME}: expected an object")
    version = value.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{MANIFEST_NAME}: format_version is {version!r}, this release reads "
            f"{FORMAT_VERSION}; export the model again with this release"
        )
    return strict_json.decode(Manifest, value, where=MANIFEST_NAME)


def render(manifest: Manifest) -> bytes:
    """The text of ``bundle.json``, for people to read; ``parse`` gives the same manifest."""
    text = json.dumps(strict_json.encode(manifest), indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"
