"""How long a person waits for `medseg --help`, `--version`, and the help of each subcommand.

    python benchmarks/product/start_times.py [--runs 5]

Each is a process of its own; the least of some runs, in seconds by the clock and of the processor. On a busy machine
the clock measures the others too. Exit code 1 where `--help` takes over 0.5 s or a subcommand's over 1 s of processor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from medseg.cli import app

MEDSEG = Path(sys.executable).with_name("medseg")
MOST_S = {"--help": 0.5, "--version": 0.5}
MOST_OF_SUBCOMMAND_S = 1.0


def helps() -> Iterator[list[str]]:
    """The words of each call."""

    def below(command: Any, words: list[str]) -> Iterator[list[str]]:
        yield [*words, "--help"]
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(inner, [*words, name])

    yield ["--version"]
    yield from below(typer.main.get_command(app), [])


def least(words: list[str], runs: int) -> tuple[float, float]:
    """The least seconds of a call by the clock, and of the processor."""
    clocks, processors = [], []
    for _ in range(runs):
        before, begin = os.times(), time.perf_counter()
        subprocess.run([MEDSEG, *words], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        clocks.append(time.perf_counter() - begin)
        processors.append(sum(after[2:4]) - sum(before[2:4]))
    return min(clocks), min(processors)


def main() -> int:
    """Print a table; 1 where one is too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    slow = 0
    print("| command | s by the clock | s of the processor |\n|---|---:|---:|")
    for words in helps():
        clock, processor = least(words, runs)
        slow += processor > MOST_S.get(" ".join(words), MOST_OF_SUBCOMMAND_S)
        print(f"| medseg {' '.join(words)} | {clock:.2f} | {processor:.2f} |", flush=True)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
