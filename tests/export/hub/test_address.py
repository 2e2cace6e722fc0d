"""What names a network of a hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from segx_core.errors import ConfigError
from segx_export.hub.address import is_address, parse


def test_addresses_are_told_from_paths():
    assert is_address("torchvision:lraspp_mobilenet_v3_large")
    assert is_address("hf:owner/name")
    assert not is_address("runs/first")
    assert not is_address("C:\\runs\\first")


def test_parts_of_an_address():
    address = parse("hf:nvidia/segformer-b0?size=512x1024&revision=main&weights=none")
    assert (address.name, address.stem, address.size) == ("nvidia/segformer-b0", "segformer-b0", (512, 1024))
    assert address.random
    assert address.folder is None
    assert str(address) == "hf:nvidia/segformer-b0"
    plain = parse("torchvision:fcn_resnet50")
    assert (plain.stem, plain.size, plain.random) == ("fcn_resnet50", None, False)


def test_a_folder_gives_its_own_name(monkeypatch, tmp_path):
    (tmp_path / "net").mkdir()
    monkeypatch.chdir(tmp_path / "net")
    assert parse("hf:.").stem == "net"
    assert parse("hf:./there/").stem == "there"
    assert parse("hf:./there").folder == Path("there")


@pytest.mark.parametrize(
    ("source", "match"),
    [("hf:", "a network after"), ("hf:a/b?wieghts=none", "weights"), ("torchvision:x?size=8x8", "weights")],
)
def test_what_means_nothing_is_refused(source, match):
    with pytest.raises(ConfigError, match=match):
        parse(source)


@pytest.mark.parametrize("size", ["512", "0x4", "ax4", "4x", ""])
def test_sizes_that_are_none(size):
    with pytest.raises(ConfigError, match="HEIGHTxWIDTH"):
        _ = parse(f"hf:a/b?size={size}").size
