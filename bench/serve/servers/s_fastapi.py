"""FastAPI on uvicorn with uvloop and httptools: work in the thread pool, no batching. UV_WORKERS=n."""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from bench.serve.common import Work

work = Work.from_environment()
session = work.session()
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    body = await request.body()
    return Response(await run_in_threadpool(work.one, session, body), media_type="application/octet-stream")


if __name__ == "__main__":
    workers = int(os.environ.get("UV_WORKERS", "1"))
    target = app if workers == 1 else "bench.serve.servers.s_fastapi:app"
    uvicorn.run(target, workers=workers, host="127.0.0.1", port=work.port, log_level="warning", access_log=False)
