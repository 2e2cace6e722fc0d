"""Makes what the bench serves: for each float network its segx twin, and the pictures that are sent.

    python -m bench.serve.make_models --from FOLDER

FOLDER holds `real.onnx` and `tiny.onnx` (float32 NCHW in, uint8 class map `mask` out) and, where they exist, the JPEGs
`img_*.jpg` (640x480) and `small_*.jpg` (64x64), in it or in `data/` beside it. Peers run those files as they are. The
twin holds the same network behind uint8 NHWC pixels, normalised in the graph, with a card inside, as `segx export`
writes. make_networks.py makes FOLDER's networks where nobody has them (needs torch; this file does not).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bench.serve import places
from segx_core.card import METADATA_KEY, Card, InputSpec, Normalisation, OutputSpec, SizeRule
from segx_core.card_io import to_json
from segx_core.palette import default_palette

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = {"real": 19, "tiny": 4}
COUNT = 4


def main() -> None:
    """Fill the assets folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = os.environ.get("BENCH_FLOAT_MODELS")
    parser.add_argument("--from", dest="source", type=Path, default=given and Path(given), help="BENCH_FLOAT_MODELS")
    source: Path | None = parser.parse_args().source
    if source is None:
        sys.exit("Say where the float networks are: --from FOLDER, or BENCH_FLOAT_MODELS.")
    folder = places.assets()
    for part in ("float", "segx", "pictures"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, classes in CLASSES.items():
        shutil.copyfile(source / f"{name}.onnx", places.float_model(name))
        onnx.save(twin(onnx.load(source / f"{name}.onnx"), name, classes), places.twin(name))
    onnx.save(brightness(), places.assets() / "segx" / "bright.onnx")
    make_pictures(folder / "pictures", [source, source.parent / "data"])
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:>9} {path}")


def twin(network: onnx.ModelProto, name: str, classes: int) -> onnx.ModelProto:
    """Float NCHW network -> deploy graph (N, side, side, 3) uint8 -> `classmap` (N, side, side) uint8."""
    graph = network.graph
    rows, columns = (axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim[2:])
    inner, mask = graph.input[0].name, graph.output[0].name
    for node in graph.node:  # the names of the outside are taken over by the new ends
        node.input[:] = ["normalised" if one == inner else one for one in node.input]
        node.output[:] = ["classmap" if one == mask else one for one in node.output]
    std = 255 * np.array(STD, np.float32)
    shift = -np.array(MEAN, np.float32) / np.array(STD, np.float32)
    before = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),  # as bytes: a quarter of the traffic
        helper.make_node("Cast", ["planes"], ["real_planes"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real_planes", "per_std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["normalised"]),
    ]
    constants = [
        numpy_helper.from_array((1 / std).reshape(1, 3, 1, 1), "per_std"),
        numpy_helper.from_array(shift.reshape(1, 3, 1, 1), "shift"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", rows, columns, 3])
    classmap = helper.make_tensor_value_info("classmap", TensorProto.UINT8, ["N", rows, columns])
    body = helper.make_graph([*before, *graph.node], name, [image], [classmap], [*graph.initializer, *constants])
    model = helper.make_model(body, opset_imports=network.opset_import, ir_version=network.ir_version)
    card = Card(
        name=name,
        classes=tuple(f"class{index}" for index in range(classes)),
        palette=default_palette(classes),
        inputs=(
            InputSpec(
                name="image", shape=("N", rows, columns, 3), normalisation=Normalisation(scale=255, mean=MEAN, std=STD)
            ),
        ),
        outputs=(OutputSpec(name="classmap", shape=("N", rows, columns)),),
        size=SizeRule(kind="fixed", height=rows, width=columns),
    )
    helper.set_model_props(model, {METADATA_KEY: to_json(card)})
    onnx.checker.check_model(model)
    return model


def brightness() -> onnx.ModelProto:
    """A model that takes any size and costs next to nothing: four classes by brightness. For the soak."""
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "step"], ["steps"]),
        helper.make_node("Floor", ["steps"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["classmap"], to=TensorProto.UINT8),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [3]),
        helper.make_tensor("step", TensorProto.FLOAT, [], [64.0]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])
    classmap = helper.make_tensor_value_info("classmap", TensorProto.UINT8, ["N", "H", "W"])
    graph = helper.make_graph(nodes, "bright", [image], [classmap], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    card = Card(
        name="bright",
        classes=("dark", "dim", "light", "bright"),
        palette=default_palette(4),
        inputs=(InputSpec(name="image"),),
        outputs=(OutputSpec(name="classmap"),),
    )
    helper.set_model_props(model, {METADATA_KEY: to_json(card)})
    onnx.checker.check_model(model)
    return model


def make_pictures(folder: Path, sources: list[Path]) -> None:
    """Copy the JPEGs that exist, draw the others; `mid` is `img` brought to 256x256 once and for all."""
    random = np.random.default_rng(0)
    for index in range(COUNT):
        for kind, height, width in (("img", 480, 640), ("small", 64, 64)):
            name = f"{kind}_{index}.jpg"
            drawn = scene(random, height, width)
            existing = next((place / name for place in sources if (place / name).is_file()), None)
            if existing is not None:
                shutil.copyfile(existing, folder / name)
            else:
                write_jpeg(folder / name, drawn)
        whole = cv2.imread(str(folder / f"img_{index}.jpg"), cv2.IMREAD_COLOR)
        assert whole is not None
        write_jpeg(folder / f"mid_{index}.jpg", np.asarray(cv2.resize(whole, (256, 256), interpolation=cv2.INTER_AREA)))


def scene(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 with a photograph's mix: smooth parts at every scale, edges, noise."""
    picture = np.full((height, width, 3), 128, np.float32)
    for octave in range(1, 8):
        side = 2**octave
        coarse = random.standard_normal((side, side, 3)).astype(np.float32)
        picture += 40 / octave**1.3 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        corner = random.integers(0, max(height, width), (1, 2))
        shape = (corner + random.random((4, 2)) * height / 6).astype(np.int32)
        cv2.fillPoly(picture, [shape], tuple(float(value) for value in random.integers(0, 255, 3)))
    noisy: NDArray[np.uint8] = (picture + 4 * random.standard_normal(picture.shape)).clip(0, 255).astype(np.uint8)
    return noisy


def write_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    """Quality 90."""
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main()
