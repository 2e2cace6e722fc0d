"""Who takes part: command, environment and request of each. The peers run as their own documentation shows."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from bench.serve import places
from bench.serve.wire import Wire

PREDICT = Wire("/predict")
FORM = Wire("/predict", "multipart")
TENSOR = Wire("/v2/models/seg/infer", "oip_bytes")
SEGX = Wire("/segment", accept="application/octet-stream")
ML_JSON = Wire(
    "/v2/models/seg/infer",
    "json_base64",
    before='{"inputs":[{"name":"jpeg","shape":[1,1],"datatype":"BYTES","data":["',
    after='"]}]}',
)
BENTO_JSON = Wire("/predict", "json_base64", before='{"body":["', after='"]}')
NO_WAIT = {"ORT_THREADS": "2", "BATCH_WAIT_MS": "0"}
BATCHED = {"ORT_THREADS": "2"}
PEERS = ("fastapi", "lit", "lit_batch", "bento", "mlserver", "pytriton", "triton_py", "robyn")
"""The peers of the usual table; the others can be named."""


@dataclass(frozen=True)
class Contestant:
    """One server, ready to be started. `{port}` and `{model}` in the command are filled in."""

    command: tuple[str, ...]
    wire: Wire
    environment: dict[str, str] = field(default_factory=dict)
    ready: str = ""
    """A path that answers 200 once the server is ready; empty where there is none in common."""
    simulates: bool = True
    """Whether the workload `sim` can be served."""

    @property
    def is_segx(self) -> bool:
        """Ours, and so answers at the picture's own size."""
        return self.wire.path == SEGX.path


def contestants() -> dict[str, Contestant]:
    """All of them by name."""
    fastapi, lit, mlserver = (
        module("core", "s_fastapi"),
        module("litserve", "s_litserve"),
        module("mlserver", "s_mlserver"),
    )
    pytriton, triton = module("pytriton", "s_pytriton"), module("pytriton", "s_triton")
    ray = module("ray", "s_ray")
    command = str(places.venvs() / "bentoml" / "bin" / "bentoml")
    bento = (command, "serve", "bench.serve.servers.s_bento:Seg", "--host", "127.0.0.1", "-p", "{port}")
    return {
        "segx": segx(),
        "segx_w2": segx("--workers", "2"),
        "segx_inproc": Contestant(
            (places.segx_python(), "-m", "bench.serve.servers.s_segx"), SEGX, ready="/v2/health/ready"
        ),
        "fastapi": Contestant(fastapi, PREDICT),
        "fastapi_t2": Contestant(fastapi, PREDICT, {"ORT_THREADS": "2"}),
        "fastapi_w2": Contestant(fastapi, PREDICT, {"UV_WORKERS": "2"}),
        "lit": Contestant(lit, FORM),
        "lit_w2": Contestant(lit, FORM, {"LIT_WORKERS": "2"}),
        "lit_batch": Contestant(lit, FORM, {"LIT_BATCH": "1", **BATCHED}),
        "lit_batch_fastq": Contestant(lit, FORM, {"LIT_BATCH": "1", "LIT_FAST": "1", **BATCHED}),
        "bento": Contestant(bento, PREDICT),
        "bento_batch": Contestant(bento, BENTO_JSON, {"BENTO_BATCH": "1", **BATCHED}),
        "ray": Contestant(ray, Wire("/")),
        "ray_batch": Contestant(ray, Wire("/"), {"RAY_BATCH": "1", **BATCHED}),
        "pytriton": Contestant(pytriton, TENSOR, NO_WAIT),
        "pytriton_i2": Contestant(pytriton, TENSOR, {"PT_INST": "2", "BATCH_WAIT_MS": "0"}),
        "triton_py": Contestant(triton, TENSOR, NO_WAIT),
        "triton_py_i2": Contestant(triton, TENSOR, {"TR_INST": "2", "BATCH_WAIT_MS": "0"}),
        "mlserver": Contestant(mlserver, ML_JSON),
        "mlserver_batch": Contestant(mlserver, ML_JSON, {"ML_BATCH": "1", **BATCHED}),
        "kserve": Contestant(module("kserve", "s_kserve"), Wire("/v2/models/seg/infer", "oip_uint8")),
        "robyn": Contestant(module("robyn", "s_robyn"), PREDICT),
    }


def segx(*options: str) -> Contestant:
    """`segx serve MODEL` with options."""
    command = (places.segx_python(), "-m", "segx", "serve", "{model}", "--port", "{port}", *options)
    return Contestant(command, SEGX, ready="/v2/health/ready", simulates=False)


def module(venv: str, name: str) -> tuple[str, ...]:
    """The command of a peer's server script."""
    return (places.python_of(venv), "-m", f"bench.serve.servers.{name}")


def chosen(names: str) -> dict[str, Contestant]:
    """Those of a comma list.

    Raises:
        SystemExit: a name nobody has.
    """
    known = contestants()
    wanted = names.split(",")
    for name in wanted:
        if name not in known:
            sys.exit(f"No contestant '{name}'. Known: {', '.join(known)}.")
    return {name: known[name] for name in wanted}
