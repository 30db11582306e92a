"""What is built holds everything that runs, and nothing else. `make package` installs it into an empty environment."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ("*.js", "*.css", "*.toml", "*.json", "*.safetensors", "*.md", "py.typed")


def build(target: str, folder: Path) -> Path:
    """The file that hatchling builds; no network is asked."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.iterdir())


def sources() -> set[str]:
    """Every file of medseg and its apps that is code or belongs to it."""
    found = [path for root in ("medseg", "apps") for kind in ("*.py", *ASSETS) for path in (ROOT / root).rglob(kind)]
    return {path.relative_to(ROOT).as_posix() for path in found}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as opened:
        return opened.namelist()


def test_the_wheel_holds_code_assets_tasks_and_models(wheel: list[str]) -> None:
    held = set(wheel)
    assert sources() <= held
    for one in ("apps/viewer/components/modules/main.js", "medseg/tasks/liver_lesions_ct.toml", "medseg/py.typed"):
        assert one in held
    assert "medseg/shipped_models/hippocampus_mr/weights.safetensors" in held


def test_the_wheel_holds_nothing_else(wheel: list[str]) -> None:
    inside = {name for name in wheel if ".dist-info/" not in name}
    assert inside == sources()


def test_the_wheel_has_its_licence_and_its_command(wheel: list[str]) -> None:
    names = {name.partition(".dist-info/")[2] for name in wheel if ".dist-info/" in name}
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= names


def test_the_source_archive_can_be_built_and_tested_from(tmp_path: Path) -> None:
    with tarfile.open(build("sdist", tmp_path)) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert sources() <= held
    assert {"pyproject.toml", "constraints.txt", "Makefile", "mkdocs.yml", "README.md", "tests/conftest.py"} <= held
    assert not [name for name in held if name.startswith((".venv", "out/", "demo/")) or "__pycache__" in name]
