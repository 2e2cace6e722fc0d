"""What docs/serving.md shows works: its key lines, forms of answer, options, units and files."""

from __future__ import annotations

import configparser
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from segx_serve.answers import choose, forms
from segx_serve.keys import Keys
from segx_serve.several import choose_several, forms_of_several

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
# Options of other programs that the page names.
FOREIGN = {
    "--data-binary", "--format", "--no-cache-dir", "--create-home", "--init", "--read-only", "--tmpfs", "--cap-drop",
    "--memory", "--shm-size", "--stop-timeout",
}  # fmt: skip


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_key_file_and_the_recipe_for_a_key_work(tmp_path: Path) -> None:
    (text,) = [block for block in blocks("") if "scope" in block]
    path = tmp_path / "keys"
    path.write_text(text)
    assert len(Keys.load(path)) == 2
    if shutil.which("openssl") is None:
        pytest.skip("the recipe uses openssl")
    (recipe,) = [block for block in blocks("") if block.startswith("KEY=")]
    done = subprocess.run(
        ["sh", "-ec", recipe + 'printf %s "$KEY"'], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    keys = Keys.load(path)
    identity = keys.check(done.stdout)
    assert identity is not None
    assert (identity.name, identity.scope) == ("camera-2", "use")
    assert keys.warnings() == []
    assert hashlib.sha256(done.stdout.encode()).hexdigest() in path.read_text()


def test_each_form_of_the_tables_is_there_and_each_form_is_in_the_tables() -> None:
    for text, choice, known in zip(
        PAGE.split("Several pictures", 1), (choose, choose_several), (forms(), forms_of_several()), strict=True
    ):
        rows = re.findall(r"^\| `([a-z]+/[^`]+)`", text, flags=re.MULTILINE)
        chosen = [choice(row) for row in rows]
        assert chosen[0] == known[0]
        assert len(set(chosen)) == len(rows)
        assert {form.media_type for form in chosen} == {form.media_type for form in known}
        told = text[: text.index("An error is")] if "An error is" in text else text
        assert all(f"{name}={value}" in told for form in known for name, value in form.parameters)


def test_the_unit_and_the_yaml_can_be_read() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    (text,) = blocks("ini")
    unit.read_string(text)
    assert unit["Service"]["Restart"] == "always"
    documents = [yaml.safe_load(block) for block in blocks("yaml")]
    deployment = next(document for document in documents if document.get("kind") == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "/v2/health/ready", "/v2/health/live",
    }  # fmt: skip


def test_every_option_is_one_of_the_command() -> None:
    known = set(
        re.findall(r"--[a-z-]+", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").partition("## segx serve")[2])
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - FOREIGN
    assert named - known == set()
