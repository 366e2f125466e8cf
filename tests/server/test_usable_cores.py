"""Cores that a process may use, by the kernel's own files."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagesieve_server
from imagesieve_server.encoders.runtime import Provider, RuntimeOptions, open_session
from imagesieve_server.usable_cores import fewer_cores, quota, usable_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's files")


def machine(root: Path, cgroup: str, **files: str) -> Path:
    """``files``: contents by path below sys/fs/cgroup, "__" for "/"."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_container_with_its_own_view_of_groups(tmp_path: Path) -> None:
    assert quota(machine(tmp_path, "0::/\n", cpuDOTmax="150000 100000\n")) == 1.5


def test_a_container_that_is_told_the_hosts_path(tmp_path: Path) -> None:
    told = "0::/kubepods.slice/pod1.slice/cri-1.scope\n"
    assert quota(machine(tmp_path, told, cpuDOTmax="400000 100000\n")) == 4.0


def test_the_strictest_group_above_counts(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/system.slice/imagesieve.service\n",
        **{
            "system.slice__cpuDOTmax": "200000 100000\n",
            "system.slice__imagesieve.service__cpuDOTmax": "max 100000\n",
        },
    )
    assert quota(root) == 2.0


def test_version_1(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "12:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n",
        cpu__cpuDOTcfs_quota_us="50000\n",
        cpu__cpuDOTcfs_period_us="100000\n",
    )
    assert quota(root) == 0.5
    assert usable_cores(root) == 1


def test_version_1_without_the_short_name(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "4:cpu,cpuacct:/docker/1\n0::/docker/1\n",
        **{
            "cpu,cpuacct__cpuDOTcfs_quota_us": "200000\n",
            "cpu,cpuacct__cpuDOTcfs_period_us": "100000\n",
        },
    )
    assert quota(root) == 2.0


@pytest.mark.parametrize("line", ["", "nonsense", "0:cpu", ":::"])
def test_lines_of_another_shape_say_nothing(tmp_path: Path, line: str) -> None:
    root = machine(tmp_path, f"{line}\n0::/own\n", own__cpuDOTmax="200000 100000\n")
    assert quota(root) == 2.0


def test_of_a_group_outside_the_container_only_the_top_is_read(tmp_path: Path) -> None:
    """The path would lead out of the control groups, to a file that somebody else has written."""
    root = machine(tmp_path, "0::/../../../other\n", cpuDOTmax="300000 100000\n")
    (root / "other").mkdir()
    (root / "other/cpu.max").write_text("100000 100000\n")
    assert quota(root) == 3.0


@pytest.mark.parametrize("text", ["max 100000\n", "-1 100000\n", "", "0 100000\n", "many\n"])
def test_no_limit_and_nonsense_limit_nothing(tmp_path: Path, text: str) -> None:
    root = machine(tmp_path, "0::/\n", cpuDOTmax=text)
    assert quota(root) == math.inf
    assert usable_cores(root) == len(os.sched_getaffinity(0))


def test_a_machine_without_groups_limits_nothing(tmp_path: Path) -> None:
    assert quota(tmp_path) == math.inf


def test_a_limit_above_the_machine_is_none(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", cpuDOTmax="99900000 100000\n")
    assert usable_cores(root) == len(os.sched_getaffinity(0))


def test_libraries_choose_where_the_machine_is_theirs(tmp_path: Path) -> None:
    whole = machine(tmp_path / "whole", "0::/\n", cpuDOTmax="max 100000\n")
    if len(os.sched_getaffinity(0)) == os.cpu_count():
        assert fewer_cores(whole) == 0
    part = machine(tmp_path / "part", "0::/\n", cpuDOTmax="100000 100000\n")
    assert fewer_cores(part) == (1 if (os.cpu_count() or 1) > 1 else 0)


@pytest.fixture
def one_core() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_core")
def test_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 1


@pytest.mark.usefixtures("one_core")
@pytest.mark.skipif(os.cpu_count() == 1, reason="one core is the whole machine")
def test_the_encoder_has_no_more_threads_than_cores() -> None:
    """The library by itself starts one for each core of the machine, usable or not."""
    bundle = Path(imagesieve_server.__file__).parent / "demo_data" / "bundle"
    before = threading_count()
    opened = open_session(
        bundle / "image_encoder.onnx", options=RuntimeOptions(provider=Provider.CPU)
    )
    assert threading_count() == before
    del opened


def threading_count() -> int:
    """All threads of this process, the libraries' own among them."""
    return len(os.listdir("/proc/self/task"))
