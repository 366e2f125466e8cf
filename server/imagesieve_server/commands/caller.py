"""``imagesieve-server caller``: tokens for callers, and a look at the callers file."""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ConfigError
from imagesieve_server.grpc_api.callers import CallerRecord, new_token, parse_callers, token_digest


def add_parser(subparsers: Any) -> None:
    caller = subparsers.add_parser("caller", help="who may call: tokens and the callers file")
    commands = caller.add_subparsers(title="commands", metavar="COMMAND", required=True)
    new = commands.add_parser(
        "new-token",
        help="make a token and the line of the callers file that knows it",
        description="Makes a token of 256 random bits. It is shown once and kept nowhere: the "
        "callers file holds only its sha256, which cannot be turned back.",
    )
    new.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the token to this new file, readable by you alone, instead of showing it",
    )
    new.set_defaults(run=_new_token)
    check = commands.add_parser("check", help="read a callers file and list who may call")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(run=_check)


def _new_token(args: argparse.Namespace) -> int:
    token = new_token()
    if args.out is None:
        print(f"# The token, shown this once; give it to the caller:\n{token}")
    else:
        _write(args.out, token)
    print(f'# For the callers file:\ntoken_sha256 = ["{token_digest(token)}"]')
    return 0


def _write(path: Path, token: str) -> None:
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(f"{token}\n")


def _check(args: argparse.Namespace) -> int:
    try:
        content = args.file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {args.file}: {error.strerror}") from None
    for record in parse_callers(content, file=args.file).records:
        print(_line(record))
    return 0


def _line(record: CallerRecord) -> str:
    identity = record.identity
    proofs = [f"{len(record.token_sha256)} token(s)"] if record.token_sha256 else []
    proofs += record.certificates
    line = f"{identity.name}: tenant {identity.tenant}, {', '.join(sorted(identity.roles))}"
    line += f"; by {', '.join(proofs)}"
    if record.expires_at is None:
        return line
    until = datetime.datetime.fromtimestamp(record.expires_at, datetime.UTC)
    return f"{line}; until {until:%Y-%m-%d %H:%M} UTC"
