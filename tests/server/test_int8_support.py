"""Which processors may lose int8 products, by what Linux says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesieve_server.encoders.int8_support import NOTE, may_saturate, note_of

HASWELL = "processor\t: 0\nmodel name\t: Xeon E5 v3\nflags\t\t: fpu sse2 ssse3 avx avx2 fma\n"
SKYLAKE = "processor\t: 0\nflags\t\t: sse2 ssse3 avx2 avx512f avx512bw avx512vl\n"
CASCADE_LAKE = "processor\t: 0\nflags\t\t: ssse3 avx2 avx512f avx512bw avx512_vnni\n"
ALDER_LAKE = "processor\t: 0\nflags\t\t: ssse3 avx2 avx_vnni\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (HASWELL, True),
        (SKYLAKE, True),
        (CASCADE_LAKE, False),
        (ALDER_LAKE, False),
        (GRAVITON, False),  # adds in 32 bits
        (ALDER_LAKE + "\n" + HASWELL, True),  # work goes to any core
        ("", False),
        ("flags", False),
    ],
)
def test_a_core_without_vnni_may_saturate(cpuinfo: str, expected: bool) -> None:
    assert may_saturate(cpuinfo) is expected


def test_only_int8_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(HASWELL)
    assert note_of("int8", cpuinfo=path) == NOTE
    assert note_of("fp32", cpuinfo=path) == ""
    path.write_text(CASCADE_LAKE)
    assert note_of("int8", cpuinfo=path) == ""
    assert note_of("int8", cpuinfo=tmp_path / "none") == ""
