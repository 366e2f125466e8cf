"""Bound buffers: the code that serves on a GPU, run on the CPU, where buffers are plain memory."""

from __future__ import annotations

import gc
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from helpers.tiny_bundle import SIZE, WIDTH, pictures, write_tiny_bundle
from imagesieve_server.core.errors import BundleError, EncoderUnavailable, MissingExtra
from imagesieve_server.encoders import cuda_session, opening
from imagesieve_server.encoders.bound_session import BoundSession
from imagesieve_server.encoders.bundle import Bundle
from imagesieve_server.encoders.cuda import BoundImageEncoder
from imagesieve_server.encoders.onnx import OnnxImageEncoder
from imagesieve_server.encoders.pinned_memory import CudaPins, HostRows, NoPins, cuda_pins
from imagesieve_server.encoders.runtime import CPU, Opened, Provider, RuntimeOptions, open_session

OPTIONS = RuntimeOptions(provider=Provider.CPU, threads=1)
no_cuda = pytest.mark.skipif(opening.has_cuda(), reason="this ONNX Runtime has CUDA")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def opened(bundle: Bundle) -> Opened:
    return open_session(bundle.image_encoder, options=OPTIONS)


@pytest.fixture(scope="module")
def bound(bundle: Bundle) -> BoundImageEncoder:
    return BoundImageEncoder(bundle=bundle, opened=opened(bundle), buckets=(4, 1, 2, 4))


@pytest.fixture(scope="module")
def plain(bundle: Bundle) -> OnnxImageEncoder:
    return OnnxImageEncoder(bundle=bundle, options=OPTIONS, buckets=(1, 2, 4))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 11])
def test_the_same_bits_as_without_bound_buffers(
    bound: BoundImageEncoder, plain: OnnxImageEncoder, count: int
) -> None:
    assert np.array_equal(bound.run(pictures(count)), plain.run(pictures(count)))


def test_what_one_batch_left_is_not_in_the_next(
    bound: BoundImageEncoder, plain: OnnxImageEncoder
) -> None:
    """Buffers are used again: neither pictures nor embeddings of another call may show."""
    white = np.full((4, SIZE, SIZE, 3), 255, dtype=np.uint8)
    first = bound.run(white)
    kept = first.copy()
    assert np.array_equal(bound.run(pictures(3)), plain.run(pictures(3)))
    assert np.array_equal(first, kept)


def test_padding_is_black(bundle: Bundle) -> None:
    staging = HostRows((4, SIZE, SIZE, 3), pins=None)
    session = BoundSession(
        ort=onnxruntime,
        session=opened(bundle).session,
        device="cpu",
        buckets=(4,),
        staging=staging,
        embedding_size=WIDTH,
    )
    session.run(pictures(4), 4)
    session.run(pictures(1), 4)
    assert np.array_equal(staging.pixels[:1], pictures(1))
    assert not staging.pixels[1:].any()


class Recorded:
    """A session that notes the run options of each run."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.graphs: list[str] = []

    def io_binding(self) -> Any:
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        self._session.run_with_iobinding(binding, options)


def test_each_bucket_has_its_graph_and_its_addresses(bundle: Bundle) -> None:
    """A replayed graph reads and writes where it was captured."""
    session = Recorded(opened(bundle).session)
    bound = BoundSession(
        ort=onnxruntime,
        session=session,
        device="cpu",
        buckets=(1, 2, 4),
        staging=HostRows((4, SIZE, SIZE, 3), pins=None),
        embedding_size=WIDTH,
    )
    before = bound.addresses()
    for count, bucket in ((1, 1), (2, 2), (4, 4), (3, 4), (1, 1)):
        bound.run(pictures(count), bucket)
    assert bound.addresses() == before
    assert len({address for pair in before.values() for address in pair}) == 6
    assert session.graphs[:3] == ["3", "2", "1"]  # the largest is captured first
    assert session.graphs[3:] == ["1", "3"]
    assert not {"0", "-1"} & set(session.graphs)  # the library's default, and "no graph"


def test_warming_runs_every_bucket_until_its_graph_is_captured(bundle: Bundle) -> None:
    session = Recorded(opened(bundle).session)
    encoder = BoundImageEncoder(
        bundle=bundle,
        opened=Opened(session=session, provider=CPU, note=""),
        buckets=(1, 2, 4),
    )
    assert list(encoder.warm()) == [4, 2, 1]
    runs = {graph: session.graphs.count(graph) for graph in session.graphs}
    assert list(runs) == ["1", "2", "3"]
    assert min(runs.values()) >= 4  # three until it is captured, and timed ones
    assert session.graphs == sorted(session.graphs)


def test_canary_and_spec_are_those_of_every_encoder(
    bound: BoundImageEncoder, plain: OnnxImageEncoder
) -> None:
    bound.check_canary()
    assert bound.spec == plain.spec
    assert bound.buckets == (1, 2, 4)


def test_an_error_of_the_library_is_the_encoders(bundle: Bundle) -> None:
    class Broken(Recorded):
        def run_with_iobinding(self, binding: Any, options: Any) -> None:
            raise RuntimeError("/srv/model: CUDA error 700")

    broken = Opened(session=Broken(opened(bundle).session), provider=CPU, note="")
    encoder = BoundImageEncoder(bundle=bundle, opened=broken, buckets=(1,))
    with pytest.raises(EncoderUnavailable) as caught:
        encoder.run(pictures(1))
    assert "/srv" not in caught.value.message


# --- pinned memory ------------------------------------------------------------------------------


class Pins:
    """Notes what is pinned."""

    def __init__(self) -> None:
        self.pinned: dict[int, int] = {}

    def pin(self, address: int, size: int) -> None:
        self.pinned[address] = size

    def unpin(self, address: int) -> None:
        del self.pinned[address]


def test_whole_pages_are_pinned_as_long_as_anybody_sees_them() -> None:
    pins = Pins()
    rows = HostRows((3, SIZE, SIZE, 3), pins=pins)
    ((address, size),) = pins.pinned.items()
    assert (address % mmap.PAGESIZE, size % mmap.PAGESIZE) == (0, 0)
    assert size >= rows.pixels.nbytes
    assert rows.pixels.ctypes.data == address
    assert rows.note == ""
    view = rows.pixels[1:2]
    del rows
    gc.collect()
    assert pins.pinned
    del view
    gc.collect()
    assert not pins.pinned


def test_memory_that_cannot_be_pinned_is_used_unpinned(bundle: Bundle) -> None:
    encoder = BoundImageEncoder(
        bundle=bundle, opened=opened(bundle), buckets=(1, 2), pins=NoPins("no runtime")
    )
    assert encoder.note == "memory is not pinned, copies are slower: no runtime"
    assert len(encoder.run(pictures(2))) == 2


def test_a_runtime_that_is_not_there_pins_nothing() -> None:
    pins = cuda_pins("0.1")
    with pytest.raises(OSError, match=r"libcudart\.so\.0 does not load"):
        pins.pin(0, 1)


class Runtime:
    """CUDA's two calls, answering with one error number."""

    class Call:
        def __init__(self, code: int) -> None:
            self.code = code
            self.given: list[tuple[int, ...]] = []
            self.argtypes: tuple[Any, ...] = ()

        def __call__(self, *arguments: int) -> int:
            assert len(arguments) == len(self.argtypes)
            self.given.append(arguments)
            return self.code

    def __init__(self, code: int) -> None:
        self.cudaHostRegister = self.Call(code)
        self.cudaHostUnregister = self.Call(code)


def test_cudas_calls_and_its_errors() -> None:
    runtime = Runtime(0)
    pins = CudaPins(runtime)  # type: ignore[arg-type]
    pins.pin(4096, 8192)
    pins.unpin(4096)
    assert runtime.cudaHostRegister.given == [(4096, 8192, 1)]
    assert runtime.cudaHostUnregister.given == [(4096,)]
    with pytest.raises(OSError, match="CUDA error 2"):
        CudaPins(Runtime(2)).pin(4096, 8192)  # type: ignore[arg-type]


# --- which encoders serve -------------------------------------------------------------------------


def serving(**options: Any) -> opening.ServingOptions:
    return opening.ServingOptions(runtime=OPTIONS, **options)


@pytest.mark.parametrize(
    ("largest", "buckets"),
    [(0, ()), (1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (64, (1, 2, 4, 8, 16, 32, 64))],
)
def test_buckets(largest: int, buckets: tuple[int, ...]) -> None:
    assert opening.buckets_up_to(largest) == buckets


@no_cuda
def test_auto_is_the_cpu_where_cuda_is_not_installed(bundle: Bundle) -> None:
    found = opening.open_encoders(
        bundle, opening.ServingOptions(runtime=RuntimeOptions(threads=1, cuda_graphs=True))
    )
    assert found.encoders[0].spec.provider == CPU
    assert found.note == ""


@no_cuda
def test_cuda_that_is_asked_for_and_missing_stops_the_start(bundle: Bundle) -> None:
    options = opening.ServingOptions(runtime=RuntimeOptions(provider=Provider.CUDA))
    with pytest.raises(MissingExtra, match=r"imagesieve\[gpu\]"):
        opening.open_encoders(bundle, options)


@no_cuda
def test_auto_says_why_cuda_was_not_used(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed library has the provider, and no driver is there."""
    real = onnxruntime.get_available_providers()
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", *real]
    )
    found = opening.open_encoders(
        bundle, opening.ServingOptions(runtime=RuntimeOptions(threads=1, cuda_graphs=True))
    )
    assert found.encoders[0].spec.provider == CPU
    assert found.note.startswith("CUDA not used: ")
    found.encoders[0].check_canary()


# --- what a session on CUDA is given -----------------------------------------------------------


def test_options_of_the_provider() -> None:
    plain, graphs = (cuda_session.provider_options(graphs=on) for on in (False, True))
    assert (plain.pop("enable_cuda_graph"), graphs.pop("enable_cuda_graph")) == ("0", "1")
    assert (
        plain
        == graphs
        == {
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
            "use_tf32": "0",
        }
    )


def test_every_node_must_run_where_it_should(bundle: Bundle, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(bundle.image_encoder, options, providers=[CPU])
    cuda_session.refuse_misplaced(session, CPU)
    with pytest.raises(BundleError, match=r"not every node runs on CUDA.*2 Reshape on CPU"):
        cuda_session.refuse_misplaced(session, cuda_session.CUDA)


THERE = "libc.so.6"
"""Stands in for the driver's library where there is none."""


def test_libraries_that_do_not_load_are_named_and_not_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Library:
        @staticmethod
        def preload_dlls() -> None:
            print("Failed to load libcudnn.so.9: no such file")
            print("Please follow the manual.")

    with pytest.raises(BundleError) as caught:
        cuda_session.load_libraries(Library, driver=THERE)
    assert caught.value.metadata == {"cause": "Failed to load libcudnn.so.9: no such file"}
    with pytest.raises(BundleError, match=r"no NVIDIA driver: libno\.so\.1 does not load"):
        cuda_session.load_libraries(Library, driver="libno.so.1")
    assert capsys.readouterr().out == ""


@no_cuda
def test_a_library_without_cuda_has_nothing_to_load() -> None:
    cuda_session.load_libraries(onnxruntime, driver=THERE)


def test_of_an_error_of_cuda_its_own_words_are_told() -> None:
    text = (
        "/src/cuda_call.cc:154 std::conditional_t<THRW, void> CudaCall(...) CUDA failure 100: no "
        "CUDA-capable device is detected ; GPU=-1 ; hostname=secret ; expr=cudaSetDevice(0);"
    )
    told = "CUDA failure 100: no CUDA-capable device is detected"
    assert cuda_session.cuda_failure(text) == told
    assert cuda_session.cuda_failure("no such file") == ""
