from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_ALLOW: _ClassVar[Verdict]
    VERDICT_REVIEW: _ClassVar[Verdict]
    VERDICT_BLOCK: _ClassVar[Verdict]

class Band(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BAND_UNSPECIFIED: _ClassVar[Band]
    BAND_CLEAR: _ClassVar[Band]
    BAND_REVIEW: _ClassVar[Band]
    BAND_BLOCK: _ClassVar[Band]

class CategoryMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CATEGORY_MODE_UNSPECIFIED: _ClassVar[CategoryMode]
    CATEGORY_MODE_ENFORCE: _ClassVar[CategoryMode]
    CATEGORY_MODE_OBSERVE: _ClassVar[CategoryMode]

class ViewKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIEW_KIND_UNSPECIFIED: _ClassVar[ViewKind]
    VIEW_KIND_STILL: _ClassVar[ViewKind]
    VIEW_KIND_TILE: _ClassVar[ViewKind]
    VIEW_KIND_FRAME: _ClassVar[ViewKind]

class Background(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BACKGROUND_UNSPECIFIED: _ClassVar[Background]
    BACKGROUND_NONE: _ClassVar[Background]
    BACKGROUND_WHITE: _ClassVar[Background]
    BACKGROUND_BLACK: _ClassVar[Background]

class ThresholdScale(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    THRESHOLD_SCALE_UNSPECIFIED: _ClassVar[ThresholdScale]
    THRESHOLD_SCALE_SCORE: _ClassVar[ThresholdScale]
    THRESHOLD_SCALE_LOGIT: _ClassVar[ThresholdScale]
VERDICT_UNSPECIFIED: Verdict
VERDICT_ALLOW: Verdict
VERDICT_REVIEW: Verdict
VERDICT_BLOCK: Verdict
BAND_UNSPECIFIED: Band
BAND_CLEAR: Band
BAND_REVIEW: Band
BAND_BLOCK: Band
CATEGORY_MODE_UNSPECIFIED: CategoryMode
CATEGORY_MODE_ENFORCE: CategoryMode
CATEGORY_MODE_OBSERVE: CategoryMode
VIEW_KIND_UNSPECIFIED: ViewKind
VIEW_KIND_STILL: ViewKind
VIEW_KIND_TILE: ViewKind
VIEW_KIND_FRAME: ViewKind
BACKGROUND_UNSPECIFIED: Background
BACKGROUND_NONE: Background
BACKGROUND_WHITE: Background
BACKGROUND_BLACK: Background
THRESHOLD_SCALE_UNSPECIFIED: ThresholdScale
THRESHOLD_SCALE_SCORE: ThresholdScale
THRESHOLD_SCALE_LOGIT: ThresholdScale

class Threshold(_message.Message):
    __slots__ = ("value", "scale")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    value: float
    scale: ThresholdScale
    def __init__(self, value: _Optional[float] = ..., scale: _Optional[_Union[ThresholdScale, str]] = ...) -> None: ...

class View(_message.Message):
    __slots__ = ("kind", "left", "upper", "right", "lower", "frame", "background")
    KIND_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    kind: ViewKind
    left: int
    upper: int
    right: int
    lower: int
    frame: int
    background: Background
    def __init__(self, kind: _Optional[_Union[ViewKind, str]] = ..., left: _Optional[int] = ..., upper: _Optional[int] = ..., right: _Optional[int] = ..., lower: _Optional[int] = ..., frame: _Optional[int] = ..., background: _Optional[_Union[Background, str]] = ...) -> None: ...

class CategoryScore(_message.Message):
    __slots__ = ("category", "score", "log_odds", "neutral_score", "review_threshold", "block_threshold", "margin", "band", "view", "severity", "mode", "probability")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LOG_ODDS_FIELD_NUMBER: _ClassVar[int]
    NEUTRAL_SCORE_FIELD_NUMBER: _ClassVar[int]
    REVIEW_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BLOCK_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    BAND_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    category: str
    score: float
    log_odds: float
    neutral_score: float
    review_threshold: Threshold
    block_threshold: Threshold
    margin: float
    band: Band
    view: int
    severity: int
    mode: CategoryMode
    probability: float
    def __init__(self, category: _Optional[str] = ..., score: _Optional[float] = ..., log_odds: _Optional[float] = ..., neutral_score: _Optional[float] = ..., review_threshold: _Optional[_Union[Threshold, _Mapping]] = ..., block_threshold: _Optional[_Union[Threshold, _Mapping]] = ..., margin: _Optional[float] = ..., band: _Optional[_Union[Band, str]] = ..., view: _Optional[int] = ..., severity: _Optional[int] = ..., mode: _Optional[_Union[CategoryMode, str]] = ..., probability: _Optional[float] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("code", "category", "detail")
    CODE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: str
    category: str
    detail: str
    def __init__(self, code: _Optional[str] = ..., category: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class DecodeInfo(_message.Message):
    __slots__ = ("format", "width", "height", "mode", "frames", "orientation", "has_alpha", "icc_converted", "scale_denominator")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    ORIENTATION_FIELD_NUMBER: _ClassVar[int]
    HAS_ALPHA_FIELD_NUMBER: _ClassVar[int]
    ICC_CONVERTED_FIELD_NUMBER: _ClassVar[int]
    SCALE_DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    format: str
    width: int
    height: int
    mode: str
    frames: int
    orientation: int
    has_alpha: bool
    icc_converted: bool
    scale_denominator: int
    def __init__(self, format: _Optional[str] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., mode: _Optional[str] = ..., frames: _Optional[int] = ..., orientation: _Optional[int] = ..., has_alpha: bool = ..., icc_converted: bool = ..., scale_denominator: _Optional[int] = ...) -> None: ...
