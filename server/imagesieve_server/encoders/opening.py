"""Which row encoders serve a bundle here: on a GPU with bound buffers, else on the CPU by one of
two libraries; how many.

Knows the choice and what follows from it; refuses to know what drives them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagesieve_server.core.errors import BundleError
from imagesieve_server.core.ports import EncoderSpec
from imagesieve_server.encoders.bucketed import BucketedEncoder
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.core_share import (
    ALL_ON_ONE,
    BUCKETS_OF_A_CORE,
    LONE_RUN_S,
    CoreShare,
    core_share,
)
from imagesieve_server.encoders.cuda import CUDA_BUCKETS, BoundImageEncoder
from imagesieve_server.encoders.cuda_session import CUDA
from imagesieve_server.encoders.int8_support import note_of
from imagesieve_server.encoders.onnx import DEFAULT_BUCKETS, OnnxImageEncoder
from imagesieve_server.encoders.openvino import OPENVINO, OpenVinoImageEncoder
from imagesieve_server.encoders.openvino import library as openvino_library
from imagesieve_server.encoders.pinned_memory import cuda_pins
from imagesieve_server.encoders.runtime import (
    CPU,
    Provider,
    RuntimeOptions,
    library,
    open_session,
    why_not_cuda,
)
from imagesieve_server.usable_cores import usable_cores

_CUDA_SESSIONS = 2
"""One copies its pixels while the other computes."""
_TRIES = 3
_PROVIDERS: Mapping[str, Provider] = {
    CUDA: Provider.CUDA,
    CPU: Provider.CPU,
    OPENVINO: Provider.OPENVINO,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """How a bundle's image encoder is opened for serving."""

    runtime: RuntimeOptions
    sessions: int = 0  # batches at work at once; 0: as many as suit the provider
    max_batch: int = 0  # rows of the largest bucket; 0: as suits the provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Open encoders of one bundle, all alike."""

    encoders: Sequence[BucketedEncoder]  # at least one
    one_device: bool  # they take turns on it
    note: str  # for the log; "" where there is nothing to say


def open_encoders(bundle: Bundle, options: ServingOptions) -> Serving:
    """Open the sessions. Raises MissingExtra, ConfigError, BundleError or EncoderUnavailable.

    ``auto`` takes the CPU where CUDA is not installed or does not start, and the note says why.
    """
    runtime = options.runtime
    note = ""
    wants_cuda = runtime.provider in (Provider.CUDA, Provider.AUTO)
    if wants_cuda and (runtime.provider is Provider.CUDA or has_cuda()):
        try:
            return _on_cuda(bundle, options)
        except BundleError as problem:
            if runtime.provider is Provider.CUDA:
                raise
            note = why_not_cuda(problem)
        runtime = dataclasses.replace(runtime, provider=Provider.CPU)
    encoders = _on_cpu(bundle, dataclasses.replace(options, runtime=runtime))
    if runtime.provider is not Provider.OPENVINO:  # its own kernels
        note = "; ".join(filter(None, (note, note_of(bundle.manifest.precision))))
    return Serving(encoders=encoders, one_device=False, note=note)


def open_encoder(
    bundle: Bundle, runtime: RuntimeOptions, *, buckets: tuple[int, ...] = DEFAULT_BUCKETS
) -> BucketedEncoder:
    """One encoder for work that is not serving. Raises MissingExtra, ConfigError or BundleError."""
    if runtime.provider is Provider.OPENVINO:
        return OpenVinoImageEncoder(bundle=bundle, options=runtime, buckets=buckets)
    return OnnxImageEncoder(bundle=bundle, options=runtime, buckets=buckets)


def provider_of(spec: EncoderSpec) -> Provider:
    """What to ask for to have an encoder open where this one did, or not at all."""
    return _PROVIDERS[spec.provider]


def library_of(provider: str) -> str:
    """The name and version of what computes for an encoder's provider."""
    version = (openvino_library() if provider == OPENVINO else library()).__version__
    return f"{provider} {version}"


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime has the provider, working or not. Raises MissingExtra."""
    return CUDA in library().get_available_providers()


def buckets_up_to(largest: int) -> tuple[int, ...]:
    """Powers of two below ``largest``, and itself; none up to 0."""
    powers = [1 << n for n in range(largest.bit_length()) if 1 << n < largest]
    return (*powers, largest) if largest > 0 else ()


def _on_cuda(bundle: Bundle, options: ServingOptions) -> Serving:
    runtime = dataclasses.replace(options.runtime, provider=Provider.CUDA)
    buckets = buckets_up_to(options.max_batch) or CUDA_BUCKETS
    encoders = []
    for _ in range(options.sessions or _CUDA_SESSIONS):
        opened = open_session(bundle.image_encoder, options=runtime)
        pins = cuda_pins(library().cuda_version)  # the session has loaded its runtime
        encoders.append(BoundImageEncoder(bundle=bundle, opened=opened, buckets=buckets, pins=pins))
    return Serving(encoders=encoders, one_device=True, note=encoders[0].note)


def _on_cpu(bundle: Bundle, options: ServingOptions) -> Sequence[BucketedEncoder]:
    """Sessions of one thread share the weights: such a run computes on the thread that calls it."""
    runtime, sessions = options.runtime, options.sessions
    asked_for = buckets_up_to(options.max_batch)
    if runtime.provider is Provider.OPENVINO:  # divides the cores by its own rules
        buckets = asked_for or DEFAULT_BUCKETS
        return [open_encoder(bundle, runtime, buckets=buckets) for _ in range(sessions or 1)]
    share = core_share(sessions=sessions, threads=runtime.threads, cores=usable_cores())
    buckets = asked_for or (BUCKETS_OF_A_CORE if share.threads == 1 else DEFAULT_BUCKETS)
    first = _opened(bundle, runtime, share, buckets)
    chosen = sessions == 0 and runtime.threads == 0
    if chosen and share.sessions > 1 and _slow_alone(first):
        del first  # or the weights would be in memory twice
        return [_opened(bundle, runtime, ALL_ON_ONE, asked_for or DEFAULT_BUCKETS)]
    shared = first if share.threads == 1 else None
    return [first] + [
        _opened(bundle, runtime, share, buckets, beside=shared) for _ in range(share.sessions - 1)
    ]


def _slow_alone(encoder: OnnxImageEncoder) -> bool:
    """Whether each of some tries is: the first run touches the pages of the weights, too, and
    others may have the core."""
    return all(encoder.lone_run_s() > LONE_RUN_S for _ in range(_TRIES))


def _opened(
    bundle: Bundle,
    runtime: RuntimeOptions,
    share: CoreShare,
    buckets: tuple[int, ...],
    beside: OnnxImageEncoder | None = None,
) -> OnnxImageEncoder:
    options = dataclasses.replace(runtime, threads=share.threads)
    return OnnxImageEncoder(bundle=bundle, options=options, buckets=buckets, beside=beside)
