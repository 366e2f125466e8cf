"""The ``imagesieve`` command. Reads the environment, connects, and hands over to one function
for each subcommand; the only module of the client that prints to a terminal's streams."""

from __future__ import annotations

import argparse
import getpass
import itertools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from imagesieve import command_groups, command_quality
from imagesieve.client import Client
from imagesieve.command_completion import completion
from imagesieve.command_moderate import moderate
from imagesieve.command_output import listing, record
from imagesieve.command_parser import (
    DONE,
    INCOMPLETE,
    INTERRUPTED,
    NOTHING_READY,
    USAGE,
    parse,
)
from imagesieve.command_watch import watch
from imagesieve.errors import ImagesieveError
from imagesieve.policy_results import HealthStatus
from imagesieve.review_results import Item, ItemState, Outcome, ReopenCause

_ITEM_COLUMNS = {
    "ITEM": "item_id",
    "STATE": "state",
    "VERDICT": "verdict",
    "CATEGORY": "category",
    "SCORE": "score",
    "SEVERITY": "severity",
    "UPLOADS": "submissions",
    "ENQUEUED": "enqueued_at",
    "DUE": "due_at",
}
_DECISION_COLUMNS = {
    "DECISION": "decision_id",
    "ITEM": "item_id",
    "OUTCOME": "outcome",
    "CAUSE": "cause",
    "DECIDED": "decided_at",
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_POLICY_COLUMNS = {
    "NAME": "name",
    "DEFAULT": "is_default",
    "VERSION": "version",
    "ON UNAVAILABLE": "on_unavailable",
    "COVERAGE": "coverage",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code (they are listed in ``imagesieve --help``)."""
    args = parse(argv, server=os.environ.get("IMAGESIEVE_SERVER"))
    try:
        if args.command == "completion":
            completion(args.shell, out=sys.stdout)
            return DONE
        try:
            client = _connect(args, os.environ)
        except ValueError as error:  # settings that exclude each other
            sys.stderr.write(f"imagesieve: {error}\n")
            return USAGE
        with client:
            return _COMMANDS[_name(args)](args, client)
    except BrokenPipeError:  # the reader of our output has gone, for example head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INCOMPLETE
    except KeyboardInterrupt:
        return INTERRUPTED
    except ImagesieveError as error:
        sys.stderr.write(f"imagesieve: {error.reason}: {error.message} ({args.server})\n")
        if error.metadata.get("detail") == "NO_CREDENTIALS":
            sys.stderr.write("imagesieve: give --token-file, or --cert-file and --key-file\n")
        return INCOMPLETE
    except OSError as error:
        sys.stderr.write(f"imagesieve: {error}\n")
        return INCOMPLETE


def _name(args: argparse.Namespace) -> str:
    verb = getattr(args, "verb", None)
    return f"{args.command} {verb}" if verb else args.command


def _connect(args: argparse.Namespace, environment: Mapping[str, str]) -> Client:
    token = environment.get("IMAGESIEVE_TOKEN") or None
    if args.token_file:
        token = Path(args.token_file).read_text(encoding="utf-8").strip()
    return Client(
        args.server,
        tls=args.tls,
        ca_file=args.ca_file,
        cert_file=args.cert_file,
        key_file=args.key_file,
        token=token,
    )


def _moderate(args: argparse.Namespace, client: Client) -> int:
    return moderate(args, client, stdin=sys.stdin.buffer, out=sys.stdout, err=sys.stderr)


def _health(args: argparse.Namespace, client: Client) -> int:
    status = client.health(args.service, timeout=args.timeout)
    record(sys.stdout, {"status": status}, form=args.format)
    return DONE if status is HealthStatus.SERVING else INCOMPLETE


def _claim(args: argparse.Namespace, client: Client) -> int:
    lease = client.review.claim(
        reviewer=args.reviewer or _user(),
        categories=[*args.categories, *([""] if args.uncategorized else [])],
        tier=args.tier,
        lease_s=args.lease,
        include_image=bool(args.image_to),
        item_id=args.item,
        timeout=args.timeout,
    )
    if lease is None:
        nothing = "that item is not ready in this tier" if args.item else "nothing is ready"
        sys.stderr.write(f"imagesieve: {nothing}\n")
        return NOTHING_READY
    _save(lease.item, args.image_to)
    if args.format == "jsonl":
        record(sys.stdout, lease, form=args.format)
    else:
        head = {"token": lease.token, "lease_until": lease.lease_until}
        record(sys.stdout, head | _summary(lease.item), form=args.format)
    return DONE


def _decide(args: argparse.Namespace, client: Client) -> int:
    decision = client.review.decide(
        args.item_id,
        args.token,
        Outcome(args.outcome.upper()),
        labels=args.labels,
        note=args.note,
        reviewer=args.reviewer or _user(),
        timeout=args.timeout,
    )
    record(sys.stdout, decision, form=args.format)
    return DONE


def _release(args: argparse.Namespace, client: Client) -> int:
    return _show_item(args, client.review.release(args.item_id, args.token, timeout=args.timeout))


def _extend(args: argparse.Namespace, client: Client) -> int:
    until = client.review.extend(args.item_id, args.token, lease_s=args.lease, timeout=args.timeout)
    record(sys.stdout, {"lease_until": until}, form=args.format)
    return DONE


def _list(args: argparse.Namespace, client: Client) -> int:
    items = client.review.list(
        states=[ItemState(state.upper()) for state in args.states],
        category=args.category,
        reason=args.reason.upper(),
        min_age_s=args.older_than,
        max_age_s=args.newer_than,
        page_size=min(args.limit, 100),
        timeout=args.timeout,
    )
    shown = list(itertools.islice(items, args.limit))
    listing(sys.stdout, shown, _ITEM_COLUMNS, form=args.format)
    return DONE


def _stats(args: argparse.Namespace, client: Client) -> int:
    record(sys.stdout, client.review.stats(timeout=args.timeout), form=args.format)
    return DONE


def _show(args: argparse.Namespace, client: Client) -> int:
    item = client.review.get(args.item_id, include_image=bool(args.image_to), timeout=args.timeout)
    _save(item, args.image_to)
    return _show_item(args, item)


def _requeue(args: argparse.Namespace, client: Client) -> int:
    return _show_item(args, client.review.requeue(args.item_id, timeout=args.timeout))


def _reopen(args: argparse.Namespace, client: Client) -> int:
    item = client.review.reopen(
        args.item_id,
        ReopenCause(args.cause.upper()),
        decision_id=args.decision,
        note=args.note,
        reopened_by=args.by,
        timeout=args.timeout,
    )
    return _show_item(args, item)


def _erase(args: argparse.Namespace, client: Client) -> int:
    named = "sha256" if _SHA256.fullmatch(args.what) else "item_id"
    erasure = client.review.erase(
        reason=args.reason, erased_by=args.by, timeout=args.timeout, **{named: args.what}
    )
    listing(sys.stdout, erasure.decisions, _DECISION_COLUMNS, form=args.format)
    return DONE


def _watch(args: argparse.Namespace, client: Client) -> int:
    return watch(args, client, out=sys.stdout)


def _groups(args: argparse.Namespace, client: Client) -> int:
    return command_groups.groups(args, client, out=sys.stdout)


def _group(args: argparse.Namespace, client: Client) -> int:
    return command_groups.group(args, client, out=sys.stdout)


def _close_group(args: argparse.Namespace, client: Client) -> int:
    return command_groups.close_group(args, client, user=_user(), out=sys.stdout)


def _undo_close(args: argparse.Namespace, client: Client) -> int:
    return command_groups.undo_close(args, client, user=_user(), out=sys.stdout)


def _quality(args: argparse.Namespace, client: Client) -> int:
    return command_quality.quality(args, client, out=sys.stdout)


def _goldens(args: argparse.Namespace, client: Client) -> int:
    return command_quality.goldens(args, client, out=sys.stdout)


def _mark_golden(args: argparse.Namespace, client: Client) -> int:
    return command_quality.mark_golden(args, client, user=_user(), out=sys.stdout)


def _unmark_golden(args: argparse.Namespace, client: Client) -> int:
    return command_quality.unmark_golden(args, client, user=_user())


def _policy_list(args: argparse.Namespace, client: Client) -> int:
    policies = client.list_policies(timeout=args.timeout)
    listing(sys.stdout, policies, _POLICY_COLUMNS, form=args.format)
    return DONE


def _policy_show(args: argparse.Namespace, client: Client) -> int:
    policy = client.get_policy(args.name, timeout=args.timeout)
    if args.format == "table" and policy.source:
        sys.stdout.write(policy.source.rstrip("\n") + "\n")
    else:
        record(sys.stdout, policy, form=args.format)
    return DONE


def _policy_reload(args: argparse.Namespace, client: Client) -> int:
    reloaded = client.reload_policies(timeout=args.timeout)
    listing(sys.stdout, reloaded.policies, _POLICY_COLUMNS, form=args.format)
    for problem in reloaded.problems:
        sys.stderr.write(f"imagesieve: {problem}\n")
    return INCOMPLETE if reloaded.problems else DONE


def _show_item(args: argparse.Namespace, item: Item) -> int:
    shown = item if args.format == "jsonl" else _summary(item)
    record(sys.stdout, shown, form=args.format)
    return DONE


def _summary(item: Item) -> dict[str, object]:
    """The item's fields for people: without the whole answer, which jsonl has."""
    names = (name for name in Item.__dataclass_fields__ if name not in ("answer", "image"))
    return {name: getattr(item, name) for name in names}


def _user() -> str:
    """Who is at the keyboard, "" where the system does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return ""


def _save(item: Item, file: str | None) -> None:
    if file:
        Path(file).write_bytes(item.image)


_COMMANDS: dict[str, Callable[[argparse.Namespace, Client], int]] = {
    "moderate": _moderate,
    "health": _health,
    "review claim": _claim,
    "review decide": _decide,
    "review release": _release,
    "review extend": _extend,
    "review list": _list,
    "review stats": _stats,
    "review show": _show,
    "review requeue": _requeue,
    "review reopen": _reopen,
    "review erase": _erase,
    "review watch": _watch,
    "review groups": _groups,
    "review group": _group,
    "review close-group": _close_group,
    "review undo-close": _undo_close,
    "review quality": _quality,
    "review goldens": _goldens,
    "review mark-golden": _mark_golden,
    "review unmark-golden": _unmark_golden,
    "policy list": _policy_list,
    "policy show": _policy_show,
    "policy reload": _policy_reload,
}

if __name__ == "__main__":
    sys.exit(main())
