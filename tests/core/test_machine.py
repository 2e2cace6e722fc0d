"""The machine in words."""

from __future__ import annotations

import os
import platform

from segx_core import machine


def test_every_fact_is_there_and_filled():
    facts = machine.describe()
    assert {"cpu", "cores", "os", "python", "onnxruntime", "segx"} <= set(facts)
    assert all(isinstance(fact, str) and fact for fact in facts.values())
    assert facts["python"] == platform.python_version()
    assert 1 <= int(facts["cores"]) <= (os.cpu_count() or 1)


def test_the_summary_is_one_line_with_processor_and_versions():
    line = machine.summary()
    facts = machine.describe()
    assert "\n" not in line
    assert facts["cpu"] in line
    assert facts["onnxruntime"] in line


def test_without_nvidia_smi_there_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "gpu" not in machine.describe()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Some GPU, 1.2'\n")
    tool.chmod(0o755)
    assert machine.describe()["gpu"] == "Some GPU, 1.2"
    tool.write_text("#!/bin/sh\necho 'has failed'; exit 9\n")
    assert "gpu" not in machine.describe()
