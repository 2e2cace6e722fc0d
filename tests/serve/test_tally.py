from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segx_serve.job import Timing
from segx_serve.tally import SECONDS, SIZES, STAGES, Histogram, Snapshot, Tally, merge


@pytest.mark.parametrize(
    ("value", "bucket"), [(0, 0), (1, 0), (1.0001, 1), (2, 1), (128, 7), (128.5, 8), (10**9, 8), (-1, 0)]
)
def test_a_value_on_a_bound_belongs_below_it(value: float, bucket: int) -> None:
    found = Histogram(SIZES)
    found.observe(value)
    assert found.snapshot()["counts"] == [int(place == bucket) for place in range(len(SIZES) + 1)]
    assert found.snapshot()["total"] == value


@given(st.lists(st.floats(0, 100)))
@settings(deadline=None, derandomize=True)
def test_a_histogram_counts_as_a_naive_one_does(values: list[float]) -> None:
    found = Histogram(SECONDS)
    for value in values:
        found.observe(value)
    told = found.snapshot()
    for place, bound in enumerate(SECONDS):
        assert sum(told["counts"][: place + 1]) == sum(value <= bound for value in values)
    assert sum(told["counts"]) == len(values)
    assert told["total"] == pytest.approx(sum(values))


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2),  # the process in which it happens
        st.one_of(
            st.tuples(st.just("request"), st.sampled_from(["/segment", "/v2"]), st.sampled_from([200, 404, 503])),
            st.tuples(st.just("shed"), st.sampled_from(["bytes", "gone", "lost"])),
            st.tuples(st.just("duration"), st.sampled_from([0.0, 0.25, 64.0])),
            st.tuples(st.just("stage"), st.sampled_from([0.0, 0.5])),
            st.tuples(st.just("call"), st.sampled_from("ab"), st.sampled_from("12"), st.booleans(), st.integers(0, 3)),
        ),
    ),
    max_size=40,
)


@given(EVENTS)
@settings(deadline=None, derandomize=True)
def test_processes_added_up_tell_what_one_process_would(kit: SimpleNamespace, events: list[Any]) -> None:
    parts, whole = [Tally() for _ in range(3)], Tally()
    for process, event in events:
        for one in (parts[process], whole):
            happen(kit, one, event)
    added, expected = merge(part.snapshot() for part in parts), whole.snapshot()
    for told in (added, expected):
        told["requests"].sort()
        told["models"].sort(key=lambda entry: entry[:2])
        for _, _, counts in told["models"]:
            counts.pop("last")
    assert added == expected
    # However they are put together, and through JSON.
    snapshots = [json.loads(json.dumps(part.snapshot())) for part in parts]
    first = merge([merge(snapshots[:2]), snapshots[2]])
    second = merge([snapshots[0], merge(snapshots[1:])])
    for told in (first, second):
        told["requests"].sort()
        told["models"].sort(key=lambda entry: entry[:2])
    assert first == second


def happen(kit: SimpleNamespace, tally: Tally, event: Any) -> None:
    match event:
        case ("request", route, status):
            tally.request(route, status)
        case ("shed", reason):
            tally.shed(reason)
        case ("duration", seconds):
            tally.duration(seconds)
        case ("stage", seconds):
            tally.picture(Timing(seconds, 2 * seconds, 0.0, seconds))
        case ("call", name, version, fine, batch):
            tally.model(name, version).call(call(kit, batch, 0.25), 0.5, fine)


def call(kit: SimpleNamespace, batch: int, run: float, *, first: bool = True) -> Any:
    job = kit.make_job()
    job.batch, job.first = batch, first and batch > 0
    job.timing = Timing(queue=0.125, decode=0.0625, run=run, encode=0.5)
    return job.call


def test_merging_nothing_is_an_empty_snapshot_and_changes_none_of_its_parts(kit: SimpleNamespace) -> None:
    assert merge([]) == Tally().snapshot()
    tally = Tally()
    tally.model("m", "1").call(call(kit, 2, 0.25), 0.5, fine=True)
    one, other = tally.snapshot(), tally.snapshot()
    merge([one, other])
    assert one == other == tally.snapshot()


def test_of_the_last_picture_the_latest_counts(kit: SimpleNamespace) -> None:
    def told(last: int) -> Snapshot:
        tally = Tally()
        model = tally.model("m", "1")
        model.call(call(kit, 1, 0.25), 0.5, fine=True)
        model.last = last
        return tally.snapshot()

    assert merge([told(5), told(9), told(7)])["models"][0][2]["last"] == 9


def test_a_model_counts_requests_pictures_and_each_batch_once(kit: SimpleNamespace) -> None:
    tally = Tally()
    model = tally.model("m", "2")
    assert tally.model("m", "2") is model
    model.call(call(kit, 2, 0.25), 1.0, fine=True)
    model.call(call(kit, 2, 0.25, first=False), 1.0, fine=True)
    model.call(call(kit, 0, 0.0), 3.0, fine=False)  # never ran
    ((name, version, told),) = tally.snapshot()["models"]
    assert (name, version, told["requests"], told["failed"], told["pictures"]) == ("m", "2", 2, 1, 2)
    assert told["batches"] == {"2": [1, 250_000_000]}
    assert told["nanoseconds"] == {
        "success": 2 * 10**9, "fail": 3 * 10**9,
        "queue": 250_000_000, "decode": 125_000_000, "run": 500_000_000, "encode": 10**9,
    }  # fmt: skip
    assert sum(told["batch_size"]["counts"]) == 1
    assert told["last"] > 1_600_000_000_000


def test_gauges_are_asked_when_told_and_add_up_by_labels() -> None:
    value = [1.0]
    tally = Tally()
    tally.gauge("segx_queue_depth", {"model": "a"}, lambda: value[0])
    tally.gauge("segx_queue_depth", {"model": "b"}, lambda: 10)
    value[0] = 3.0
    assert tally.snapshot()["gauges"] == [
        ["segx_queue_depth", {"model": "a"}, 3.0], ["segx_queue_depth", {"model": "b"}, 10],
    ]  # fmt: skip
    assert merge([tally.snapshot()] * 2)["gauges"] == [
        ["segx_queue_depth", {"model": "a"}, 6.0], ["segx_queue_depth", {"model": "b"}, 20.0],
    ]  # fmt: skip
    tally.clear_gauges("segx_queue_depth")
    assert tally.snapshot()["gauges"] == []


def test_every_stage_is_counted_of_every_picture() -> None:
    tally = Tally()
    tally.picture(Timing(0.001, 0.002, 0.004, 0.008))
    told = tally.snapshot()["stages"]
    assert list(told) == list(STAGES)
    assert [told[name]["total"] for name in STAGES] == [0.001, 0.002, 0.004, 0.008]
    assert all(sum(one["counts"]) == 1 for one in told.values())
