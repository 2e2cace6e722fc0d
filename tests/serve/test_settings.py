from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from segx_core.cores import cores
from segx_core.errors import ConfigError
from segx_serve.settings import Settings, build_settings, on_gpu, parse_shape, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096), ("32MiB", 32 * 1024**2), ("64M", 64_000_000), ("1.5 GB", 1_500_000_000), ("2k", 2000),
        (" 1 KiB ", 1024), ("1gib", 1024**3), ("7 b", 7),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1M", "1X", "1 M M", "0", "0.0001", "1e6", "0x10"])
def test_anything_else_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ConfigError, match=f"'{text}'"):
        parse_size(text)


@given(st.integers(1, 99_999), st.integers(1, 99_999))
@settings(deadline=None, derandomize=True)
def test_sizes_of_pictures_are_read(height: int, width: int) -> None:
    assert parse_shape(f"{height}x{width}") == (height, width)


@pytest.mark.parametrize("text", ["", "512", "512x", "x512", "0x512", "512x0", "512X512", "5x5x3", "-1x4", "100000x1"])
def test_no_size_of_pictures(text: str) -> None:
    with pytest.raises(ConfigError, match=f"HEIGHTxWIDTH.*'{text}'"):
        parse_shape(text)


def test_settings_survive_the_way_to_another_process() -> None:
    given_settings = Settings(cuda_graphs=((512, 768), (64, 64)), gpu_mem_limit=2**30)
    assert Settings(**given_settings.model_dump(mode="json")) == given_settings


@given(st.integers(1, 10**15))
@settings(deadline=None, derandomize=True)
def test_plain_numbers_mean_themselves(number: int) -> None:
    assert parse_size(str(number)) == number


def test_one_largest_picture_must_fit_into_the_queue() -> None:
    with pytest.raises(ValidationError, match="max_queue_bytes"):
        Settings(max_queue_bytes=10 * 2**20)
    assert Settings(max_queue_bytes=10 * 2**20, max_body=2**20, max_pixels=10**6).max_queue_bytes == 10 * 2**20


def test_engines_follow_cores_only_on_the_cpu() -> None:
    assert Settings().engine_threads("custom") == 1
    assert Settings().engine_threads("CPUExecutionProvider") == cores()
    assert Settings().engine_threads("CUDAExecutionProvider") == 2
    assert Settings().engine_threads("TensorrtExecutionProvider") == 2
    assert Settings(engines=3).engine_threads("custom") == 3
    assert on_gpu("CUDAExecutionProvider")
    assert not on_gpu("CPUExecutionProvider")


def test_settings_listen_on_loopback_unless_told() -> None:
    assert Settings().host == "127.0.0.1"


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_queue", 0), ("port", 70_000), ("read_timeout", 0.0), ("deadline_ms", -1.0), ("max_wait_ms", float("nan"))],
)
def test_an_option_out_of_range_is_named_as_users_know_it(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} to be"):
        build_settings(**{option: value})


def test_room_in_the_queue_grows_with_the_largest_picture() -> None:
    assert build_settings().max_queue_bytes == Settings().max_queue_bytes
    assert build_settings(max_pixels=10**9, max_body=5).max_queue_bytes == 3 * 10**9 + 5
