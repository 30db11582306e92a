"""Writes docs/dicom_reader_cases.md: every made case and what became of it. Run it after changing a case."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from dicom_cases import REFUSED, RIGHT, Case
from dicom_oracle import error_of

from medseg.core.errors import InputError
from medseg.exchange.read import read_scan

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "dicom_reader_cases.md"

_HEAD = """# What the DICOM reader does with {total} made series

Every voxel of a made series holds HU(x, y, z) = round(2x + 3y + 5z) of its true place in the patient, so one flip, one
wrong slice, one wrong spacing or one inverted value would be seen.

Read right: {right}. Refused with a reason: {refused}. Silently wrong: {wrong}.

This table is written by `python tests/exchange/dicom_case_table.py`, and the test run checks it.

| case | result | what the reader says |
| --- | --- | --- |
"""


def outcome(case: Case, folder: Path) -> tuple[str, str]:
    """ "read right", "refused" or "WRONG", and what the reader said."""
    path = case.make(folder)
    try:
        scan = read_scan(path, **case.mends)
    except InputError as error:
        return "refused", _spoken(str(error), folder)
    is_right = error_of(scan.volume, case.offset) <= case.error and scan.volume.array.shape[2] == case.slices
    return "read right" if is_right else "WRONG", _spoken("; ".join(scan.warnings), folder)


def rows() -> list[tuple[Case, str, str]]:
    """Every case with its outcome."""
    found = []
    for case in (*RIGHT, *REFUSED):
        with tempfile.TemporaryDirectory() as name:
            result, said = outcome(case, Path(name) / "scan")
        found.append((case, result, said))
    return found


def main() -> None:
    """Write the document."""
    table = rows()
    counts = {result: sum(1 for row in table if row[1] == result) for result in ("read right", "refused", "WRONG")}
    head = _HEAD.format(total=len(table), right=counts["read right"], refused=counts["refused"], wrong=counts["WRONG"])
    lines = [f"| {case.name}{_chosen(case)} | {result} | {said} |" for case, result, said in table]
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT}: {counts}\n")


def _chosen(case: Case) -> str:
    shown = ", ".join(f"{key}={value}" for key, value in case.mends.items())
    return f" (`{shown}`)" if shown else ""


def _spoken(text: str, folder: Path) -> str:
    short = text.replace(str(folder), "scan").rpartition(" is not read: ")[2].replace("|", "\\|").replace("\n", " ")
    return short if len(short) <= 200 else short[:197] + "..."


if __name__ == "__main__":
    main()
