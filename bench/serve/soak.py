"""Hours in minutes: mixed load, reloads and rude clients; every mask is compared with what `segx predict` gives.

    python -m bench.serve.soak [--minutes 10] [--clients 6] [--option=--workers --option=2]

Three models, pictures of several sizes and formats, all four forms of answer; some bodies are garbage, some clients
hang up half way. Every 20 seconds a model's file is replaced on disk and reloaded. Expected answers come from
Predictor and the encoders that `segx predict` uses, made before; a mask that is not equal byte for byte is wrong.
Prints one JSON object; exit 1 for a wrong mask, a 5xx other than 503, a broken connection, or a failed reload.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.serve import client, places, processes, trend
from bench.serve.contestants import Contestant
from bench.serve.running import offers, quit_on_sigterm, request, start, stop
from bench.serve.soak_cases import Case, make_cases
from bench.serve.wire import Wire

MODELS = ("tiny", "bright", "real")
RELOAD_EVERY, SAMPLE_EVERY, WARM_UP = 20.0, 5.0, 60.0
GARBAGE_SHARE, RUDE_SHARE = 0.05, 0.03
TIMEOUT = 30.0


@dataclass
class Tally:
    """What happened; shared by all threads."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    reload_seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, PSS in MiB)."""

    def add(self, kind: str, problem: str = "") -> None:
        """Count one event; keep the first problems' words."""
        with self.lock:
            self.counts[kind] += 1
            if problem and len(self.problems) < 20:
                self.problems.append(f"{kind}: {problem}")


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--option", action="append", default=[], help="an option for `segx serve`, repeatable")
    parser.add_argument("--port", type=int, default=9360)
    given = parser.parse_args()
    quit_on_sigterm()
    result = soak(given.minutes, given.clients, tuple(given.option), given.port)
    print(json.dumps(result, indent=2))
    return 0 if result["passed"] else 1


def soak(minutes: float, clients: int = 6, options: tuple[str, ...] = (), port: int = 9360) -> dict[str, Any]:
    """The whole run. Reloading needs an open management where there is one to open."""
    admin = ("--admin",) if offers("--admin") else ()
    with tempfile.TemporaryDirectory(prefix="segx-soak-") as name:
        folder = Path(name)
        files = [folder / f"{model}.onnx" for model in MODELS]
        for file in files:
            shutil.copyfile(places.assets() / "segx" / file.name, file)
        cases = make_cases(files)
        command = (places.segx_python(), "-m", "segx", "serve", *map(str, files), "--port", str(port), *admin, *options)
        wire = Wire("/segment?model=tiny", accept="application/octet-stream")
        server = start("soak", Contestant(command, wire, ready="/v2/health/ready"), "tiny", port)
        if server is None:
            return {"options": list(options), "passed": False, "error": f"did not start; see {places.logs()}"}
        try:
            tally, ended = Tally(), threading.Event()
            threads = [
                threading.Thread(target=visitor, args=(port, cases, seed, tally, ended)) for seed in range(clients)
            ]
            threads.append(threading.Thread(target=reloader, args=(port, files, tally, ended)))
            threads.append(threading.Thread(target=sampler, args=(server.pid, tally, ended)))
            for thread in threads:
                thread.start()
            ended.wait(minutes * 60)
            ended.set()
            for thread in threads:
                thread.join()
            alive = server.process.poll() is None
        finally:
            stop(server)
    return summary(tally, minutes, clients, options, alive)


def summary(tally: Tally, minutes: float, clients: int, options: tuple[str, ...], alive: bool) -> dict[str, Any]:
    """The result as written down."""
    counts = tally.counts
    warm_up = min(WARM_UP, minutes * 60 / 3)
    late = [point for point in tally.memory if point[0] >= warm_up]
    failures = ("wrong", "5xx", "transport", "unexpected", "hung", "reload_failed")
    return {
        "minutes": minutes,
        "clients": clients,
        "options": list(options),
        "passed": alive and not any(counts[kind] for kind in failures) and counts["good"] > 0,
        "alive": alive,
        "good_masks": counts["good"],
        "wrong_masks": counts["wrong"],
        "errors_5xx": counts["5xx"],
        "shed_503": counts["503"],
        "transport_errors": counts["transport"],
        "hung": counts["hung"],
        "unexpected_answers": counts["unexpected"],
        "garbage_refused": counts["garbage"],
        "clients_that_hung_up": counts["rude"],
        "reloads": counts["reload"],
        "reloads_failed": counts["reload_failed"],
        "reload_seconds_max": round(max(tally.reload_seconds, default=0.0), 2),
        "pss_mib_first": round(tally.memory[0][1], 1) if tally.memory else None,
        "pss_mib_after_warm_up": round(late[0][1], 1) if late else None,
        "pss_mib_last": round(late[-1][1], 1) if late else None,
        "growth_mib_after_warm_up": round(trend.growth(late), 2),
        "problems": tally.problems,
    }


def visitor(port: int, cases: list[Case], seed: int, tally: Tally, ended: threading.Event) -> None:
    """One client: asks, compares, now and then misbehaves."""
    dice = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    while not ended.is_set():
        case, lot = dice.choice(cases), dice.random()
        if lot < RUDE_SHARE:
            hang_up(port, case, dice)
            tally.add("rude")
            continue
        garbage = lot < RUDE_SHARE + GARBAGE_SHARE
        body = case.body[: dice.randrange(1, 40)] if garbage else case.body
        try:
            connection.request("POST", case.path, body, {"Content-Type": case.media_type, "Accept": case.accept})
            reply = connection.getresponse()
            status, data = reply.status, reply.read()
        except TimeoutError:
            tally.add("hung", case.name)
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            tally.add("transport", f"{case.name}: {type(error).__name__} {error}")
            connection.close()
        else:
            tally.add(*verdict(case, garbage, status, data))
            if status == 503:
                time.sleep(0.1)
    connection.close()


def verdict(case: Case, garbage: bool, status: int, data: bytes) -> tuple[str, str]:
    """(kind of event, what was wrong)."""
    if status == 503:
        return "503", ""
    if status >= 500:
        return "5xx", f"{case.name}: {status} {data[:200]!r}"
    if garbage:
        return ("garbage", "") if status in (400, 415) else ("unexpected", f"{status} for garbage")
    if status != 200:
        return "unexpected", f"{case.name}: {status} {data[:200]!r}"
    return ("good", "") if case.is_right(data) else ("wrong", case.name)


def hang_up(port: int, case: Case, dice: random.Random) -> None:
    """Send a part of a request, or all of it, and leave without reading."""
    headers = {"Content-Type": case.media_type, "Accept": case.accept}
    whole = client.wire_format(case.path, case.body, headers)
    cut = len(whole) if dice.random() < 0.5 else dice.randrange(1, len(whole))
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as rude:
        rude.sendall(whole[:cut])
        time.sleep(dice.random() * 0.02)


def reloader(port: int, files: list[Path], tally: Tally, ended: threading.Event) -> None:
    """Replace one model's file by the same bytes, in one step, and have it loaded anew; the models in turn."""
    turn = 0
    while not ended.wait(RELOAD_EVERY):
        file = files[turn % len(files)]
        turn += 1
        fresh = file.with_suffix(".new")
        shutil.copyfile(file, fresh)
        fresh.replace(file)
        answer = request(port, "POST", f"/v2/repository/models/{file.stem}/load", timeout=60)
        tally.reload_seconds.append(answer.seconds)
        if answer.status == 200:
            tally.add("reload")
        else:
            tally.add("reload_failed", f"{file.stem}: {answer.status} {answer.error} {answer.body[:200]!r}")


def sampler(pid: int, tally: Tally, ended: threading.Event) -> None:
    """PSS of the tree every few seconds."""
    began = time.monotonic()
    while not ended.wait(SAMPLE_EVERY):
        tally.memory.append((time.monotonic() - began, processes.pss(pid) / 2**20))


if __name__ == "__main__":
    sys.exit(main())
