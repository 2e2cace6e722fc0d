"""The supervisor's view of a host, with real processes: one group after another, as when a model is loaded anew."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from types import SimpleNamespace

from segx_serve import Settings
from segx_serve.hosts import Entry, HostGroup
from segx_serve.repository import Repository


def test_hosts_that_come_and_go_never_share_a_socket_and_leave_none(kit: SimpleNamespace, tmp_path: Path) -> None:
    file = kit.write_model(tmp_path / "tiny.onnx", kit.card())
    (tmp_path / "sockets").mkdir()
    (found,) = Repository([file]).scan().values()

    async def once(key: int) -> str:
        entry = Entry(found, key)
        group = HostGroup(Settings(port=0), [entry], tmp_path / "sockets", "cpu", False, lambda: None)
        await group.start()
        assert entry.host is not None
        used = Path(entry.host)
        assert used.is_socket()
        await group.stop()
        return used.name

    async def all_of_them() -> list[str]:
        names = []
        for key in range(4):
            names.append(await once(key))
            gc.collect()  # the next group may lie in memory where this one lay
        return names

    names = asyncio.run(all_of_them())
    assert len(set(names)) == len(names)
    assert list((tmp_path / "sockets").iterdir()) == []
