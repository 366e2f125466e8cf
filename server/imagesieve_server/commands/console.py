"""``imagesieve-server console``: accounts of those who review."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any

from imagesieve_server.core.errors import ConfigError


def add_parser(subparsers: Any) -> None:
    console = subparsers.add_parser("console", help="the reviewers' web pages: accounts")
    commands = console.add_subparsers(title="commands", metavar="COMMAND", required=True)
    new = commands.add_parser(
        "new-account",
        help="make the entry of the accounts file for a person",
        description="Asks for a password (or reads the first line of standard input) and "
        "prints the entry of the accounts file. The file keeps only the password's argon2id "
        "hash, which cannot be turned back.",
    )
    new.add_argument("name", metavar="NAME", help="the person's name, as decisions record it")
    new.add_argument("--role", choices=("reviewer", "lead", "admin"), default="reviewer")
    new.add_argument(
        "--tenant",
        action="append",
        metavar="TENANT",
        help="a tenant to review for; may be repeated (default: the tenant 'default')",
    )
    new.add_argument(
        "--no-password", action="store_true", help="only a trusted proxy may name this person"
    )
    new.set_defaults(run=_new_account)
    check = commands.add_parser("check", help="read an accounts file and list who may sign in")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(run=_check)


def _new_account(args: argparse.Namespace) -> int:
    from imagesieve_server.console.accounts import check_name, check_tenants
    from imagesieve_server.console.passwords import encode_password

    name = check_name(args.name, where="console new-account")
    tenants = check_tenants(args.tenant or ["default"], where="console new-account")
    lines = ["[[account]]", f"name = {_toml(name)}", f'role = "{args.role}"']
    lines.append(f"tenants = [{', '.join(_toml(tenant) for tenant in tenants)}]")
    if not args.no_password:
        try:
            lines.append(f'password_argon2 = "{encode_password(_password())}"')
        except ValueError as error:
            raise ConfigError(str(error)) from None
    print("\n".join(lines))
    return 0


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ", stream=sys.stderr)
    if getpass.getpass("Again: ", stream=sys.stderr) != password:
        raise ConfigError("the two passwords differ")
    return password


def _toml(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _check(args: argparse.Namespace) -> int:
    from imagesieve_server.console.accounts import read_accounts

    for account in read_accounts(args.file).values():
        proof = "password" if account.password else "trusted proxy only"
        print(f"{account.name}: {account.role}, {', '.join(account.tenants)}; {proof}")
    return 0
