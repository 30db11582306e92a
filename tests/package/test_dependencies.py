"""What medseg is built on: licences that fit, and a list and a bill of materials that are those of today."""

import importlib.util
import json
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPYLEFT = re.compile(r"\bA?GPL|Affero|GNU General Public", re.IGNORECASE)


@cache
def dependencies() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "list_dependencies", ROOT / "docs" / "making" / "list_dependencies.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_required_is_under_the_gpl() -> None:
    asked = dependencies().project()
    wanted = [line for extra in ("", *dependencies().FOR_USERS) for line in asked.get(extra, ())]
    packages = dependencies().closure(wanted)
    assert len(packages) > 60
    assert not [package for package in packages if COPYLEFT.search(package.licence) or not package.licence]


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "GNU General Public License v3 (GPLv3)", "AGPL-3.0", "GPLv2+"])
def test_a_copyleft_licence_would_be_seen(licence: str) -> None:
    assert COPYLEFT.search(licence)
    assert not COPYLEFT.search("LGPL-2.1")


def test_the_lists_name_all_that_is_required() -> None:
    names = {package.name for package in dependencies().closure(dependencies().project()[""])}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert names <= set(re.findall(r"^\| ([\w.-]+) \|", page, re.MULTILINE)), "run: make audit"
    bill = json.loads((ROOT / "docs" / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {part["name"] for part in bill["components"]} == names, "run: make audit"
    assert all(part["licenses"] and part["purl"].startswith("pkg:pypi/") for part in bill["components"])


def test_each_pinned_package_is_pinned_once() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
