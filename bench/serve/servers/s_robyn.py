"""Robyn: HTTP in Rust, handlers in Python."""

from __future__ import annotations

from robyn import Request, Response, Robyn

from bench.serve.common import Work

work = Work.from_environment()
session = work.session()
app = Robyn(__file__)


@app.post("/predict")
def predict(request: Request) -> Response:
    body = request.body.encode("latin-1") if isinstance(request.body, str) else bytes(request.body)
    kind = {"content-type": "application/octet-stream"}
    return Response(status_code=200, headers=kind, description=work.one(session, body))


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=work.port)
