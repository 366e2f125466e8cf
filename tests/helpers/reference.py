"""Writes the generated parts of the documentation from the code they describe.

``GENERATED`` names every part: which file, which block, and the function that makes its text.
``tests/test_docs.py`` compares, and with --update-golden rewrites.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from helpers import proto_text, status_table
from imagesieve_server import config
from imagesieve_server.core import errors, review, verdict
from imagesieve_server.grpc_api import identity
from imagesieve_server.grpc_api.roles import ACCESS
from imagesieve_server.grpc_api.status_codes import TABLE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"

_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


# --- settings -----------------------------------------------------------------------------


def settings_of(section: type[Any]) -> Iterator[tuple[str, Any, type[Any], str]]:
    """(key, default, type, meaning) of a section's settings."""
    hints = get_type_hints(section)
    for entry in dataclasses.fields(section):
        yield entry.name, entry.default, hints[entry.name], entry.metadata["about"]


def _toml(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def settings() -> str:
    parts = []
    for name, section in get_type_hints(config.Settings).items():
        rows = [
            (f"`{key}`", _KINDS[kind], f"`{_toml(default)}`", about)
            for key, default, kind, about in settings_of(section)
        ]
        parts.append(f"### [{name}]\n\n{inspect.getdoc(section)}\n")
        parts.append(table(("Setting", "Type", "Default", "Meaning"), rows) + "\n")
    return "\n".join(parts).rstrip()


def example_toml() -> str:
    """deploy/imagesieve.example.toml: every setting, commented out, at its default."""
    lines = [
        "# Every setting with its default. Take out the # in front of what you change.",
        "# Environment variables IMAGESIEVE__SECTION__KEY override this file, for example",
        "# IMAGESIEVE__SERVER__ADDRESS=127.0.0.1:50052. An unknown key is an error.",
    ]
    for name, section in get_type_hints(config.Settings).items():
        lines += ["", f"[{name}]"]
        for key, default, _, about in settings_of(section):
            lines += [f"# {about}", f"#{key} = {_toml(default)}"]
    return "\n".join(lines) + "\n"


# --- errors, reasons, states --------------------------------------------------------------


def error_classes() -> list[type[errors.ImagesieveError]]:
    """Every error with a reason of its own, in the order of the file."""
    found = [
        cls
        for cls in vars(errors).values()
        if isinstance(cls, type)
        and issubclass(cls, errors.ImagesieveError)
        and "reason" in vars(cls)
    ]
    return found[1:]


def _summary(thing: Any) -> str:
    """The first paragraph of a docstring as one line."""
    text = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return re.sub(r"``([^`]*)``", r"`\1`", " ".join(text.split()))


def wire_errors() -> str:
    rows = []
    for cls in error_classes():
        if issubclass(cls, errors.StartupError):
            continue
        row = TABLE[cls]
        details = ["BadRequest"] if row.field or cls is errors.InvalidRequest else []
        details += ["RetryInfo"] * row.retry_info + ["QuotaFailure"] * row.quota
        rows.append(
            (
                f"`{cls.reason}`",
                row.code.name,
                ", ".join(details),
                row.pushback.value,
                _summary(cls),
            )
        )
    rows.append(
        ("`INTERNAL`", "INTERNAL", "", "never", "Anything unnamed; the log has the details.")
    )
    return table(("Reason", "gRPC code", "More details", "Retry pushback", "Meaning"), rows)


def statuses() -> str:
    head = ("Case", "Status", "Reason, or what an OK says", "More details", "Push-back")
    return table(head, status_table.rows())


def startup_errors() -> str:
    rows = [
        (f"`{cls.reason}`", _summary(cls))
        for cls in error_classes()
        if issubclass(cls, errors.StartupError)
    ]
    return table(("Reason", "Meaning"), rows)


def _commented(kind: type[enum.Enum]) -> list[tuple[str, str]]:
    """(value, the comment beside it) of an enum's members."""
    source = inspect.getsource(kind)
    rows = []
    for member in kind:
        beside = re.search(rf"^ +{member.name} = .*?# (.*)$", source, re.MULTILINE)
        said = beside[1] if beside else ""
        rows.append((f"`{member.value}`", said[:1].upper() + said[1:]))
    return rows


def undecodable() -> str:
    return table(("Detail", "Meaning"), _commented(errors.UndecodableDetail))


def reasons() -> str:
    return table(("Code", "Meaning"), _commented(verdict.ReasonCode))


def unproved() -> str:
    return table(("Detail", "Meaning"), _commented(identity.Unproved))


def access() -> str:
    rows = [
        (
            f"`{path.rpartition('/')[2]}`",
            path.partition("/")[2].rpartition("/")[0].rpartition(".")[2],
            "everybody, unasked" if row.anonymous else ", ".join(sorted(row.roles)),
        )
        for path, row in ACCESS.items()
    ]
    return table(("Method", "Service", "Roles"), rows)


def arrows() -> str:
    rows = [
        (
            arrow.source.value if arrow.source else "(new)",
            arrow.target.value,
            f"`{arrow.cause.value}`",
            "yes" if arrow.needs_token else "",
            "yes" if arrow.new_round else "",
        )
        for arrow in review.ARROWS
    ]
    return table(("From", "To", "Cause", "Needs the lease's token", "New round"), rows)


# --- contract and commands ----------------------------------------------------------------


def rpcs() -> str:
    parts = []
    for block in proto_text.blocks():
        if block.what == "service":
            rows = [(f"`{e.name}`", f"`{e.kind}`", e.comment) for e in block.entries]
            parts.append(f"### {block.name}\n\n{block.comment}\n")
            parts.append(table(("RPC", "Messages", "Meaning"), rows) + "\n")
    return "\n".join(parts).rstrip()


def messages() -> str:
    parts = []
    for block in proto_text.blocks():
        if block.what == "service":
            continue
        parts.append(f"### {block.name}\n")
        if block.comment:
            parts.append(f"{block.comment}\n")
        if not block.entries:
            parts.append("No fields.\n")
            continue
        head = (
            ("Field", "Type", "Meaning") if block.what == "message" else ("Value", "#", "Meaning")
        )
        rows = [
            (f"`{e.name}`", f"`{e.kind}`", f"(one of `{e.oneof}`) " * bool(e.oneof) + e.comment)
            for e in block.entries
        ]
        parts.append(table(head, rows) + "\n")
    return "\n".join(parts).rstrip()


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Both commands' parsers."""
    from imagesieve.command_parser import build_parser as client
    from imagesieve_server.commands import build_parser as server

    return {"imagesieve-server": server(), "imagesieve": client()}


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of the subcommands that do something."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for child in group.choices.values():
            yield from leaves(child)


def arguments_of(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """(argument, meaning): argparse's own layout differs between releases of Python."""
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        said = (action.help or "") % {"default": action.default, "prog": parser.prog}
        names = ", ".join(f"`{name}`" for name in action.option_strings)
        label = names or f"`{action.metavar or action.dest}`"
        choices = ", ".join(str(getattr(c, "value", c)) for c in action.choices or ())
        said = f"{said} ({choices})".strip() if choices else said
        rows.append((label, said + " (required)" * bool(names and action.required)))
    return rows


def commands() -> str:
    parts = []
    for name, parser in parsers().items():
        every = [(leaf, arguments_of(leaf)) for leaf in leaves(parser)]
        asking = [rows for leaf, rows in every if any(a.option_strings for a in leaf._actions[1:])]
        shared = [row for row in asking[0] if all(row in rows for rows in asking)]
        parts.append(f"## {name}\n\n{parser.description}\n")
        if shared:
            parts.append("Every command that takes options takes these:\n")
            parts.append(table(("Argument", "Meaning"), shared) + "\n")
        for leaf, rows in every:
            own = [row for row in rows if row not in shared]
            parts.append(f"### {leaf.prog}\n")
            if about := (leaf.description or _help_line(parser, leaf)).rstrip("."):
                parts.append(about[0].upper() + about[1:] + ".\n")
            parts.append((table(("Argument", "Meaning"), own) if own else "No arguments.") + "\n")
    return "\n".join(parts).rstrip()


def _help_line(parser: argparse.ArgumentParser, leaf: argparse.ArgumentParser) -> str:
    """What the parent's list says of a subcommand."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for shown in action._choices_actions:
                child = action.choices[shown.dest]
                if child is leaf:
                    return shown.help or ""
                if said := _help_line(child, leaf):
                    return said
    return ""


GENERATED: dict[tuple[Path, str], Callable[[], str]] = {
    (REFERENCE / "settings.md", "settings"): settings,
    (REFERENCE / "errors.md", "errors"): wire_errors,
    (REFERENCE / "statuses.md", "statuses"): statuses,
    (REFERENCE / "errors.md", "undecodable"): undecodable,
    (REFERENCE / "errors.md", "reasons"): reasons,
    (REFERENCE / "errors.md", "unproved"): unproved,
    (REFERENCE / "errors.md", "startup"): startup_errors,
    (REFERENCE / "states.md", "arrows"): arrows,
    (REFERENCE / "rpcs.md", "rpcs"): rpcs,
    (REFERENCE / "rpcs.md", "access"): access,
    (REFERENCE / "rpcs.md", "messages"): messages,
    (REFERENCE / "commands.md", "commands"): commands,
}
"""(file, name of the block) → what stands between the block's two marks."""


def split(text: str, name: str) -> tuple[str, str, str]:
    """A file's text before, inside and after the block ``name``."""
    begin, end = f"<!-- generated: {name} -->\n", "<!-- end -->"
    before, found, rest = text.partition(begin)
    if not found:
        raise AssertionError(f"there is no block {name!r}")
    inside, _, after = rest.partition(end)
    return before + begin, inside, end + after
