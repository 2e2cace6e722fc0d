"""Cards through JSON and YAML, and what a user is told about a bad one."""

from __future__ import annotations

import json

import pytest

from segx_core import card_io
from segx_core.card import SCHEMA, Card, InputSpec, OutputSpec, Session, Training
from segx_core.errors import CardError
from segx_core.palette import default_palette


def native() -> Card:
    return Card(
        name="roads",
        classes=("sky", "road"),
        palette=((1, 2, 3), (4, 5, 6)),
        inputs=(InputSpec(name="image"), InputSpec(name="depth", kind="map", dtype="float32", optional=True)),
        outputs=(OutputSpec(name="classmap"),),
        session=Session(config={"session.disable_quant_qdq": "1"}),
        training=Training(
            data="d", data_sha256="0", network="unet", encoder="e", encoder_weights="none",
            loss="ce", seed=1, epochs=0.5, steps=3,
        ),
    )  # fmt: skip


def changed(**changes: object) -> str:
    return json.dumps(json.loads(card_io.to_json(native())) | changes)


def test_json_comes_back_equal(tmp_path):
    card = native()
    assert card_io.from_json(card_io.to_json(card), "here") == card
    card_io.save(card, tmp_path / card_io.CARD_FILE)
    assert card_io.load(tmp_path / card_io.CARD_FILE) == card


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "model.onnx"),
        ("[1]", "list"),
        ("[" * 100_000, "JSON"),
        (changed(schema_version=SCHEMA + 1), "pip install --upgrade segx"),
        (changed(clases=["a"]), "Did you mean 'classes'"),
        (changed(ignore_index="x"), "'ignore_index' in model.onnx"),
        (changed(inputs=[{"name": "image", "dtype": "int3"}]), r"'inputs\[0\].dtype'.*'int3'"),
        (changed(inputs=[{"name": "image", "colour": "RGB"}]), r"'inputs\[0\].colour'.*Did you mean 'color'"),
        (changed(gate={"status": "passed", "reason": []}), "Did you mean 'reasons'"),
        (changed(palette=[[1, 2, 3]]), "1 colours for 2 classes"),
        (changed(ignore_index=1), "also the class 'road'"),
        (changed(outputs=[{"kind": "classmap"}]), r"'outputs\[0\].name'.*no such key"),
    ],
)
def test_a_bad_card_is_told_by_field(text, told):
    with pytest.raises(CardError, match=told):
        card_io.from_json(text, "model.onnx")


YAML = """
input: {name: input, layout: NCHW, dtype: float32, scale: 255, mean: [.485,.456,.406], std: [.229,.224,.225], \
color: RGB, size: [512, 256]}
output: {name: logits, kind: logits, layout: NCHW, stride: 8}
classes: [background, person]
palette: {person: [220,20,60]}
ignore: 255
"""


def written(tmp_path, text):
    path = tmp_path / "net.yaml"
    path.write_text(text)
    return path


def test_the_documented_yaml_becomes_a_full_card(tmp_path):
    card = card_io.load(written(tmp_path, YAML))
    assert card.name == "net"
    assert card.palette == (default_palette(2)[0], (220, 20, 60))
    assert card.image.shape == ("N", 3, 512, 256)
    assert card.image.normalisation.where == "runner"
    assert card.image.normalisation.std == (0.229, 0.224, 0.225)
    assert (card.size.kind, card.size.height, card.size.width) == ("fixed", 512, 256)
    assert card.prediction.stride == 8
    assert card.prediction.shape == ("N", 2, "h", "w")
    assert card_io.from_json(card_io.to_json(card), "") == card


def test_the_shortest_yaml(tmp_path):
    card = card_io.read_yaml(written(tmp_path, "input: {name: x}\noutput: {name: y}\nclasses: [a, b]\n"))
    assert card.image.normalisation.mean == (0.0, 0.0, 0.0)
    assert card.size.kind == "dynamic"
    assert card.palette == default_palette(2)
    assert card.ignore_index == 255


def test_yaml_of_a_multiple_and_of_uint8(tmp_path):
    text = "input: {name: x, multiple: 32, dtype: uint8, layout: NHWC}\noutput: {name: y, kind: classmap}\nclasses: [a]"
    card = card_io.read_yaml(written(tmp_path, text))
    assert (card.size.kind, card.size.multiple) == ("multiple", 32)
    assert card.image.normalisation is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("palette: {person: [220,20,60]}", "palette: {persn: [220,20,60]}", "Did you mean 'person'"),
        ("palette: {person: [220,20,60]}", "palette: {person: [220,20,660]}", "0-255"),
        ("layout: NCHW, dtype", "layuot: NCHW, dtype", r"'input.layuot'.*Did you mean 'layout'"),
        ("kind: logits", "kind: scores", r"'output.kind'.*'scores'"),
        ("ignore: 255", "ignor: 255", "Did you mean 'ignore'"),
        ("ignore: 255", "ignore: 1", "also the class 'person'"),
        ("size: [512, 256]", "size: [512]", "input.size"),
        ("size: [512, 256]", "size: [0, 2]", "above 0"),
        ("size: [512, 256]", "size: [512, 256], multiple: 2", "exclude"),
        ("std: [.229,.224,.225]", "std: [.229,.224]", "std has 2 values for 3 channels"),
        ("std: [.229,.224,.225]", "std: [.229,.224,0]", "above 0"),
        ("dtype: float32", "dtype: uint8", "no sense for a uint8"),
        ("classes: [background, person]", "", "'classes' in .*no such key"),
        ("classes: [background, person]", "classes: [a, b", "YAML"),
        ("output:", "- output:", "YAML"),
    ],
)
def test_a_bad_yaml_is_told_by_field(tmp_path, old, new, told):
    with pytest.raises(CardError, match=told):
        card_io.read_yaml(written(tmp_path, YAML.replace(old, new)))


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(CardError, match=r"no\.json"):
        card_io.load(tmp_path / "no.json")
    (tmp_path / "latin.yaml").write_bytes(b"classes: [caf\xe9]")
    with pytest.raises(CardError, match="UTF-8"):
        card_io.load(tmp_path / "latin.yaml")
    with pytest.raises(CardError, match="str"):
        card_io.load(written(tmp_path, "just words"))
