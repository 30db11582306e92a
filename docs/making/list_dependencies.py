"""Write docs/dependencies.md and docs/sbom.cdx.json: all that the wheel requires, with versions and licences.

python docs/making/list_dependencies.py        as `make audit` calls it, in an environment made with constraints.txt
"""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "dependencies.md"
SBOM = ROOT / "docs" / "sbom.cdx.json"
FOR_USERS = ("viewer", "login", "network", "ray", "mlflow", "onnx", "openvino", "radiomics")
"""Extras that users install; the others are for who works on medseg."""

LONGEST_EXPRESSION = 60


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package: its name, version, licence as its metadata say it, and where it comes from."""

    name: str
    version: str
    licence: str


def project() -> dict[str, list[str]]:
    """What pyproject.toml asks for: under "" the requirements, and those of each extra."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": table["dependencies"], **table["optional-dependencies"]}


def closure(lines: Iterable[str]) -> tuple[Package, ...]:
    """Every installed package that the requirements bring, by name; those not installed here are left out."""
    found: dict[str, Package] = {}
    waiting = [one for one in map(Requirement, lines) if _is_for_here(one, {""})]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name == "medseg":
            waiting += [Requirement(line) for extra in requirement.extras for line in project()[extra]]
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        if name not in found:
            found[name] = Package(name, installed.version, licence_of(installed))
            inner = map(Requirement, installed.requires or [])
            waiting += [one for one in inner if _is_for_here(one, {"", *requirement.extras})]
    return tuple(found[name] for name in sorted(found))


def _is_for_here(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras)


def licence_of(installed: Distribution) -> str:
    """The licence a package states: its expression, else its classifiers, else the first line of its text."""
    told = installed.metadata
    if told.get("License-Expression"):
        return str(told["License-Expression"])
    classifiers = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License ::")
    ]
    named = [line for line in classifiers if line != "OSI Approved"]
    text = (told.get("License") or "").strip()
    if text and len(text) <= LONGEST_EXPRESSION and "\n" not in text:
        return text
    return " / ".join(named) or (text.splitlines()[0] if text else "")


def rows(packages: Iterable[Package]) -> Iterator[str]:
    """A table of packages."""
    yield "| package | version | licence |\n|---|---|---|"
    for package in packages:
        yield f"| {package.name} | {package.version} | {package.licence.replace('|', '/')} |"


def page() -> str:
    """docs/dependencies.md."""
    asked = project()
    required = closure(asked[""])
    known = {package.name for package in required}
    extras = []
    for extra in FOR_USERS:
        if extra in asked:
            more = [package for package in closure(asked[extra]) if package.name not in known]
            extras += [f"\n## The extra `{extra}`\n", *rows(more)]
    audit = (
        re.search(r"<!-- audit -->.*<!-- end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if PAGE.exists()
        else None
    )
    return "\n".join(
        [
            "# What medseg is built on\n",
            "Written by `make audit` from the metadata of the packages that constraints.txt pins, on Linux with Python",
            "3.11; the same for machines is [sbom.cdx.json](sbom.cdx.json), a CycloneDX 1.6 bill of materials. A test",
            "checks that nothing that users install is under the GPL or AGPL.\n",
            audit[0] if audit else "<!-- audit -->\n<!-- end -->",
            f"\n## Required: {len(required)} packages\n",
            *rows(required),
            *extras,
            "",
        ]
    )


def sbom() -> str:
    """A CycloneDX bill of all that the wheel requires; the same packages give the same bytes."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    medseg = Component(name="medseg", type=ComponentType.APPLICATION, bom_ref="medseg")
    packages = closure(project()[""])
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, " ".join(f"{one.name}=={one.version}" for one in packages)))
    bom.metadata.component = medseg
    parts = [
        Component(
            name=one.name,
            version=one.version,
            purl=PackageURL("pypi", None, one.name, one.version),
            bom_ref=one.name,
            licenses=[DisjunctiveLicense(name=one.licence)],
        )
        for one in packages
    ]
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(medseg, parts)
    told = json.loads(JsonV1Dot6(bom).output_as_string())
    del told["metadata"]["timestamp"]
    return json.dumps(told, indent=1) + "\n"


def main() -> None:
    """Write both files."""
    SBOM.write_text(sbom(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
