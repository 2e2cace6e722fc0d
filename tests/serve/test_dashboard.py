"""docs/grafana.json and the alerts of docs/serving.md ask for nothing that the service does not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
# Told only by a service of several processes, or one on a GPU: no answer of the service under test has them.
NOT_IN_EVERY_SERVICE = ("segx_process_restarts_total", "segx_gpu_memory_bytes")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}
# What Prometheus itself adds or knows.
OWN_METRICS = {"up"}
OWN_LABELS = {"job", "instance", "le"}
WORDS = {"by", "without", "or", "and", "unless", "on", "ignoring", "vector", "bool", "offset"}


def panel_queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def alert_queries() -> Iterator[str]:
    page = (DOCS / "serving.md").read_text(encoding="utf-8")
    for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL):
        read = yaml.safe_load(block)
        for group in read.get("groups", ()):
            yield from (rule["expr"] for rule in group["rules"])


def metrics_of(query: str) -> set[str]:
    """Names in a query that are neither functions nor labels nor words of the language."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", query)
    return {name for name in re.findall(r"(?<![\w.])[A-Za-z_:][\w:]*(?!\w)(?!\s*\()", bare) if name not in WORDS}


def labels_of(query: str) -> set[str]:
    inside = re.findall(r"\{([^}]*)\}", query)
    grouped = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", query)
    named = {name for part in inside for name in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", part)}
    return named | {name.strip() for part in grouped for name in part.split(",")}


@pytest.fixture
def told(kit: SimpleNamespace, brightness: Any) -> dict[str, set[str]]:
    """Name of each series -> its labels, from a real answer after some work; no labels where nothing happened yet."""
    assert brightness.segment(kit.as_png(kit.picture())).status_code == 200
    text = brightness.client.get("/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels}
        found |= {family.name + suffix: labels for suffix in SUFFIXES[family.type]}
    return found


def test_every_metric_that_is_asked_for_is_told(told: dict[str, set[str]]) -> None:
    queries = [*panel_queries(), *alert_queries()]
    assert len(queries) > 20
    for query in queries:
        names = metrics_of(query)
        assert names, query
        for name in names - OWN_METRICS - set(NOT_IN_EVERY_SERVICE):
            assert name in told, f"{name} in {query}"


def test_every_label_that_is_asked_for_is_told(told: dict[str, set[str]]) -> None:
    for query in [*panel_queries(), *alert_queries()]:
        known = set().union(*(told.get(name, set()) for name in metrics_of(query)))
        if known:
            assert labels_of(query) <= known | OWN_LABELS, query


def test_the_reader_of_queries_sees_through_one() -> None:
    query = 'histogram_quantile(0.9, sum by (le, x) (rate(a_bucket{b="c",d=~"e"}[5m]))) / (f:g or vector(0)) > 2e-3'
    assert metrics_of(query) == {"a_bucket", "f:g"}
    assert labels_of(query) == {"le", "x", "b", "d"}


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert DASHBOARD["schemaVersion"] >= 39
    assert "id" not in DASHBOARD
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job", "instance"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == set(names)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not own & cells, panel["title"]
        cells |= own
