from __future__ import annotations

from types import SimpleNamespace

import pytest

from segx_core.errors import ConfigError
from segx_serve.catalog import Catalog
from segx_serve.http import RefusalError
from segx_serve.models import Model, describe
from segx_serve.remote import RemoteLane


def model(name: str, version: str = "1") -> Model:
    return describe(name, version, None, "custom", None, RemoteLane(None, 0))


def code(error: pytest.ExceptionInfo[RefusalError]) -> tuple[int, str]:
    return error.value.status, error.value.code


def test_models_stand_by_name_and_the_newest_version_first() -> None:
    catalog = Catalog([model("b", "9"), model("a"), model("b", "10"), model("b", "beta"), model("b", "alpha")])
    assert [(one.name, one.version) for one in catalog] == [
        ("a", "1"), ("b", "10"), ("b", "9"), ("b", "alpha"), ("b", "beta"),
    ]  # fmt: skip
    assert catalog.names == ["a", "b"]
    assert catalog.versions("b") == ["10", "9", "alpha", "beta"]
    assert catalog.versions("c") == []
    assert [one.version for one in catalog.newest] == ["1", "10"]


def test_one_is_found_by_name_and_by_version() -> None:
    catalog = Catalog([model("b", "9"), model("b", "10")])
    assert catalog.find("b").version == "10"
    assert catalog.find("b", "9").version == "9"
    with pytest.raises(RefusalError, match=r"no version '8'\. It has: 10, 9") as error:
        catalog.find("b", "8")
    assert code(error) == (404, "unknown_version")


def test_an_unknown_name_is_told_with_a_near_one() -> None:
    with pytest.raises(RefusalError, match="'street'") as error:
        Catalog([model("street"), model("cells")]).find("stret")
    assert code(error) == (404, "unknown_model")


def test_the_only_model_needs_no_name_however_many_versions_it_has() -> None:
    assert Catalog([model("a", "1"), model("a", "2")]).only().version == "2"
    with pytest.raises(RefusalError, match="Known: a, b") as error:
        Catalog([model("a"), model("b")]).only()
    assert code(error) == (400, "model_required")
    with pytest.raises(RefusalError) as error:
        Catalog().only()
    assert code(error) == (404, "no_model")


def test_replacing_leaves_nothing_behind() -> None:
    catalog = Catalog([model("a"), model("b")])
    kept = catalog.find("a")
    catalog.replace([model("c")])
    assert catalog.names == ["c"]
    assert kept.name == "a"  # whoever found it keeps it
    catalog.replace([])
    assert list(catalog) == []


def test_hostile_names_are_cut_in_answers() -> None:
    with pytest.raises(RefusalError) as error:
        Catalog([model("a")]).find("x" * 10_000)
    assert len(error.value.message) < 300
    with pytest.raises(RefusalError) as error:
        Catalog([model("a")]).find("a", "9" * 10_000)
    assert len(error.value.message) < 300


@pytest.mark.parametrize("name", ["", "a/b", "a?b", "a#b", "a%b", " a", "x" * 201])
def test_names_that_cannot_stand_in_an_address_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        model(name)


def test_labels_and_class_names_come_from_the_card(kit: SimpleNamespace) -> None:
    made = describe("m", "3", kit.card(), "CPUExecutionProvider", 5, RemoteLane(None, 0))
    assert made.labels == {"model": "m", "version": "3", "provider": "CPUExecutionProvider", "precision": "fp32"}
    assert [made.class_name(index) for index in (0, 3, 4)] == ["dark", "bright", "no class"]
    assert model("m").class_name(7) == "class_7"
    assert model("m").labels["precision"] == "unknown"
