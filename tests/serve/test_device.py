"""A model behind its own buffers, on ONNX Runtime's CPU provider: the same bytes as Predictor, in bounded room.

What needs a GPU is tried where there is one.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from segx_core import runtime
from segx_core.card import METADATA_KEY, InputSpec, OutputSpec, SizeRule
from segx_core.card_io import to_json
from segx_core.errors import ModelError, PictureError
from segx_core.predictor import Predictor
from segx_serve.buffers import Buffers, CpuWay
from segx_serve.device import DeviceRunner, batch_sizes, rounded
from segx_serve.graphs import Graphs
from segx_serve.loading import load
from segx_serve.settings import Settings
from tests.serve.conftest import card, write_model

SIZES = st.sampled_from([(1, 1), (3, 5), (4, 4), (5, 3), (9, 2)])


@pytest.fixture(scope="module")
def predictor(model_file: Path) -> Predictor:
    return Predictor.load(model_file, provider="cpu", threads=1)


def noise(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def graphs(predictor: Predictor, ways: list[CpuWay], shapes: list[tuple[int, int]], most: int) -> Graphs:
    names = (predictor.card.image.name, predictor.card.prediction.name)
    return Graphs(predictor.session, names, ways, shapes, batch_sizes(most), predictor.prediction_dtype)


class Watched(CpuWay):
    """A way that counts the bytes it was asked for, and refuses some."""

    def __init__(self, refuse: int = 0) -> None:
        self.asked: list[int] = []
        self.refuse = refuse

    def pair(self, size):
        if self.refuse:
            self.refuse -= 1
            raise MemoryError("full")
        self.asked.append(size)
        return super().pair(size)


@given(st.lists(st.tuples(st.integers(1, 9), SIZES), min_size=1, max_size=12), st.integers(1, 8), st.integers(1, 400))
def test_any_sequence_of_batches_gives_what_predictor_gives(predictor, batches, max_batch, most_bytes):
    runner = DeviceRunner(predictor, [CpuWay()], max_batch, most_bytes=most_bytes)
    for seed, (count, (height, width)) in enumerate(batches):
        batch = noise(count, height, width, seed)
        got = runner.run(batch)
        assert got.dtype == np.uint8
        assert np.array_equal(got, predictor.run(batch))


@given(st.lists(st.tuples(st.integers(1, 9), SIZES), min_size=1, max_size=8), st.integers(1, 6))
def test_padded_batches_of_recorded_sizes_give_the_same(predictor, batches, most):
    way = CpuWay()
    runner = DeviceRunner(predictor, [way], 8, graphs(predictor, [way], [(4, 4), (3, 5)], most))
    assert "recorded for 4x4, 3x5 in batches of 1" in runner.describe()
    for seed, (count, (height, width)) in enumerate(batches):
        batch = noise(count, height, width, seed)
        assert np.array_equal(runner.run(batch), predictor.run(batch))


def test_recorded_runs_are_found_by_size_and_number(predictor):
    found = graphs(predictor, [CpuWay(), CpuWay()], [(4, 4)], 6)
    assert found.find(0, (4, 4), 3).count == 4
    assert found.find(1, (4, 4), 5).count == 6
    assert found.find(0, (4, 4), 7) is None
    assert found.find(0, (4, 5), 1) is None
    assert found.find(0, (4, 4), 3).buffers is found.find(0, (4, 4), 1).buffers
    assert found.find(0, (4, 4), 3).buffers is not found.find(1, (4, 4), 3).buffers


def test_an_answer_does_not_change_when_its_buffers_are_used_again(predictor):
    runner = DeviceRunner(predictor, [CpuWay()], 4)
    first = runner.run(noise(3, 4, 4, 1))
    kept = first.copy()
    runner.run(noise(4, 4, 4, 2))
    assert np.array_equal(first, kept)


def test_a_batch_that_is_no_view_of_one_block_gives_the_same(predictor):
    batch = noise(6, 8, 8)[::2, 1:7, ::-1]
    assert np.array_equal(DeviceRunner(predictor, [CpuWay()], 4).run(batch), predictor.run(batch))


def test_buffers_are_kept_by_size_and_the_oldest_go(predictor):
    way = Watched()
    runner = DeviceRunner(predictor, [way], 4, most_bytes=2 * 4 * 16 * 4)
    for height, width in ((4, 4), (2, 8), (4, 4), (8, 2), (4, 4)):
        runner.run(noise(3, height, width))
    # Room for two sizes: 2x8 went when 8x2 came, and 4x4 was never made again.
    assert way.asked == [4 * 16 * 3, 4 * 16] * 3
    runner.run(noise(3, 2, 8))
    assert len(way.asked) == 8


def test_no_more_than_eight_sizes_are_kept(predictor):
    way = Watched()
    runner = DeviceRunner(predictor, [way], 1)
    for width in (*range(1, 10), 9, 2, 1):
        runner.run(noise(1, 1, width))
    assert way.asked[::2] == [3 * width for width in (*range(1, 10), 1)]


def test_a_fuller_batch_gets_larger_buffers_and_the_smaller_go(predictor):
    way = Watched()
    runner = DeviceRunner(predictor, [way], 16)
    for count in (1, 3, 2, 4, 5, 8, 20, 17):
        assert len(runner.run(noise(count, 4, 4))) == count
    assert way.asked[::2] == [count * 48 for count in (1, 4, 8, 20)]


def test_large_pictures_get_no_spare_room(predictor):
    way = Watched()
    DeviceRunner(predictor, [way], 16, most_bytes=256).run(noise(3, 4, 4))
    assert way.asked == [3 * 48, 3 * 16]


def test_a_full_device_is_tried_once_more_with_everything_else_given_up(predictor):
    way = Watched()
    runner = DeviceRunner(predictor, [way], 1)
    runner.run(noise(1, 4, 4))
    way.refuse = 1
    assert np.array_equal(runner.run(noise(1, 2, 2)), predictor.run(noise(1, 2, 2)))
    runner.run(noise(1, 4, 4))
    assert way.asked == [48, 16, 12, 4, 48, 16]
    way.refuse = 2
    with pytest.raises(MemoryError, match="full"):
        runner.run(noise(1, 3, 3))
    assert runner.run(noise(1, 3, 3)).shape == (1, 3, 3)


def test_two_threads_do_not_get_in_each_others_way(predictor):
    ways = [Watched(), Watched()]
    runner = DeviceRunner(predictor, ways, 4)
    wrong: list[int] = []
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait()
        for turn in range(40):
            batch = noise(1 + turn % 4, 16, 16, 100 * number + turn)
            if not np.array_equal(runner.run(batch), batch.mean(axis=-1, dtype=np.float32).astype(int) // 64):
                wrong.append(turn)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_one_thread_uses_one_set_of_buffers(predictor):
    ways = [Watched(), Watched()]
    runner = DeviceRunner(predictor, ways, 4)
    for _ in range(3):
        runner.run(noise(2, 4, 4))
    assert [len(way.asked) for way in ways] == [2, 0]


def test_a_failing_run_gives_the_buffers_back(predictor):
    runner = DeviceRunner(predictor, [CpuWay()], 4)

    class Refusing:
        def run_with_iobinding(self, binding):
            raise RuntimeError("Failed to allocate\nmemory")

        def __getattr__(self, name):
            return getattr(predictor.session, name)

    runner.predictor = Predictor(**{**vars_of(predictor), "session": Refusing()})
    with pytest.raises(ModelError, match=r"on image \[2, 4, 4, 3\].*\n?.*Failed to allocate memory"):
        runner.run(noise(2, 4, 4))
    runner.predictor = predictor
    assert runner.run(noise(2, 4, 4)).shape == (2, 4, 4)


def vars_of(predictor: Predictor) -> dict[str, object]:
    """The fields of a record."""
    return {name: getattr(predictor, name) for name in predictor.__dataclass_fields__}


def test_files_that_need_work_outside_the_graph_go_to_predictor(tmp_path):
    """Of a fixed size, pictures of another size are brought to it first."""
    fixed = card().model_copy(update={"size": SizeRule(kind="fixed", height=4, width=6)})
    predictor = Predictor.load(write_model(tmp_path / "fixed.onnx", fixed), provider="cpu", threads=1)
    way = Watched()
    runner = DeviceRunner(predictor, [way], 2)
    assert (predictor.takes(4, 6), predictor.takes(6, 4)) == (True, False)
    for height, width in ((6, 4), (12, 18), (4, 6)):
        batch = noise(2, height, width)
        assert np.array_equal(runner.run(batch), predictor.run(batch))
    assert way.asked == [2 * 72, 2 * 24]


def test_a_class_map_of_a_size_that_the_graph_does_not_declare_goes_to_predictor(tmp_path):
    """At a stride of two."""
    nodes = [
        helper.make_node("Slice", ["image", "from", "to", "axes", "steps"], ["half"]),
        helper.make_node("ArgMax", ["half"], ["best"], axis=3, keepdims=0),
        helper.make_node("Cast", ["best"], ["classmap"], to=TensorProto.UINT8),
    ]
    numbers = {"from": [0, 0], "to": [9999, 9999], "axes": [1, 2], "steps": [2, 2]}
    initial = [helper.make_tensor(name, TensorProto.INT64, [2], value) for name, value in numbers.items()]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])
    maps = helper.make_tensor_value_info("classmap", TensorProto.UINT8, ["N", "h", "w"])
    model = helper.make_model(
        helper.make_graph(nodes, "stride", [image], [maps], initial),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(model, {METADATA_KEY: to_json(card())})
    onnx.save(model, tmp_path / "stride.onnx")
    predictor = Predictor.load(tmp_path / "stride.onnx", provider="cpu", threads=1)
    way = Watched()
    assert not predictor.takes(4, 4)
    assert np.array_equal(DeviceRunner(predictor, [way], 2).run(noise(2, 5, 6)), predictor.run(noise(2, 5, 6)))
    assert way.asked == []


def test_wide_class_maps(tmp_path):
    """More than 256 classes are uint16; a graph that gives int64 is brought to the card's type."""
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["wide", "axes"], ["classmap"], keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])
    maps = helper.make_tensor_value_info("classmap", TensorProto.INT64, ["N", "H", "W"])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [3])
    model = helper.make_model(
        helper.make_graph(nodes, "sum", [image], [maps], [axes]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    many = 766
    wide = card().model_copy(
        update={
            "classes": tuple(f"c{index}" for index in range(many)),
            "ignore_index": 65535,
            "palette": tuple((index % 256, index // 256, 0) for index in range(many)),
            "inputs": (InputSpec(name="image"),),
            "outputs": (OutputSpec(name="classmap", dtype="int64"),),
        }
    )
    helper.set_model_props(model, {METADATA_KEY: to_json(wide)})
    onnx.save(model, tmp_path / "wide.onnx")
    predictor = Predictor.load(tmp_path / "wide.onnx", provider="cpu", threads=1)
    way = Watched()
    batch = noise(3, 4, 5)
    got = DeviceRunner(predictor, [way], 4).run(batch)
    assert got.dtype == np.uint16
    assert np.array_equal(got, batch.sum(axis=3))
    assert way.asked == [4 * 60, 4 * 20 * 8]


@pytest.mark.parametrize(
    "batch", [np.zeros((2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3), np.float32), np.zeros((0, 2, 2, 3), np.uint8), None]
)
def test_what_is_no_batch_is_an_error(predictor, batch):
    with pytest.raises(PictureError):
        DeviceRunner(predictor, [CpuWay()], 2).run(batch)


def test_it_says_what_predictor_says(predictor):
    runner = DeviceRunner(predictor, [CpuWay()], 2)
    assert (runner.card, runner.provider, runner.size_bytes, runner.describe()) == (
        predictor.card,
        predictor.provider,
        predictor.size_bytes,
        predictor.describe(),
    )
    batch = noise(1, 2, 2)
    assert np.array_equal(runner.infer({"image": batch})["classmap"], predictor.run(batch))


def test_rounding():
    assert [rounded(count, 12) for count in (1, 2, 3, 4, 5, 8, 9, 12, 13, 40)] == [1, 2, 4, 4, 8, 8, 12, 12, 13, 40]
    assert batch_sizes(12) == [1, 2, 4, 8, 12]
    assert batch_sizes(1) == [1]


def test_rebinding_keeps_the_addresses(predictor):
    buffers = Buffers(predictor.session, ("image", "classmap"), CpuWay(), 4, (2, 2), np.dtype(np.uint8))
    for count in (4, 1, 3):
        batch = noise(count, 2, 2, count)
        buffers.bind(count)
        buffers.put(batch)
        predictor.session.run_with_iobinding(buffers.binding)
        assert np.array_equal(buffers.get(count), predictor.run(batch))
    assert buffers.size == 4 * 4 * 4


@pytest.mark.skipif(runtime.trouble(runtime.CUDA) is not None, reason="needs a GPU that works")
def test_on_a_gpu_buffers_recorded_runs_and_predictor_agree(model_file):
    for shapes in ((), ((32, 48),)):
        runner = load(model_file, Settings(cuda_graphs=shapes), "cuda", None, False)
        assert isinstance(runner, DeviceRunner)
        for count, height, width in ((1, 32, 48), (3, 32, 48), (16, 32, 48), (2, 7, 9), (5, 32, 48)):
            batch = noise(count, height, width, count)
            assert np.array_equal(runner.run(batch), runner.predictor.run(batch))
