"""`medseg --version` names code and models by hash; completion is printed for every shell."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medseg.cli import version
from medseg.cli.version import code_hash, model_hash, version_lines
from medseg.models.store import find_model, load_model, shipped_models

MEDSEG = Path(sys.executable).with_name("medseg")


def test_it_names_the_code_and_each_shipped_model() -> None:
    lines = version_lines()
    assert re.fullmatch(r"medseg \d+\.\d+\.\d+", lines[0])
    assert lines[1] == f"code {code_hash()[:12]}"
    assert [line.split()[1] for line in lines[2:]] == list(shipped_models())


def test_a_models_hash_is_the_one_it_has_everywhere() -> None:
    for name in shipped_models():
        assert model_hash(find_model(name)) == load_model(name).sha256


def test_a_changed_source_is_another_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "made_package"
    source.mkdir()
    (source / "__init__.py").write_text("ONE = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(version, "PACKAGES", ("made_package", "no_such_package"))
    before = code_hash()
    (source / "__init__.py").write_text("ONE = 2\n", encoding="utf-8")
    changed = code_hash()
    (source / "__init__.py").rename(source / "one.py")
    (source / "__init__.py").touch()
    assert len({before, changed, code_hash()}) == 3


def test_the_doctor_answers_a_program_too() -> None:
    said = subprocess.run([MEDSEG, "doctor", "--format", "json"], capture_output=True, text=True, check=True).stdout
    told = json.loads(said)
    assert told["version"] == version_lines()
    assert {"group", "name", "state", "found", "mend"} == set(told["checks"][0])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for(shell: str, tmp_path: Path) -> None:
    environment = {
        "PATH": f"{MEDSEG.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "_MEDSEG_COMPLETE": f"source_{shell}",
    }
    script = subprocess.run([MEDSEG], capture_output=True, text=True, check=True, env=environment).stdout
    assert f"complete_{shell}" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_a_command_is_completed_in_bash(tmp_path: Path) -> None:
    asked = {"_MEDSEG_COMPLETE": "complete_bash", "COMP_WORDS": "medseg seg", "COMP_CWORD": "1"}
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **asked}
    said = subprocess.run([MEDSEG], capture_output=True, text=True, check=True, env=environment).stdout
    assert said.split() == ["segment"]
