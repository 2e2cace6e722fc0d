from __future__ import annotations

from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from segx_serve import metrics
from segx_serve.job import Timing
from segx_serve.metrics import _GAUGES
from segx_serve.tally import SECONDS, Tally, merge

Labels = tuple[tuple[str, str], ...]


def values(tally: Tally) -> dict[tuple[str, Labels], float]:
    """Every sample as Prometheus' own parser reads it."""
    text = metrics.text(tally.snapshot()).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_have_their_labels_and_values() -> None:
    tally = Tally()
    for status, count in ((200, 3), (404, 1)):
        for _ in range(count):
            tally.request("/segment", status)
    tally.shed("bytes")
    found = values(tally)
    assert found["segx_requests_total", (("route", "/segment"), ("status", "200"))] == 3
    assert found["segx_requests_total", (("route", "/segment"), ("status", "404"))] == 1
    assert found["segx_shed_total", (("reason", "bytes"),)] == 1


def test_histograms_are_cumulative_and_end_in_their_count() -> None:
    tally = Tally()
    seconds = (0.0005, 0.002, 0.3, 99.0)
    for one in seconds:
        tally.duration(one)
    found = values(tally)
    for bound in SECONDS:
        below = sum(one <= bound for one in seconds)
        assert found["segx_request_seconds_bucket", (("le", str(bound)),)] == below
    assert found["segx_request_seconds_bucket", (("le", "+Inf"),)] == 4
    assert found["segx_request_seconds_count", ()] == 4
    assert found["segx_request_seconds_sum", ()] == pytest.approx(sum(seconds))


def test_models_are_told_by_name_and_version(kit: SimpleNamespace) -> None:
    tally = Tally()
    for version, batch in (("1", 2), ("2", 16)):
        job = kit.make_job()
        job.batch, job.first, job.timing = batch, True, Timing(run=0.03)
        tally.model('odd "name"\\', version).call(job.call, 0.1, fine=True)
    found = values(tally)
    model = ("model", 'odd "name"\\')
    assert found["segx_pictures_total", (model, ("version", "1"))] == 1
    assert found["segx_batch_size_bucket", (("le", "2.0"), model, ("version", "1"))] == 1
    assert found["segx_batch_size_bucket", (("le", "8.0"), model, ("version", "2"))] == 0
    assert found["segx_batch_seconds_sum", (model, ("version", "2"))] == pytest.approx(0.03)


def test_gauges_and_what_only_grows_have_their_kinds() -> None:
    tally = Tally()
    tally.gauge("segx_queue_depth", {"model": "m"}, lambda: 4)
    tally.gauge("segx_process_restarts", {"role": "host"}, lambda: 2)
    tally.gauge("segx_process_restarts", {"role": "front"}, lambda: 1)
    found = values(tally)
    assert found["segx_queue_depth", (("model", "m"),)] == 4
    assert found["segx_process_restarts_total", (("role", "host"),)] == 2
    assert found["segx_process_restarts_total", (("role", "front"),)] == 1


def test_nothing_counted_is_valid_too_and_two_tellings_of_one_snapshot_are_equal() -> None:
    assert values(Tally())["segx_request_seconds_count", ()] == 0
    both = merge([Tally().snapshot(), Tally().snapshot()])
    assert metrics.text(both) == metrics.text(Tally().snapshot())


@pytest.mark.parametrize("name", sorted(_GAUGES))
def test_every_gauge_that_is_known_can_be_told(name: str) -> None:
    tally = Tally()
    tally.gauge(name, {}, lambda: 7)
    assert 7 in values(tally).values()
