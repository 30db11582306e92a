"""How many small mistakes in the code that matters most its own tests would notice.

    python benchmarks/product/mutants.py                       all parts; some minutes each
    python benchmarks/product/mutants.py geometry --survivors  one part, and each mistake that nobody noticed

Each mutant is the source with one operator, number, comparison or condition changed (operators of cosmic-ray), run
against the tests of its part in a process forked from one that has the libraries loaded. Nothing on disk is changed.
A mutant is killed where a test fails or does not end within `TIMEOUT_S`. Exit code 1 where a part is below `GOAL`.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parents[2]
GOAL = 0.8
TIMEOUT_S = 300.0

LEFT_OUT = (
    "BitOr",
    "BitAnd",
    "BitXor",
    "Shift",
    "Mod",
    "FloorDiv",
    "_Is",
    "ExceptionReplacer",
    "RemoveDecorator",
    "Variable",
)
"""Operators of no use here: `|` is in types only, and many exchanges for one sign tell no more than one of them."""


@dataclass(frozen=True, slots=True)
class Part:
    """Sources, the tests that guard them, and what both import that is slow to load."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]
    libraries: tuple[str, ...]


PARTS = {
    "geometry": Part(("medseg/core/geometry.py",), ("tests/core/test_geometry.py",), ("numpy.random", "numpy.linalg")),
    "series": Part(
        (
            "medseg/exchange/dicom/series.py",
            *(f"medseg/exchange/dicom/reading/{name}.py" for name in ("duplicates", "grid", "phases")),
        ),
        ("tests/exchange/test_dicom_cases.py",),
        ("imagecodecs", "medseg.core.volume", "medseg.exchange.dicom.contents", "medseg.exchange.nifti"),
    ),
    "grading": Part(
        ("medseg/analysis/vessels/findings/grading.py",),
        ("tests/analysis/vessels/test_grading.py",),
        ("numpy", "scipy"),
    ),
    "gate": Part(
        ("medseg/review/promotion/gate.py", "medseg/review/promotion/verdict.py"),
        ("tests/review/promotion/test_gate.py",),
        ("medseg.analysis.evaluation.summary", "medseg.analysis.evaluation.scores"),
    ),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed source; `change` is the diff's two lines."""

    source: str
    operator: str
    code: str
    change: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every mutant of a source file, in the order of the operators."""
    text = (ROOT / source).read_text(encoding="utf-8")
    nodes = list(ast_nodes(get_ast(text)))
    for name in sorted(operator_names()):
        if any(word in name for word in LEFT_OUT):
            continue
        operator = get_operator(name)()
        count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
        for occurrence in range(count):
            code = mutate_code(text, operator, occurrence)
            lines = difflib.unified_diff(text.splitlines(), (code or "").splitlines(), n=0, lineterm="")
            yield Mutant(source, name, code or "", "\n".join(list(lines)[2:]))


class _Changed(MetaPathFinder, SourceFileLoader):
    """Loads one module from a text instead of from its file."""

    def __init__(self, source: str, code: str) -> None:
        self._module = source.removesuffix(".py").replace("/", ".")
        self._code = code
        super().__init__(self._module, str(ROOT / source))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return spec_from_file_location(fullname, self.path, loader=self) if fullname == self._module else None

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        return compile(self._code, self.path, "exec") if fullname == self._module else super().get_code(fullname)


def passes(part: Part, mutant: Mutant | None) -> bool:
    """Whether all tests of a part pass on a mutant, or on the code as it is."""
    child = os.fork()
    if child == 0:
        os.setpgrp()
        _run_tests(part, mutant)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run_tests(part: Part, mutant: Mutant | None) -> None:
    """Never returns: the process ends with 0 where every test passed."""
    code = 1
    with contextlib.suppress(BaseException), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        if mutant is not None:
            sys.meta_path.insert(0, _Changed(mutant.source, mutant.code))
        with tempfile.TemporaryDirectory() as folder:
            options = [
                "-x",
                "-q",
                "--noconftest",
                "-p",
                "no:cacheprovider",
                f"--basetemp={folder}/t",
                f"--rootdir={ROOT}",
            ]
            code = int(pytest.main([*options, *(str(ROOT / test) for test in part.tests)]))
    os._exit(code)


def main() -> int:
    """Print a row a part; 1 where one is below the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which parts (default: all)")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="of each part as many as this allows, at random"
    )
    parser.add_argument("--survivors", action="store_true", help="print each change that no test noticed")
    wanted = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    is_enough = True
    print("| part | mutants | killed | share | minutes |\n|---|---:|---:|---:|---:|")
    for name in wanted.parts or PARTS:
        is_enough &= measure(name, wanted.minutes, shows_survivors=wanted.survivors)
    return 0 if is_enough else 1


def measure(name: str, minutes: float, *, shows_survivors: bool) -> bool:
    """Whether a part reaches the goal; its row is printed."""
    part, begin = PARTS[name], time.monotonic()
    for library in part.libraries:
        importlib.import_module(library)
    if not passes(part, None):
        raise SystemExit(f"the tests of {name} fail on the code as it is: mend them first")
    mutants = [mutant for source in part.sources for mutant in mutants_of(source)]
    drawn, survivors = [], []
    for mutant in random.Random(0).sample(mutants, len(mutants)):
        if time.monotonic() - begin > 60 * minutes:
            break
        drawn.append(mutant)
        if passes(part, mutant):
            survivors.append(mutant)
    killed = len(drawn) - len(survivors)
    took_s = time.monotonic() - begin
    of_all = "" if len(drawn) == len(mutants) else f" of {len(mutants)}"
    print(f"| {name} | {len(drawn)}{of_all} | {killed} | {killed / len(drawn):.1%} | {took_s / 60:.1f} |", flush=True)
    if shows_survivors:
        for mutant in survivors:
            print(f"\n{mutant.source}, {mutant.operator}\n{mutant.change}", flush=True)
    return killed / len(drawn) >= GOAL


if __name__ == "__main__":
    sys.exit(main())
