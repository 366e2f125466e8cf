"""What is told of a machine's GPUs, read from files as NVIDIA's driver writes them."""

from __future__ import annotations

from pathlib import Path

from imagesieve_server.encoders.gpu_facts import Gpus, find_gpus

VERSION = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
"""
INFORMATION = """\
Model: \t\t NVIDIA H200
IRQ:   \t\t 55
GPU UUID: \t GPU-00000000-0000-0000-0000-000000000000
"""


def write(proc: Path, *gpus: str) -> Path:
    proc.mkdir()
    (proc / "version").write_text(VERSION, encoding="utf-8")
    for number, text in enumerate(gpus):
        folder = proc / "gpus" / f"0000:0{number}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(text, encoding="utf-8")
    return proc


def test_models_and_driver(tmp_path: Path) -> None:
    found = find_gpus(write(tmp_path / "nvidia", INFORMATION, INFORMATION))
    assert found == Gpus(models=("NVIDIA H200", "NVIDIA H200"), driver="580.65.06")
    assert str(found) == "NVIDIA H200, NVIDIA H200, driver 580.65.06"


def test_a_driver_without_a_gpu(tmp_path: Path) -> None:
    assert str(find_gpus(write(tmp_path / "nvidia"))) == "none, driver 580.65.06"


def test_no_driver(tmp_path: Path) -> None:
    assert find_gpus(tmp_path / "nvidia") is None


def test_words_that_are_not_as_expected(tmp_path: Path) -> None:
    proc = write(tmp_path / "nvidia", "nothing of the kind")
    (proc / "version").write_text("?", encoding="utf-8")
    assert find_gpus(proc) == Gpus(models=("unknown",), driver="unknown")


def test_a_gpu_whose_file_cannot_be_read(tmp_path: Path) -> None:
    proc = write(tmp_path / "nvidia", INFORMATION)
    (proc / "gpus" / "0000:01:00.0" / "information").mkdir(parents=True)  # nor is it a file
    assert find_gpus(proc) == Gpus(models=("NVIDIA H200", "unknown"), driver="580.65.06")
