"""The documentation stays true: what the code has is described, and what is described exists."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import proto_text, reference
from helpers.reference import DOCS, GENERATED, REFERENCE, ROOT
from imagesieve.testing import FakeServer, flag
from imagesieve_server.core import policy as core_policy
from imagesieve_server.core import views
from imagesieve_server.core.review import State
from imagesieve_server.metrics import catalogue
from imagesieve_server.policy_files import source

PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_PACKAGES = {"imagesieve_server"}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def _blocks(page: Path, language: str) -> Iterator[str]:
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


# --- generated parts ------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "name"), GENERATED, ids=[name for _, name in GENERATED])
def test_a_generated_part_is_what_the_code_says(
    page: Path, name: str, request: pytest.FixtureRequest
) -> None:
    text = page.read_text(encoding="utf-8")
    before, inside, after = reference.split(text, name)
    wanted = f"\n{GENERATED[page, name]()}\n\n"
    if request.config.getoption("--update-golden"):
        page.write_text(before + wanted + after, encoding="utf-8")
        return
    assert inside == wanted, f"{_name(page)} is out of date: make golden"


def test_the_example_settings_are_the_defaults(request: pytest.FixtureRequest) -> None:
    path = ROOT / "deploy" / "imagesieve.example.toml"
    if request.config.getoption("--update-golden"):
        path.write_text(reference.example_toml(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == reference.example_toml(), "make golden"


# --- nothing is left out --------------------------------------------------------------------


def test_every_setting_is_in_the_reference() -> None:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    for section in reference.get_type_hints(reference.config.Settings).values():
        for key, _, _, about in reference.settings_of(section):
            assert f"| `{key}` |" in text
            assert about.replace("|", "\\|") in text


def test_every_error_reason_is_in_the_reference() -> None:
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    assert [c.reason for c in reference.error_classes() if f"`{c.reason}`" not in text] == []


def test_every_enum_member_that_the_reference_explains_has_an_explanation() -> None:
    for part in (reference.undecodable(), reference.reasons()):
        assert "|  |" not in part


def test_every_rpc_and_message_is_in_the_reference() -> None:
    from imagesieve.v1 import moderation_pb2, policy_pb2, quality_pb2, review_pb2, verdict_pb2

    text = (REFERENCE / "rpcs.md").read_text(encoding="utf-8")
    for module in (moderation_pb2, policy_pb2, quality_pb2, review_pb2, verdict_pb2):
        described = module.DESCRIPTOR
        for service in described.services_by_name.values():
            assert [m.name for m in service.methods if f"| `{m.name}` |" not in text] == []
        for message in described.message_types_by_name.values():
            assert f"### {message.name}\n" in text
            assert [f.name for f in message.fields if f"| `{f.name}` |" not in text] == []


def test_the_proto_reader_sees_every_message() -> None:
    names = {block.name for block in proto_text.blocks() if block.what == "message"}
    from imagesieve.v1 import moderation_pb2, policy_pb2, review_pb2, verdict_pb2

    for module in (moderation_pb2, policy_pb2, review_pb2, verdict_pb2):
        assert set(module.DESCRIPTOR.message_types_by_name) <= names


def test_every_metric_is_in_the_reference() -> None:
    text = (REFERENCE / "metrics.md").read_text(encoding="utf-8")
    assert [s.name for s in catalogue.ALL_SERIES if f"| `{s.name}` |" not in text] == []


def test_every_state_is_in_the_reference() -> None:
    text = (REFERENCE / "states.md").read_text(encoding="utf-8")
    assert [state.value for state in State if f"| {state.value} | " not in text] == []


def test_every_policy_key_and_choice_is_in_the_reference() -> None:
    text = (REFERENCE / "policy-file.md").read_text(encoding="utf-8")
    keys = (*source._POLICY_KEYS, *source._CATEGORY_KEYS)
    assert [key for key in keys if f"| `{key}` |" not in text] == []
    for choices in (
        core_policy.Mode, core_policy.Method, core_policy.Pooling, core_policy.OnUndecodable,
        core_policy.OnPartialCoverage, core_policy.OnUnavailable, views.Coverage,
    ):  # fmt: skip
        assert [c.value for c in choices if f"`{c.value}`" not in text] == []


# --- nothing is invented --------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(_prose(page)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{target} does not exist"
        if anchor and path.suffix == ".md":
            assert anchor in _anchors(path), f"{target}: no such heading"


def _anchors(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_named_in_code_style_exist(page: Path) -> None:
    tops = "server|client|tests|docs|deploy|proto"
    for path in re.findall(rf"`((?:{tops})/[\w./-]+)`", _prose(page)):
        assert (ROOT / path).exists(), path


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"(?:`|^\s*|\$ )make ([a-z-]+)", text, re.MULTILINE)
        assert [name for name in named if name not in targets] == [], _name(page)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_series_named_in_code_style_exist(page: Path) -> None:
    known = {
        f"{series.name}{end}"
        for series in catalogue.ALL_SERIES
        for end in (("", "_bucket", "_sum", "_count") if series.buckets else ("",))
    }
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"`([^`\n]+)`", text):
        named = re.findall(r"\b(?:imagesieve|grpc_server)_[a-z_]*[a-z]\b(?!\.)", code)
        assert set(named) - _PACKAGES <= known, code


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_settings_that_are_named_exist(page: Path) -> None:
    hints = reference.get_type_hints
    known = {
        section: {key for key, *_ in reference.settings_of(kind)}
        for section, kind in hints(reference.config.Settings).items()
    }
    sections = "|".join(known)
    prose = _prose(page)
    code = re.findall(rf"`({sections})\.([a-z_]+)`", prose)
    bold = re.findall(rf"(?<=\*\*|, )({sections})\.([a-z_]+)(?=\*\*|, )", prose)
    assert [f"{one}.{key}" for one, key in [*code, *bold] if key not in known[one]] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_blocks_compile(page: Path) -> None:
    for block in _blocks(page, "python"):
        compile(block, _name(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_exist(page: Path) -> None:
    parsers = reference.parsers()
    text = page.read_text(encoding="utf-8")
    lines = [*re.findall(r"`(imagesieve[^`\n]*)`", text), *_shell_lines(page)]
    for line in lines:
        words = line.split()
        if words and words[0] in parsers:
            _check_command(parsers[words[0]], words[1:], line)


def _shell_lines(page: Path) -> Iterator[str]:
    """Every command of the page's shell blocks, continued lines joined."""
    for block in [*_blocks(page, "sh"), *_blocks(page, "console")]:
        for line in block.replace("\\\n", " ").splitlines():
            command = line.strip().removeprefix("$ ")
            found = re.search(r"(?:^|/|\s)(imagesieve(?:-server)? .*)", command)
            if found and not command.startswith(("#", "docker", "pip")):
                yield found[1]


def _check_command(parser: argparse.ArgumentParser, words: list[str], line: str) -> None:
    """Walk the subcommands as far as the line goes, then look for its options."""
    for word in words:
        groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if groups:
            if not re.fullmatch(r"[a-z][a-z-]*", word):
                break  # "…" or an option: the line names a group of commands
            assert word in groups[0].choices, f"{line}: no command {word!r}"
            parser = groups[0].choices[word]
        elif word.startswith("--"):
            known = {name for action in parser._actions for name in action.option_strings}
            assert word.partition("=")[0] in known, f"{line}: no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_policies_in_the_documentation_are_read(page: Path) -> None:
    for block in _blocks(page, "yaml"):
        if "categories:" in block:
            assert source.parse_policy(block, file=_name(page)).warnings == ()


def test_every_decision_is_listed() -> None:
    listed = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for path in (DOCS / "decisions").glob("0*.md"):
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        assert f"[{title}]({path.name})" in listed


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart/README.md"])
def test_python_blocks_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "server/imagesieve_server/demo_data/images"
    pictures.mkdir(parents=True)
    for path in (tmp_path / "upload.jpg", pictures / "one.jpg"):
        path.write_bytes(b"any bytes")
    monkeypatch.chdir(tmp_path)
    blocks = list(_blocks(ROOT / name, "python"))
    assert blocks
    with FakeServer(lambda request: flag("weapons")) as server:
        for block in blocks:
            exec(block.replace("127.0.0.1:50051", server.target), {})
        assert server.count("Moderate") == 1
    assert "REVIEW" in capsys.readouterr().out


def test_the_readme_shows_what_a_newcomer_types() -> None:
    screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:60])
    assert "make demo" in screen
    assert "make test" in screen
    assert "```python" in screen
