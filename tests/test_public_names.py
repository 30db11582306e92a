"""The public names: pinned, present, and free until used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import medseg


def test_every_public_name_is_there_and_lives_where_the_types_say() -> None:
    for name in medseg.__all__:
        value = getattr(medseg, name)
        assert value.__module__.startswith("medseg.")
        assert value.__name__ == name


def test_the_list_is_the_one_in_the_code_and_in_order() -> None:
    assert sorted(medseg.__all__) == medseg.__all__
    assert set(medseg._HOMES) == set(medseg.__all__)


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Volumes'"):
        _ = medseg.Volumes


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    """What `medseg --help` needs; torch, monai, itk, scipy and pydantic cost seconds and come when a command runs."""
    program = "import sys, medseg.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "monai", "itk", "scipy", "skimage", "pydantic", "nibabel", "pydicom", "numpy"} & set(loaded)


def test_what_the_benchmarks_import_is_there() -> None:
    """Without running them: each module of ours is a file, and the name is made in it or is a module itself."""
    root = Path(__file__).parents[1]
    lacking = [
        f"{file.relative_to(root)}:{node.lineno}: {node.module}.{name.name}"
        for file in sorted((root / "benchmarks").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("medseg", "apps")
        for name in node.names
        if not is_there(root, str(node.module), name.name)
    ]
    assert lacking == []


def is_there(root: Path, module: str, name: str) -> bool:
    """Whether a module of the repository has a name, or a module of that name in it."""
    place = root.joinpath(*module.split("."))
    if (place / name).is_dir() or (place / f"{name}.py").is_file():
        return True
    source = next((one for one in (place.with_suffix(".py"), place / "__init__.py") if one.is_file()), None)
    return source is not None and any(name in made_by(node) for node in ast.parse(source.read_text("utf-8")).body)


def made_by(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module makes."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {one.name for one in getattr(statement, "names", ())}
