"""Alert rules and dashboard: what they name exists, fires, stays quiet, and has a runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from helpers import promql
from imagesieve_server.grpc_api.interceptors import LABELS
from imagesieve_server.metrics import catalogue

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules.yaml"
RULES_TESTS = (PROMETHEUS / "rules_test.yaml", PROMETHEUS / "rules_day_test.yaml")
DASHBOARD = ROOT / "deploy" / "grafana" / "imagesieve.json"
RUNBOOK = ROOT / "docs" / "how-to" / "operate.md"

EXPORTED = {
    f"{series.name}{end}"
    for series in catalogue.ALL_SERIES
    for end in (("", "_bucket", "_sum", "_count") if series.buckets else ("",))
}
SCRAPE_LABELS = {"job", "instance", "le"}


def _yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def _rules(kind: str) -> list[dict[str, Any]]:
    """Every rule that is an "alert" or a "record"."""
    rules = [rule for group in _yaml(RULES)["groups"] for rule in group["rules"]]
    return [rule for rule in rules if kind in rule]


ALERTS = {rule["alert"]: rule for rule in _rules("alert")}
RECORDS = {rule["record"]: rule for rule in _rules("record")}
EXPRESSIONS = {name: rule["expr"] for name, rule in {**ALERTS, **RECORDS}.items()}


def _queries() -> list[str]:
    """Every expression of the dashboard, its variables replaced by what they may stand for."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    found += [annotation["expr"] for annotation in board["annotations"]["list"]]
    variables = {"$__rate_interval": "1m", "$instance": ".+", "$job": "imagesieve"}
    for name, value in variables.items():
        found = [query.replace(name, value) for query in found]
    return found


# --- rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_rule_names_series_and_labels_that_exist(name: str) -> None:
    known = EXPORTED | {"up"} | set(RECORDS)
    named = promql.selectors(EXPRESSIONS[name])
    assert named
    assert {selector.name for selector in named} <= known
    labels = {label for series in catalogue.ALL_SERIES for label in series.labels}
    assert promql.labels(EXPRESSIONS[name]) <= labels | SCRAPE_LABELS


def test_every_record_is_used_and_comes_before_its_use() -> None:
    seen: set[str] = set()
    used: set[str] = set()
    for name, expression in ((r.get("record"), r["expr"]) for g in _yaml(RULES)["groups"]
                             for r in g["rules"]):  # fmt: skip
        needed = {s.name for s in promql.selectors(expression)} & set(RECORDS)
        assert needed <= seen
        used |= needed
        seen |= {name} if name else set()
    assert used == set(RECORDS)


def test_every_matcher_is_of_the_job_that_is_scraped() -> None:
    for expression in EXPRESSIONS.values():
        for selector in promql.selectors(expression):
            if selector.name not in RECORDS:
                assert ("job", "=", "imagesieve") in selector.matchers


def test_every_code_in_a_rule_is_one_the_server_writes() -> None:
    for expression in EXPRESSIONS.values():
        for selector in promql.selectors(expression):
            for label, _, value in selector.matchers:
                if label == "grpc_code":
                    assert set(value.split("|")) <= set(LABELS.values())


def test_latency_thresholds_are_buckets_so_that_they_are_exact() -> None:
    for name, series in (
        ("ImagesieveLatencyHigh", catalogue.RPC_SECONDS),
        ("ImagesieveCommitSlow", catalogue.STORE_COMMIT_SECONDS),
    ):
        assert float(EXPRESSIONS[name].rsplit(">", 1)[1]) in series.buckets


def test_every_alert_has_a_severity_and_a_summary() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert rule["annotations"]["summary"].endswith("."), name


def _runbook() -> dict[str, str]:
    """What it says of each alert."""
    text = RUNBOOK.read_text(encoding="utf-8")
    return dict(re.findall(r"^### (Imagesieve\w+)$(.*?)(?=^##)", text, re.M | re.S))


def test_every_alert_has_a_runbook_that_says_what_it_means_and_what_to_do() -> None:
    sections = _runbook()
    assert set(sections) == set(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"docs/how-to/operate.md#{name.lower()}"
        for part in ("**Means.**", "**Look.**", "**Do.**"):
            assert part in sections[name], (name, part)


def test_the_runbook_explains_every_code_that_counts_as_a_failure() -> None:
    (codes,) = re.findall(r'grpc_code=~"([^"]+)"', EXPRESSIONS["ImagesieveErrorRatio"])
    section = _runbook()["ImagesieveErrorRatio"]
    assert [code for code in codes.split("|") if f"`{code}`" not in section] == []


@pytest.mark.parametrize(
    ("alert", "named"),
    [
        ("ImagesieveFileReloadFailing", r'\bKept\(\s*name="(\w+)"'),
        (
            "ImagesieveCertificateExpiring",
            r'\bcertificate_expiry\("(\w+)"|\bexpires(?:\["| = {")(\w+)"',
        ),
    ],
)
def test_the_runbook_explains_every_file_and_certificate(alert: str, named: str) -> None:
    sources = sorted((ROOT / "server" / "imagesieve_server").rglob("*.py"))
    found = {
        match[match.lastindex or 0]
        for path in sources
        for match in re.finditer(named, path.read_text(encoding="utf-8"))
    }
    rows = re.findall(r"^\| `(\w+)` \|", _runbook()[alert], re.M)
    assert len(rows) >= 3
    assert set(rows) == found


def test_every_alert_is_tested_firing_and_quiet() -> None:
    tested: dict[str, set[bool]] = {}
    for path in RULES_TESTS:
        for case in _yaml(path)["tests"]:
            for check in case["alert_rule_test"]:
                tested.setdefault(check["alertname"], set()).add(bool(check["exp_alerts"]))
    assert tested == {alert: {True, False} for alert in ALERTS}


def _promtool(*arguments: str) -> None:
    tool = shutil.which("promtool")
    assert tool, "promtool is missing; Debian's and Ubuntu's package is prometheus"
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.promtool
@pytest.mark.timeout(600)  # a day of samples
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", str(RULES)),
        *(("test", "rules", str(path)) for path in RULES_TESTS),
        ("check", "config", str(PROMETHEUS / "prometheus.yml")),
    ],
    ids=lambda arguments: f"{arguments[0]} {Path(arguments[2]).name}",
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    _promtool(*arguments)


# --- dashboard -------------------------------------------------------------------------------


def test_the_dashboard_names_series_and_labels_that_exist() -> None:
    labels = {label for series in catalogue.ALL_SERIES for label in series.labels}
    of_alerts = {"alertname", "alertstate", "severity"}
    assert len(_queries()) > 30
    for query in _queries():
        named = {selector.name for selector in promql.selectors(query)}
        assert named, query
        assert named <= EXPORTED | {"up", "ALERTS"}, query
        assert promql.labels(query) <= labels | SCRAPE_LABELS | of_alerts, query


def test_legends_show_labels_that_their_query_keeps() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            grouped = re.search(r" by \(([^)]*)\)", target["expr"])
            if grouped:
                assert shown <= {name.strip() for name in grouped[1].split(",")}, target["expr"]


def test_panels_have_a_place_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (at["x"] + column, at["y"] + line)
            for column in range(at["w"])
            for line in range(at["h"])
        }
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.promtool
@pytest.mark.timeout(600)  # a day of samples
def test_the_dashboards_queries_are_valid(tmp_path: Path) -> None:
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(_queries())]
    path = tmp_path / "queries.json"  # YAML reads JSON
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    _promtool("check", "rules", str(path))


# --- the reader that these tests stand on ------------------------------------------------------


def test_the_reader_finds_names_matchers_and_labels() -> None:
    found = promql.selectors(
        """sum by (job) (rate(a_total{x="b{c}", y=~"d|e"}[5m] offset 1d)) # not(this)
        / on (job) group_left () max(job:b:rate5m) > 1.5e3 and c or vector(0)"""
    )
    assert [selector.name for selector in found] == ["a_total", "job:b:rate5m", "c"]
    assert found[0].matchers == (("x", "=", "b{c}"), ("y", "=~", "d|e"))
    assert promql.labels('sum by (p, q) (a{x="1"}) + on (r) b') == {"p", "q", "x", "r"}


@pytest.mark.parametrize(
    ("matcher", "matches"),
    [('x="1"', True), ('x!="1"', False), ('x=~"1|2"', True), ('x=~"."', True), ('x=~""', False),
     ('x!~"2"', True), ('y=""', True), ('y="1"', False), ('job="any"', True)],
)  # fmt: skip
def test_the_reader_matches_samples_as_prometheus_does(matcher: str, matches: bool) -> None:
    (selector,) = promql.selectors(f"a{{{matcher}}}")
    assert selector.matches("a", {"x": "1"}, target=frozenset(["job"])) is matches
    assert not selector.matches("b", {"x": "1"}, target=frozenset(["job"]))
