"""Predictor on real ONNX files made here: native, third-party, with optional inputs, wrong and broken."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from segx_core import card_io, runtime
from segx_core.card import METADATA_KEY, Card, InputSpec, OutputSpec, Session, SizeRule
from segx_core.errors import CardError, ConfigError, DataError, ModelError, PictureError, SetupError
from segx_core.predictor import Predictor
from segx_core.runner import TensorRunner

CLASSES = ("sky", "road", "car")
COLORS = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def saved(path: Path, nodes, inputs, outputs, initial=(), card: Card | str | None = None) -> Path:
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, list(initial)),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    if card is not None:
        text = card if isinstance(card, str) else card_io.to_json(card)
        helper.set_model_props(model, {METADATA_KEY: text, "other": "ü"})
    onnx.save(model, path)
    return path


def value(name: str, kind: int, *shape: int | str):
    return helper.make_tensor_value_info(name, kind, list(shape))


def native_card(**changes) -> Card:
    base = Card(
        name="native",
        classes=CLASSES,
        palette=COLORS,
        inputs=(InputSpec(name="image"),),
        outputs=(OutputSpec(name="classmap"),),
    )
    return Card.model_validate(base.model_dump() | changes)


def native(tmp_path: Path, card: Card | str | None) -> Path:
    """uint8 NHWC -> the channel that is brightest."""
    return saved(
        tmp_path / "native.onnx",
        [
            helper.make_node("ArgMax", ["image"], ["best"], axis=3, keepdims=0),
            helper.make_node("Cast", ["best"], ["classmap"], to=T.UINT8),
        ],
        [value("image", T.UINT8, "N", "H", "W", 3)],
        [value("classmap", T.UINT8, "N", "H", "W")],
        card=card,
    )


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 7 + shift) * np.cos(columns / 9 - shift) for shift in (0, 2, 4)]
    return (np.stack(waves, axis=-1) * 100 + 128).astype(np.uint8)


# ---- native files


def test_a_native_file_of_any_size(tmp_path):
    path = native(tmp_path, native_card())
    predictor = Predictor.load(path, provider="cpu", threads=1)
    assert isinstance(predictor, TensorRunner)
    assert predictor.provider == "CPUExecutionProvider"
    assert predictor.providers_used == ("CPUExecutionProvider",)
    assert predictor.size_bytes == path.stat().st_size
    assert predictor.card == native_card()
    assert "native.onnx: 3 classes" in predictor.describe()
    predictor.warm_up(8, 9)
    for count, height, width in ((1, 1, 1), (1, 5, 7), (3, 16, 4)):
        batch = pictures(count, height, width)
        classmaps = predictor.run(batch)
        assert classmaps.dtype == np.uint8
        assert np.array_equal(classmaps, batch.argmax(3))
        assert np.array_equal(predictor.predict(batch[0]), classmaps[0])
        assert np.array_equal(predictor.infer({"image": batch})["classmap"], classmaps)
    assert predictor.probabilities(batch) is None


def test_session_options_of_the_card_reach_the_session(tmp_path):
    card = native_card(session=Session(config={"session.disable_prepacking": "1"}, optimization="basic").model_dump())
    options = Predictor.load(native(tmp_path, card), threads=1, spinning=True).session.get_session_options()
    assert options.get_session_config_entry("session.disable_prepacking") == "1"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert options.graph_optimization_level.name == "ORT_ENABLE_BASIC"
    assert options.intra_op_num_threads == 1


def test_a_view_that_is_not_contiguous_gives_the_same(tmp_path):
    predictor = Predictor.load(native(tmp_path, native_card()))
    batch = pictures(2, 6, 8)
    assert np.array_equal(predictor.run(batch[:, ::-1, ::2]), batch[:, ::-1, ::2].argmax(3))


@pytest.mark.parametrize(
    "batch",
    [
        pictures(1, 4, 4).astype(np.float32),
        pictures(1, 4, 4)[0],
        pictures(1, 4, 4)[..., :2],
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((1, 0, 4, 3), np.uint8),
        [[1]],
    ],
)
def test_what_is_no_batch_is_refused(tmp_path, batch):
    predictor = Predictor.load(native(tmp_path, native_card()))
    for call in (predictor.run, predictor.probabilities):
        with pytest.raises(PictureError):
            call(batch)


def test_cuda_asked_for_and_absent_is_an_error(tmp_path):
    path = native(tmp_path, native_card())
    if runtime.trouble(runtime.CUDA) is None:
        assert Predictor.load(path, provider="cuda").provider == runtime.CUDA
        assert Predictor.load(path).provider == runtime.CUDA
    else:
        with pytest.raises(SetupError, match="'cuda' to load") as caught:
            Predictor.load(path, provider="cuda")
        assert caught.value.cure
        assert Predictor.load(path).provider == runtime.CPU
    with pytest.raises(ConfigError, match="Did you mean 'cuda'"):
        Predictor.load(path, provider="cudaa")


# ---- third-party files


def logits_model(path: Path, stride: int, layout: str = "NCHW", height="H", width="W", batch="N", kind: str = "logits"):
    """float32 NCHW -> mean over stride x stride cells, a 1x1 convolution with three outputs, maybe a softmax."""
    kernel = np.array([[2.0, -1, 0.3], [-0.5, 1.5, -0.2], [0.1, 0.4, 1.0]], np.float32)
    bias = np.array([0.05, -0.1, 0.0], np.float32)
    last = "scores" if layout == "NHWC" else "logits"
    nodes = [
        helper.make_node("AveragePool", ["input"], ["cells"], kernel_shape=[stride] * 2, strides=[stride] * 2),
        helper.make_node("Conv", ["cells", "kernel", "bias"], ["raw" if kind == "probabilities" else last]),
    ]
    if kind == "probabilities":
        nodes.append(helper.make_node("Softmax", ["raw"], [last], axis=1))
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", ["scores"], ["logits"], perm=[0, 2, 3, 1]))
    shape = (batch, 3, "h", "w") if layout == "NCHW" else (batch, "h", "w", 3)
    return saved(
        path,
        nodes,
        [value("input", T.FLOAT, batch, 3, height, width)],
        [value("logits", T.FLOAT, *shape)],
        [onnx.numpy_helper.from_array(kernel[:, :, None, None], "kernel"), onnx.numpy_helper.from_array(bias, "bias")],
    )


def yaml_card(tmp_path: Path, stride: int, more: str = "", layout: str = "NCHW", kind: str = "logits") -> Path:
    path = tmp_path / "card.yaml"
    path.write_text(
        f"input: {{name: input, mean: {list(MEAN)}, std: {list(STD)}{more}}}\n"
        f"output: {{name: logits, kind: {kind}, layout: {layout}, stride: {stride}}}\n"
        "classes: [sky, road, car]\n"
    )
    return path


def naive_cells(picture: np.ndarray, stride: int) -> np.ndarray:
    """The logits of `logits_model` for an RGB uint8 picture, in float64: (3, h, w)."""
    kernel = np.array([[2.0, -1, 0.3], [-0.5, 1.5, -0.2], [0.1, 0.4, 1.0]])
    pixels = (picture / 255.0 - MEAN) / STD
    rows, columns = picture.shape[0] // stride, picture.shape[1] // stride
    out = np.zeros((3, rows, columns))
    for row in range(rows):
        for column in range(columns):
            cell = pixels[row * stride : (row + 1) * stride, column * stride : (column + 1) * stride]
            out[:, row, column] = kernel @ cell.mean(axis=(0, 1)) + [0.05, -0.1, 0.0]
    return out


def naive_resize(scores: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with corners not aligned, pixel by pixel, in float64."""
    _, h, w = scores.shape
    out = np.zeros((len(scores), height, width))
    for row in range(height):
        y = min(max((row + 0.5) * h / height - 0.5, 0), h - 1)
        top = min(int(y), h - 1)
        below = min(top + 1, h - 1)
        for column in range(width):
            x = min(max((column + 0.5) * w / width - 0.5, 0), w - 1)
            left = min(int(x), w - 1)
            right = min(left + 1, w - 1)
            a, b = y - top, x - left
            upper = scores[:, top, left] * (1 - b) + scores[:, top, right] * b
            lower = scores[:, below, left] * (1 - b) + scores[:, below, right] * b
            out[:, row, column] = upper * (1 - a) + lower * a
    return out


def agree(classmap: np.ndarray, scores: np.ndarray) -> None:
    """Equal to the argmax wherever that is not a matter of rounding."""
    ordered = np.sort(scores, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    assert clear.mean() > 0.95
    assert np.array_equal(classmap[clear], scores.argmax(0)[clear])


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_third_party_logits_equal_the_naive_way(tmp_path, stride, layout):
    path = logits_model(tmp_path / "net.onnx", stride, layout)
    predictor = Predictor.load(path, card=yaml_card(tmp_path, stride, layout=layout), provider="cpu")
    picture = smooth(32, 40)
    expected = naive_resize(naive_cells(picture, stride), 32, 40)
    agree(predictor.predict(picture), expected)
    odds = np.exp(expected)
    given = predictor.probabilities(picture[None])
    assert given.dtype == np.float32
    np.testing.assert_allclose(given[0], odds / odds.sum(0), atol=1e-5)


def test_third_party_probabilities_are_upsampled_as_they_are(tmp_path):
    path = logits_model(tmp_path / "net.onnx", 4, kind="probabilities")
    predictor = Predictor.load(path, card=yaml_card(tmp_path, 4, kind="probabilities"))
    picture = smooth(16, 24)
    odds = np.exp(naive_cells(picture, 4))
    expected = naive_resize(odds / odds.sum(0), 16, 24)
    np.testing.assert_allclose(predictor.probabilities(picture[None])[0], expected, atol=1e-5)
    agree(predictor.predict(picture), expected)


def test_a_multiple_is_padded_with_the_edge_and_cropped(tmp_path):
    path = logits_model(tmp_path / "net.onnx", 8)
    predictor = Predictor.load(path, card=yaml_card(tmp_path, 8, ", multiple: 8"))
    picture = smooth(29, 35)
    padded = np.pad(picture, ((0, 3), (0, 5), (0, 0)), mode="edge")
    expected = naive_resize(naive_cells(padded, 8), 32, 40)[:, :29, :35]
    classmap = predictor.predict(picture)
    assert classmap.shape == (29, 35)
    agree(classmap, expected)
    assert predictor.probabilities(picture[None]).shape == (1, 3, 29, 35)
    predictor.warm_up(29, 35)


def test_a_fixed_size_and_batch(tmp_path):
    path = logits_model(tmp_path / "net.onnx", 4, height=16, width=24, batch=2)
    predictor = Predictor.load(path, card=yaml_card(tmp_path, 4, ", size: [16, 24]"))
    predictor.warm_up(100, 100)
    exact = smooth(16, 24)
    agree(predictor.predict(exact), naive_resize(naive_cells(exact, 4), 16, 24))
    # Three pictures through a graph that takes two: each as if it were alone; shrunk by whole cells, so that the
    # average is known.
    large = np.stack([np.repeat(np.repeat(np.roll(exact, turn, 1), 3, 0), 3, 1) for turn in (0, 5, 9)])
    classmaps = predictor.run(large)
    assert classmaps.shape == (3, 48, 72)
    for picture, classmap in zip(large, classmaps, strict=True):
        agree(classmap, naive_resize(naive_cells(picture[::3, ::3], 4), 48, 72))
        assert np.array_equal(classmap, predictor.predict(picture))


def test_third_party_classmap_in_int64_at_stride_2(tmp_path):
    path = saved(
        tmp_path / "net.onnx",
        [
            helper.make_node("AveragePool", ["x"], ["cells"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("ArgMax", ["cells"], ["y"], axis=1, keepdims=0),
        ],
        [value("x", T.FLOAT, "N", 3, "H", "W")],
        [value("y", T.INT64, "N", "h", "w")],
    )
    (tmp_path / "c.yaml").write_text(
        "input: {name: x, color: BGR}\noutput: {name: y, kind: classmap, stride: 2}\nclasses: [a, b, c]"
    )
    predictor = Predictor.load(path, card=tmp_path / "c.yaml")
    small = pictures(1, 4, 5)[0]
    classmap = predictor.predict(small.repeat(2, 0).repeat(2, 1))
    assert classmap.dtype == np.uint8
    assert np.array_equal(classmap, small[..., ::-1].argmax(2).repeat(2, 0).repeat(2, 1))


def test_more_than_256_classes_are_uint16(tmp_path):
    count = 300
    kernel = np.zeros((count, 1, 1, 1), np.float32)
    kernel[299] = 1
    path = saved(
        tmp_path / "many.onnx",
        [helper.make_node("Conv", ["x", "k"], ["y"])],
        [value("x", T.FLOAT, "N", 1, "H", "W")],
        [value("y", T.FLOAT, "N", count, "H", "W")],
        [onnx.numpy_helper.from_array(kernel, "k")],
    )
    names = ", ".join(f"c{number}" for number in range(count))
    (tmp_path / "c.yaml").write_text(f"input: {{name: x, color: GRAY}}\noutput: {{name: y}}\nclasses: [{names}]")
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 0] = 9
    classmap = Predictor.load(path, card=tmp_path / "c.yaml").predict(picture)
    assert classmap.dtype == np.uint16
    assert classmap.tolist() == [[299, 0], [0, 0]]  # black pixels tie everywhere: the lowest index


# ---- optional inputs


def fused(tmp_path: Path, present: bool = False) -> Predictor:
    """classmap = argmax(image + depth); with present also an output that shows it."""
    specs = [
        InputSpec(name="image"),
        InputSpec(name="depth", kind="map", dtype="float32", shape=("N", "H", "W", 3), optional=True),
        InputSpec(name="sound", kind="audio", dtype="float32", shape=("N", 1, 4, "T"), layout=None, optional=True),
    ]
    inputs = [
        value("image", T.UINT8, "N", "H", "W", 3),
        value("depth", T.FLOAT, "N", "H", "W", 3),
        value("sound", T.FLOAT, "N", 1, 4, "T"),
    ]
    outputs = [value("classmap", T.UINT8, "N", "H", "W"), value("heard", T.FLOAT, "N", 1, 4, "T")]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=T.FLOAT),
        helper.make_node("Add", ["float", "depth"], ["sum"]),
        helper.make_node("ArgMax", ["sum"], ["best"], axis=3, keepdims=0),
        helper.make_node("Cast", ["best"], ["classmap"], to=T.UINT8),
        helper.make_node("Identity", ["sound"], ["heard"]),
    ]
    if present:
        specs.append(
            InputSpec(name="present", kind="present", dtype="float32", shape=("N", 2), layout=None, optional=True)
        )
        inputs.append(value("present", T.FLOAT, "N", 2))
        outputs.append(value("told", T.FLOAT, "N", 2))
        nodes.append(helper.make_node("Identity", ["present"], ["told"]))
    card = native_card(inputs=[spec.model_dump() for spec in specs])
    return Predictor.load(saved(tmp_path / "fused.onnx", nodes, inputs, outputs, card=card))


def test_absent_inputs_are_zeros_of_the_right_batch(tmp_path):
    predictor = fused(tmp_path, present=True)
    predictor.warm_up(4, 5, batch=2)
    batch = pictures(2, 4, 5)
    assert np.array_equal(predictor.run(batch), batch.argmax(3))
    out = predictor.infer({"image": batch})
    assert np.array_equal(out["heard"], np.zeros((2, 1, 4, 1)))
    assert np.array_equal(out["told"], np.zeros((2, 2)))
    depth = np.random.default_rng(1).normal(0, 200, batch.shape).astype(np.float32)
    out = predictor.infer({"image": batch, "depth": depth})
    assert np.array_equal(out["classmap"], (batch + depth).argmax(3))
    assert np.array_equal(out["told"], [[1, 0], [1, 0]])
    assert np.array_equal(
        predictor.infer({"image": batch, "present": np.ones((2, 2), np.float32)})["told"], np.ones((2, 2))
    )


@pytest.mark.parametrize(
    ("feeds", "told"),
    [
        ({"image": pictures(2, 4, 5), "dept": 0}, "Did you mean 'depth'"),
        ({"depth": np.zeros((2, 4, 5, 3), np.float32)}, "the input 'image'"),
        ({"image": pictures(2, 4, 5).astype(np.int64)}, "array of uint8, got int64"),
        ({"image": [1]}, "array of uint8, got list"),
        ({"image": pictures(2, 4, 5)[..., :1]}, r"shape \[N, H, W, 3\]"),
        ({"image": pictures(2, 4, 5)[0]}, r"shape \[N, H, W, 3\]"),
        (
            {"image": pictures(2, 4, 5), "depth": np.zeros((2, 4, 6, 3), np.float32)},
            "axis W, got 5 in 'image' and 6 in 'depth'",
        ),
    ],
)
def test_wrong_tensors_are_told_by_name(tmp_path, feeds, told):
    with pytest.raises(DataError, match=told):
        fused(tmp_path).infer(feeds)


def test_a_required_extra_input_is_asked_for(tmp_path):
    card = native_card(inputs=[InputSpec(name="image").model_dump(), InputSpec(name="image2", kind="map").model_dump()])
    nodes = [
        helper.make_node("Max", ["image", "image2"], ["sum"]),
        helper.make_node("ArgMax", ["sum"], ["best"], axis=3, keepdims=0),
        helper.make_node("Cast", ["best"], ["classmap"], to=T.UINT8),
    ]
    ports = [value(name, T.UINT8, "N", "H", "W", 3) for name in ("image", "image2")]
    predictor = Predictor.load(
        saved(tmp_path / "two.onnx", nodes, ports, [value("classmap", T.UINT8, "N", "H", "W")], card=card)
    )
    predictor.warm_up(3, 3)
    with pytest.raises(DataError, match="'image2'"):
        predictor.run(pictures(1, 3, 3))


# ---- wrong cards


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"inputs": [{"name": "imag"}]}, "input 'imag'.*Did you mean 'image'"),
        ({"outputs": [{"name": "map"}]}, "output 'map'.*without it"),
        ({"inputs": [{"name": "image", "dtype": "float32"}]}, "float32, as the card says.*uint8 in the graph"),
        (
            {"inputs": [{"name": "image", "shape": ["N", 3, "H", "W"], "layout": "NCHW"}]},
            r"\[N, H, W, 3\] in the graph, which is NHWC",
        ),
        ({"outputs": [{"name": "classmap", "dtype": "uint16"}]}, "uint16, as the card says.*uint8 in the graph"),
        ({"outputs": [{"name": "classmap", "kind": "logits", "dtype": "uint8"}]}, "4 axes, being logits"),
    ],
)
def test_a_card_that_contradicts_its_graph(tmp_path, changes, told):
    with pytest.raises(CardError, match=told):
        Predictor.load(native(tmp_path, native_card(**changes)))


def test_an_input_the_card_does_not_tell_of(tmp_path):
    path = tmp_path / "fused.onnx"
    fused(tmp_path)
    model = onnx.load(path)
    helper.set_model_props(model, {METADATA_KEY: card_io.to_json(native_card())})
    onnx.save(model, path)
    with pytest.raises(CardError, match="'depth' in the graph"):
        Predictor.load(path)


def test_the_wrong_number_of_classes(tmp_path):
    path = logits_model(tmp_path / "net.onnx", 4)
    card = yaml_card(tmp_path, 4)
    card.write_text(card.read_text().replace("[sky, road, car]", "[sky, road]"))
    with pytest.raises(CardError, match=r"2 classes, as the card says, on axis 1.*3 channels in the graph"):
        Predictor.load(path, card=card)


def test_the_wrong_number_of_classes_that_only_running_shows(tmp_path):
    path = saved(
        tmp_path / "free.onnx",
        [helper.make_node("Identity", ["input"], ["logits"])],
        [value("input", T.FLOAT, "N", "C", "H", "W")],
        [value("logits", T.FLOAT, "N", "C", "H", "W")],
    )
    card = yaml_card(tmp_path, 1)
    card.write_text(card.read_text().replace("[sky, road, car]", "[sky, road]"))
    with pytest.raises(CardError, match="3 channels"):
        Predictor.load(path, card=card).predict(smooth(4, 4))


def test_a_fixed_graph_needs_a_fixed_card_of_its_size(tmp_path):
    path = logits_model(tmp_path / "net.onnx", 4, height=16, width=24)
    with pytest.raises(CardError, match=r"takes 16x24 only.*size: \[16, 24\]"):
        Predictor.load(path, card=yaml_card(tmp_path, 4))
    with pytest.raises(CardError, match=r"\[N, 3, 24, 16\].*\[N, 3, 16, 24\] in the graph"):
        Predictor.load(path, card=yaml_card(tmp_path, 4, ", size: [24, 16]"))
    fixed = native_card(size=SizeRule(kind="fixed", height=4, width=6).model_dump())
    batch = pictures(1, 4, 6)
    assert np.array_equal(Predictor.load(native(tmp_path, fixed)).run(batch), batch.argmax(3))


def test_no_card_at_all_and_a_card_that_is_none(tmp_path):
    with pytest.raises(CardError, match="--card"):
        Predictor.load(native(tmp_path, None))
    with pytest.raises(CardError, match=r"native\.onnx"):
        Predictor.load(native(tmp_path, "just words"))
    (tmp_path / "notes.txt").write_text("just words")
    with pytest.raises(CardError, match=r"notes\.txt"):
        Predictor.load(native(tmp_path, None), card=tmp_path / "notes.txt")


def test_the_card_given_wins_over_the_one_inside(tmp_path):
    card_io.save(native_card(name="other"), tmp_path / "other.json")
    assert Predictor.load(native(tmp_path, native_card()), card=tmp_path / "other.json").card.name == "other"


# ---- broken files


def test_missing_folder_garbage_and_truncated_files_are_named(tmp_path):
    whole = native(tmp_path, native_card()).read_bytes()
    with pytest.raises(ModelError, match=r"none\.onnx"):
        Predictor.load(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="segx export RUN"):
        Predictor.load(tmp_path)
    path = tmp_path / "bad.onnx"
    for data in (b"", b"hello, world" * 50, b"\x89PNG\r\n\x1a\n" + bytes(100), whole[: len(whole) // 20], whole[:1]):
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            Predictor.load(path)


def test_any_cut_or_flipped_byte_raises_only_our_errors(tmp_path):
    whole = native(tmp_path, native_card()).read_bytes()
    path = tmp_path / "bad.onnx"
    random = np.random.default_rng(3)
    for _ in range(150):
        data = bytearray(whole[: random.integers(1, len(whole) + 1)])
        data[random.integers(len(data))] = random.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(ModelError, CardError):
            Predictor.load(path, provider="cpu", threads=1)


def test_a_failure_while_running_names_file_and_shapes(tmp_path):
    path = saved(
        tmp_path / "five.onnx",
        [helper.make_node("Add", ["input", "five"], ["logits"])],
        [value("input", T.FLOAT, "N", 3, "H", "W")],
        [value("logits", T.FLOAT, "N", 3, "H", "W")],
        [onnx.numpy_helper.from_array(np.zeros((1, 1, 5, 5), np.float32), "five")],
    )
    predictor = Predictor.load(path, card=yaml_card(tmp_path, 1))
    assert predictor.predict(smooth(5, 5)).shape == (5, 5)
    with pytest.raises(ModelError, match=r"five\.onnx.*\[1, 3, 4, 4\]"):
        predictor.predict(smooth(4, 4))


def test_an_output_without_pixels_is_told(tmp_path):
    path = saved(
        tmp_path / "crop.onnx",
        [helper.make_node("Slice", ["input", "start", "end", "axes"], ["logits"])],
        [value("input", T.FLOAT, "N", 3, "H", "W")],
        [value("logits", T.FLOAT, "N", 3, "h", "W")],
        [onnx.numpy_helper.from_array(np.array([n]), name) for name, n in (("start", 4), ("end", 999), ("axes", 2))],
    )
    with pytest.raises(ModelError, match="an output with pixels"):
        Predictor.load(path, card=yaml_card(tmp_path, 1)).predict(smooth(4, 4))
