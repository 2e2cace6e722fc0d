"""The report's page: every figure on it is the JSON's, and nothing typed by a user is markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from segx_core.card import Gate
from segx_core.errors import SetupError
from segx_core.predictor import card_for_file
from segx_export.placement import Placement
from segx_export.report_html import pointer
from segx_export.report_page import page_path, render, shown, write_report
from segx_export.report_pictures import LOST, StripPicture

NASTY = "<img src=x onerror=alert(1)>\"'&amp;${style}$"


class Figures(HTMLParser):
    """Collects the attributes and the text of every `data` element."""

    def __init__(self, page):
        super().__init__()
        self.found, self.open = [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "data":
            self.open = (dict(attrs), [])

    def handle_data(self, data):
        if self.open:
            self.open[1].append(data)

    def handle_endtag(self, tag):
        if tag == "data":
            self.found.append((self.open[0], "".join(self.open[1])))
            self.open = None


def value_at(document, place):
    """What an RFC 6901 pointer names."""
    for part in place.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def number_in(shown_text):
    return float(re.search(r"-?[\d.]+", shown_text.replace("\u2212", "-")).group())


@pytest.fixture(scope="module")
def inside(exported):
    """The card in the file that was kept."""
    return card_for_file(exported[0].path, None)


@pytest.fixture(scope="module")
def full(exported):
    """The report of a real export with a refused third file and everything that may be there."""
    report = exported[0]
    first, second = report.files
    second = replace(second, drop_interval=(-0.21, 0.4), recipe={"Calibration": "minmax, 24 pictures"})
    refused = Gate(status="rejected", max_drop=0.5, reasons=("mean IoU fell by 3.20 points",))
    third = replace(second, precision="w8", path=None, gate=refused, drop=3.2, recipe={}, drop_interval=(2.0, 4.5))
    return replace(report, files=(first, second, third), notes=("fp16: not tried",))


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    photo = random.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    maps = [random.integers(0, 4, (48, 64)).astype(np.uint8) for _ in range(3)]
    maps[0][:4] = 255
    kind = np.where(maps[1] != maps[2], LOST, 0).astype(np.uint8)
    return [StripPicture(f"picture {index}", 0.25, photo, *maps, kind, (1, 2)) for index in range(3)]


def test_every_figure_on_the_page_is_the_reports(full, pictures, inside):
    document = json.loads(json.dumps(full.to_json()))
    figures = Figures(render(full, pictures, inside)).found
    assert len(figures) > 50
    for attributes, text in figures:
        value = value_at(document, attributes["data-of"])
        if "data-over" in attributes:
            value = value / value_at(document, attributes["data-over"])
        if "data-minus" in attributes:
            value = value - value_at(document, attributes["data-minus"])
        assert float(attributes["value"]) == value
        if attributes["data-of"] == "/parity/logits_difference":  # one digit that counts, however small
            assert float(text) == float(f"{value:.1g}")
            continue
        scale = (
            100 if "%" in text or "data-minus" in attributes else 1e-6 if "size_bytes" in attributes["data-of"] else 1
        )
        if "data-over" in attributes:
            scale = 1
        digits = len(re.search(r"\d+\.?(\d*)", text).group(1))
        assert abs(abs(number_in(text)) - abs(value * scale)) <= 0.5 * 10**-digits + 1e-9, (attributes, text)


def test_every_measured_figure_is_on_the_page(full, pictures, inside):
    places = {attributes["data-of"] for attributes, _ in Figures(render(full, pictures, inside)).found}
    for index, file in enumerate(full.files):
        wanted = [("size_bytes",), ("measurement", "miou"), ("measurement", "latency_ms")]
        if index:
            wanted += [("miou_drop_points",), ("worst_class_drop_points",), ("pixel_agreement",)]
            wanted += [("miou_drop_interval_points", side) for side in (0, 1)]
        if index < 2:
            wanted += [("measurement", "per_class_iou", name) for name in file.measurement.per_class_iou]
        assert {pointer(("files", index, *place)) for place in wanted} <= places
    assert {pointer(("files", 1, "kernels", "nodes", name)) for name in full.files[1].placement.nodes} <= places


def test_what_people_typed_is_never_markup(full, pictures, inside):
    names = (NASTY, *inside.classes[1:])

    def renamed(file):
        scores = {names[inside.classes.index(name)]: value for name, value in file.measurement.per_class_iou.items()}
        return replace(
            file,
            measurement=file.measurement.model_copy(update={"per_class_iou": scores, "split": NASTY}),
            worst_class=NASTY,
            recipe={NASTY: NASTY},
            placement=file.placement and Placement(1, 0, {NASTY: 1}),
        )

    files = tuple(renamed(file) for file in full.files)
    report = replace(full, files=files, notes=(NASTY,), path=full.path.with_name("<b>.onnx"), machine={NASTY: NASTY})
    typed = inside.model_copy(
        update={"name": NASTY, "classes": names, "training": inside.training.model_copy(update={"data": NASTY})}
    )
    page = render(report, [replace(one, name=NASTY, moved=(0, 255)) for one in pictures], typed)
    assert "<b>.onnx" not in page
    seen = Seen(page)
    assert "onerror" not in seen.attributes
    assert all(address.startswith("data:image/") for address in seen.sources)
    assert len(seen.sources) == 15
    assert any(NASTY in text for text in seen.texts)
    assert "${style}" in page  # not taken for a place of the template


class Seen(HTMLParser):
    """Attribute names, addresses of pictures and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.attributes, self.sources, self.texts = set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.attributes.update(name for name, _ in attrs)
        self.sources += [value for name, value in attrs if name in ("src", "srcset")]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_verdict_comes_first_and_says_why(full, pictures, inside):
    passed = render(full, pictures, inside)
    assert "int8 passed the gate" in passed
    assert passed.index("int8 passed") < passed.index("All files measured")
    reasons = Gate(status="rejected", max_drop=0.5, reasons=("mean IoU fell by 9 points",))
    worse = replace(full.files[1], gate=reasons)
    refused = render(replace(full, files=(full.files[0], worse)), pictures, inside)
    assert "int8 was rejected by the gate" in refused
    assert "mean IoU fell by 9 points" in refused
    kept_float = render(replace(full, kept="fp32"), pictures, inside)
    assert "fp32 was kept" in kept_float
    assert shown(replace(full, kept="fp32")) == 1


def test_a_float_file_alone_is_held_against_the_truth(full, pictures, inside):
    report = replace(full, kept="fp32", files=full.files[:1])
    page = render(report, [replace(one, candidate=None) for one in pictures], inside)
    assert "fp32, measured" in page
    assert "Where fp32 errs most" in page
    assert page.count("<img") == 12


def test_many_classes_fold_away_below_the_worst(full, inside):
    names = tuple(f"class {index}" for index in range(150))
    scores = [dict.fromkeys(names, 0.5), {name: 0.5 - index / 1000 for index, name in enumerate(names)}]
    files = tuple(
        replace(file, measurement=file.measurement.model_copy(update={"per_class_iou": score}))
        for file, score in zip(full.files, scores, strict=False)
    )
    many = inside.model_copy(update={"classes": names, "palette": ((1, 2, 3),) * 150})
    page = render(replace(full, files=files), [], many)
    assert page.index(">class 149<") < page.index("126 more classes") < page.index(">class 100<")
    assert "every pixel has the same class" in page


def test_an_export_leaves_its_page_beside_the_file(exported):
    report, run = exported
    assert report.page == run / "model.int8.html"
    page = report.page.read_text()
    assert "int8 passed the gate" in page
    assert str(run) not in page  # where it was made is nobody's business


def test_the_page_never_takes_the_models_place(tmp_path):
    assert page_path(tmp_path / "model.int8.onnx") == tmp_path / "model.int8.html"
    assert page_path(tmp_path / "model.html") == tmp_path / "model.html.html"


def test_a_page_that_cannot_be_written_says_so(full, inside, tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(SetupError, match=r"page\.html"):
        write_report(tmp_path / "page.html", full, [], inside)
