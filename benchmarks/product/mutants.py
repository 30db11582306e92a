"""How many small mistakes in the code that matters most its own tests would notice.

    python benchmarks/product/mutants.py                       all parts; some minutes each
    python benchmarks/product/mutants.py geometry --survivors  one part, and each mistake that nobody noticed

Each mutant is the source with one operator, number, comparison or condition changed (operators of cosmic-ray), run
against the tests of its part in a process of its own. Nothing on disk is changed. The tests are collected once. Where a
mutant differs inside functions only, these get their new code in a process forked from there; what runs while modules
are imported has all of medseg and the tests imported anew. The tests that have killed most so far run first, and
generated examples are the same each time. A mutant is killed where a test fails or the tests do not end within
`PATIENCE` times what they take on the code as it is. Exit code 1 where a part is below `GOAL`.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import gc
import inspect
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import hypothesis
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parents[2]
GOAL = 0.8
PATIENCE = 20.0

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
    """Sources and the tests that guard them; `chosen` as pytest's -k, to leave out slow ones about something else."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]
    chosen: str = ""


PARTS = {
    "geometry": Part(("medseg/core/geometry.py",), ("tests/core/test_geometry.py",)),
    "series": Part(
        (
            "medseg/exchange/dicom/series.py",
            *(f"medseg/exchange/dicom/reading/{name}.py" for name in ("duplicates", "grid", "phases")),
        ),
        ("tests/exchange/reading", "tests/exchange/test_dicom_cases.py"),
        chosen="not (JPEG or RLE or HTJ2K or bits or bomb or pixels or Modality or zip or tar)",
    ),
    "grading": Part(
        ("medseg/analysis/vessels/findings/grading.py",),
        ("tests/analysis/vessels/test_grading.py",),
    ),
    "gate": Part(
        ("medseg/review/promotion/gate.py", "medseg/review/promotion/verdict.py"),
        ("tests/review/promotion",),
    ),
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A source in which one operator is applied at one of the places where it can be."""

    source: str
    operator: str
    occurrence: int

    def code(self) -> str:
        """The changed source."""
        text = (ROOT / self.source).read_text(encoding="utf-8")
        return mutate_code(text, get_operator(self.operator)(), self.occurrence) or ""

    def change(self) -> str:
        """What is changed, as lines of a diff."""
        text = (ROOT / self.source).read_text(encoding="utf-8")
        lines = difflib.unified_diff(text.splitlines(), self.code().splitlines(), n=0, lineterm="")
        return "\n".join(list(lines)[2:])


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every mutant of a source file, in the order of the operators."""
    nodes = list(ast_nodes(get_ast((ROOT / source).read_text(encoding="utf-8"))))
    for name in sorted(operator_names()):
        if any(word in name for word in LEFT_OUT):
            continue
        operator = get_operator(name)()
        count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
        yield from (Mutant(source, name, occurrence) for occurrence in range(count))


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


class _Run:
    """A plugin of pytest: the deadliest tests come first, and the one that fails is remembered."""

    def __init__(self, kills: Counter[str]) -> None:
        self.kills = kills
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: -self.kills[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = report.nodeid


class _Hunt(_Run):
    """Runs the collected tests on one mutant after another, as many as the minutes allow."""

    def __init__(self, part: Part, mutants: Sequence[Mutant], minutes: float) -> None:
        super().__init__(Counter())
        self._part, self._mutants, self._minutes = part, mutants, minutes
        self._items: list[pytest.Item] = []
        self._functions: dict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
        self.drawn: list[Mutant] = []
        self.survivors: list[Mutant] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        begin, self._items = time.monotonic(), session.items
        for function in (one for one in gc.get_objects() if isinstance(one, FunctionType)):
            code = function.__code__
            self._functions[code.co_filename, code.co_qualname, code.co_firstlineno].append(function)
        if self._is_killed(None, math.inf):
            raise pytest.UsageError("the tests fail on the code as it is")
        patience_s = PATIENCE * (time.monotonic() - begin)
        with contextlib.suppress(KeyboardInterrupt):  # what was tried until then is told of
            for mutant in self._mutants:
                if time.monotonic() - begin > 60 * self._minutes:
                    break
                is_killed = self._is_killed(mutant, patience_s)
                self.drawn.append(mutant)
                if not is_killed:
                    self.survivors.append(mutant)
        return True

    def _is_killed(self, mutant: Mutant | None, timeout_s: float) -> bool:
        heard, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.setpgrp()
            self._run_tests(mutant, tell)
        os.close(tell)
        status = _ended(child, timeout_s)
        with os.fdopen(heard) as pipe:
            self.kills.update(pipe.read().splitlines())
        return status != 0

    def _run_tests(self, mutant: Mutant | None, tell: int) -> None:
        """Never returns: the process ends with 0 where every test passed."""
        code = 1
        with contextlib.suppress(BaseException), Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            if mutant is None or self._may_change_functions(mutant):
                self.pytest_collection_modifyitems(self._items)
                for item in self._items:
                    item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
                    if self.failed:
                        break
                code = int(bool(self.failed))
            else:
                _import_anew(mutant)
                code = int(_pytest(self._part, run := _Run(self.kills)))
                self.failed = run.failed
            os.write(tell, self.failed.encode())
        os._exit(code)

    def _may_change_functions(self, mutant: Mutant) -> bool:
        """Whether the mutant differs from its source inside functions only; then they have their new code."""
        path = str(ROOT / mutant.source)
        old = compile(Path(path).read_bytes(), path, "exec")
        new = compile(mutant.code(), path, "exec")
        if _outside_functions(old) != _outside_functions(new):
            return False
        for code in _functions_in(new):
            for function in self._functions[path, code.co_qualname, code.co_firstlineno]:
                function.__code__ = code
        return True


def _outside_functions(code: CodeType) -> tuple[object, ...]:
    """What runs while a module is imported, to be compared."""
    within = (one for one in code.co_consts if not isinstance(one, CodeType))
    classes = (one for one in _codes_in(code) if not one.co_flags & inspect.CO_OPTIMIZED)
    return code.co_code, code.co_names, [repr(one) for one in within], [_outside_functions(one) for one in classes]


def _functions_in(code: CodeType) -> Iterator[CodeType]:
    for one in _codes_in(code):
        if one.co_flags & inspect.CO_OPTIMIZED:
            yield one
        else:
            yield from _functions_in(one)


def _codes_in(code: CodeType) -> list[CodeType]:
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _import_anew(mutant: Mutant) -> None:
    """Forget all modules of the repository, and have the mutant's own come from its text."""
    ours = (str(ROOT / "medseg"), str(ROOT / "tests"))
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(ours):
            del sys.modules[name]
    sys.meta_path.insert(0, _Changed(mutant.source, mutant.code()))


def _pytest(part: Part, plugin: _Run) -> int:
    """The exit status of the tests of a part with this plugin."""
    with tempfile.TemporaryDirectory() as folder:
        options = [
            "-x",
            "-q",
            "--noconftest",
            "--capture=no",
            "-k",
            part.chosen,
            "-W",
            "ignore:Module already imported",
        ]
        options += ["-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin"]
        options += [f"--basetemp={folder}/t", f"--rootdir={ROOT}"]
        return int(pytest.main([*options, *(str(ROOT / test) for test in part.tests)], [plugin]))


def _ended(child: int, timeout_s: float) -> int:
    """The exit status of a process, which is killed with its children when its time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


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
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, str(ROOT))
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # what fails need not be made small
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    is_enough = True
    print("| part | mutants | killed | share | minutes |\n|---|---:|---:|---:|---:|")
    for name in wanted.parts or PARTS:
        is_enough &= measure(name, wanted.minutes, shows_survivors=wanted.survivors)
    return 0 if is_enough else 1


def measure(name: str, minutes: float, *, shows_survivors: bool) -> bool:
    """Whether a part reaches the goal; its row is printed."""
    part, begin = PARTS[name], time.monotonic()
    mutants = [mutant for source in part.sources for mutant in mutants_of(source)]
    hunt = _Hunt(part, random.Random(0).sample(mutants, len(mutants)), minutes)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        status = _pytest(part, hunt)
    if status != 0:
        raise SystemExit(f"the tests of {name} fail on the code as it is: mend them first")
    drawn, survivors = hunt.drawn, hunt.survivors
    killed = len(drawn) - len(survivors)
    took_s = time.monotonic() - begin
    of_all = "" if len(drawn) == len(mutants) else f" of {len(mutants)}"
    print(f"| {name} | {len(drawn)}{of_all} | {killed} | {killed / len(drawn):.1%} | {took_s / 60:.1f} |", flush=True)
    if shows_survivors:
        for mutant in survivors:
            print(f"\n{mutant.source}, {mutant.operator}\n{mutant.change()}", flush=True)
    return killed / len(drawn) >= GOAL


if __name__ == "__main__":
    sys.exit(main())
