"""The report as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from imagesieve_server.offline.backtest.forecast import Share
from imagesieve_server.offline.backtest.report import CategoryChange, Report, by_images
from imagesieve_server.offline.backtest.tally import VERDICTS, Example, largest
from imagesieve_server.offline.report import numbers

_GROUPS = 20


def lines(report: Report, *, examples: int) -> Iterator[str]:
    """Line by line, ``examples`` images of each direction."""
    yield from _head(report)
    yield from _verdicts(report)
    yield from _load(report)
    yield from _categories(report)
    tally = report.tally
    if len(tally.tenants) > 1:
        yield from _groups(report, "tenant")
    if set(tally.surfaces) != {""}:
        yield from _groups(report, "surface")
    yield from _examples("stricter", largest(tally.stricter)[:examples])
    yield from _examples("laxer", largest(tally.laxer)[:examples])


def _head(report: Report) -> Iterator[str]:
    tally = report.tally
    for letter, policy in (("A", tally.a), ("B", tally.b)):
        yield f"{letter}  {policy.name} {policy.version[:12]}"
    first, last = min(tally.days), max(tally.days)
    days = f"{first}" if first == last else f"{first} to {last}"
    of_days = "1 day" if first == last else f"{len(tally.days)} days"
    yield (
        f"{numbers.count(tally.images)} images ({numbers.count(tally.views)} views) of "
        f"{of_days}, {days}"
    )
    for text, count in sorted(tally.other_policy.items()):
        yield f"left out: {count} images judged under policy {_shown(text)}"
    for text, count in sorted(tally.other_plan.items()):
        yield f"left out: {count} images seen by another plan of views ({_shown(text)})"
    for problem in report.damage:
        yield f"left out: a damaged file: {problem}"
    if tally.given:
        yield (
            f"{tally.given} of them were judged by A itself when they came; "
            f"then the verdict was another for {tally.given_otherwise}"
        )
    yield (
        f"close calls: {tally.close_a} images under A and {tally.close_b} under B lie within "
        "rounding to float16 of a threshold that decides"
    )


def _verdicts(report: Report) -> Iterator[str]:
    yield ""
    yield "Verdicts, A down, B across"
    head = ("", *(v.value for v in VERDICTS), "all")
    rows = [
        (verdict.value, *map(str, row), str(row.sum()))
        for verdict, row in zip(VERDICTS, report.tally.verdicts, strict=True)
    ]
    total = report.tally.verdicts.sum(axis=0)
    yield from _table([head, *rows, ("all", *map(str, total), str(total.sum()))], right=True)


def _load(report: Report) -> Iterator[str]:
    yield ""
    source = "given" if report.uploads_given else "kept images a day"
    uploads = numbers.count(round(report.uploads_per_day))
    yield f"Reviews a day of {uploads} uploads ({source}), 95 % interval"
    rows = [("", "share", "a day", "from", "to")]
    for name, share in (("A", report.share_a), ("B", report.share_b)):
        rows.append((name, numbers.percent(share.value), *_day(report.per_day(share), "")))
    change = report.difference
    rows.append(("B − A", _points(change.value), *_day(report.per_day(change), "+")))
    yield from _table(rows, right=True)
    audit_a, audit_b = report.audit_per_day()
    if audit_a or audit_b:
        yield f"on top, audit samples a day: about {audit_a:.1f} under A, {audit_b:.1f} under B"
    yield "not in it: files without a picture; further uploads of bytes in review join their item"


def _points(difference: float) -> str:
    """Three decimals, since a change of one image in 100 000 is work for people, too."""
    return f"{100 * difference:+.3f} points".replace("-", "−")


def _day(share: Share, sign: str) -> tuple[str, str, str]:
    value, low, high = (
        f"{number:{sign},.1f}".replace(",", numbers.THIN).replace("-", "−")
        for number in (share.value, share.low, share.high)
    )
    return value, low, high


def _categories(report: Report) -> Iterator[str]:
    yield ""
    yield "Categories: images at or above the review threshold"
    rows = [("", "A", "B", "higher under B", "lower under B")]
    for one in report.categories:
        flagged_a, flagged_b = one.flagged()
        rows.append((one.id, str(flagged_a), str(flagged_b), str(one.gained), str(one.lost)))
    yield from _table(rows, right=True)
    yield ""
    yield "What differs"
    found = [*(("policy", text) for text in report.policy_changes)]
    found += [(one.id, text) for one in report.categories for text in _why(one)]
    yield from _table(found or [("nothing that a verdict depends on",)])


def _why(one: CategoryChange) -> Iterator[str]:
    yield from one.why
    if not one.acts_a and not one.acts_b:
        yield "(observed under both: it changes no verdict)"


def _groups(report: Report, what: str) -> Iterator[str]:
    groups = report.tally.tenants if what == "tenant" else report.tally.surfaces
    yield ""
    yield f"By {what}: images, flagged under A and B, by B only, by A only"
    rows: list[tuple[str, ...]] = [(what, "images", "A", "B", "only B", "only A")]
    for name, group in by_images(groups, most=_GROUPS):
        figures = (group.images, group.flagged_a, group.flagged_b, group.gained, group.lost)
        rows.append((_shown(name) or "(none)", *map(str, figures)))
    yield from _table(rows, right=True)
    if len(groups) > _GROUPS:
        yield f"and {len(groups) - _GROUPS} more"


def _examples(which: str, examples: Sequence[Example]) -> Iterator[str]:
    if not examples:
        return
    yield ""
    yield f"Largest changes, {which} under B"
    rows = [("sha256", "day", "A", "B", "margin A", "margin B", "categories", "surface")]
    for one in examples:
        rows.append(
            (
                one.sha256,
                str(one.day),
                one.verdict_a.value,
                one.verdict_b.value,
                _margin(one.margin_a),
                _margin(one.margin_b),
                ", ".join(one.categories) or "-",
                _shown(one.surface) or "-",
            )
        )
    yield from _table(rows)


def _margin(margin: float) -> str:
    return f"{margin:+.2f}" if math.isfinite(margin) else "-"


def _shown(text: str) -> str:
    """An uploader's text on a terminal: nothing that moves the cursor, nothing endless."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= 60 else plain[:59] + "…"


def _table(rows: Sequence[Sequence[str]], *, right: bool = False) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if right and place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(cells).rstrip()
