"""Whether this processor adds up int8 products without losing any.

Knows the flags of /proc/cpuinfo; refuses to know bundles and sessions. An x86 processor without
VNNI adds two products of 8 bits in 16 (``vpmaddubsw``), which saturates: 2 · 255 · 127 is above
32 767. Weights of 7 bits, exported with ``--reduce-range``, stay below.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_WHOLE: Final = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
_ADDING_IN_16: Final = frozenset({"ssse3", "avx2", "avx512bw"})
NOTE: Final = (
    "this processor has no VNNI: its int8 products can saturate and change scores, unless the "
    "bundle was exported with --reduce-range"
)


def may_saturate(cpuinfo: str) -> bool:
    """True where some core lacks VNNI, by an x86 ``/proc/cpuinfo``; other files say nothing."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = [set(said.split()) for name, _, said in lines if name.strip() == "flags"]
    return any(core & _ADDING_IN_16 and not core & _WHOLE for core in flags)


def note_of(precision: str, *, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """For the log, where a bundle of this precision may lose products on this CPU; else ""."""
    try:
        said = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return ""
    return NOTE if precision == "int8" and may_saturate(said) else ""
