"""Every address of the protocol, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segx_serve.oip.paths import Match, match


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v2", Match("server", "GET")),
        ("/v2/", Match("server", "GET")),
        ("/v2/health/live", Match("live", "GET")),
        ("/v2/health/ready", Match("ready", "GET")),
        ("/v2/models/m", Match("metadata", "GET", "m")),
        ("/v2/models/m/ready", Match("model_ready", "GET", "m")),
        ("/v2/models/m/infer", Match("infer", "POST", "m")),
        ("/v2/models/m/config", Match("config", "GET", "m")),
        ("/v2/models/m/stats", Match("stats", "GET", "m")),
        ("/v2/models/stats", Match("stats", "GET")),
        ("/v2/models/stats/stats", Match("stats", "GET", "stats")),
        ("/v2/models/m/versions/3", Match("metadata", "GET", "m", "3")),
        ("/v2/models/m/versions/3/infer", Match("infer", "POST", "m", "3")),
        ("/v2/models/m/versions/3/ready", Match("model_ready", "GET", "m", "3")),
        ("/v2/repository/index", Match("index", "POST")),
        ("/v2/repository/models/m/load", Match("load", "POST", "m")),
        ("/v2/repository/models/m/unload", Match("unload", "POST", "m")),
        ("/v2/systemsharedmemory/status", Match("shm_status", "GET")),
        ("/v2/systemsharedmemory/unregister", Match("shm_unregister", "POST")),
        ("/v2/systemsharedmemory/region/r/status", Match("shm_status", "GET", region="r")),
        ("/v2/systemsharedmemory/region/r/register", Match("shm_register", "POST", region="r")),
        ("/v2/systemsharedmemory/region/r/unregister", Match("shm_unregister", "POST", region="r")),
    ],
)
def test_addresses(path: str, found: Match) -> None:
    assert match(path) == found


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v2x",
        "/v2/models",
        "/v2/models//infer",
        "/v2/models/m/versions",
        "/v2/models/m/versions//infer",
        "/v2/models/m/infer/x",
        "/v2/health",
        "/v2/repository/models//load",
        "/v2/systemsharedmemory/register",
        "/v2/systemsharedmemory/region//register",
        "/v2/cudasharedmemory/status",
    ],
)
def test_what_is_no_address(path: str) -> None:
    assert match(path) is None


@given(model=st.text(st.characters(exclude_characters="/"), min_size=1).filter(lambda name: name != "stats"))
def test_any_name_without_a_slash_is_a_model(model: str) -> None:
    assert match(f"/v2/models/{model}/infer") == Match("infer", "POST", model)
