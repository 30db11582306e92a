"""`medseg doctor`: what this machine has, what it lacks, and how to get it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medseg.cli.console import print_table
from medseg.cli.version import version_lines

if TYPE_CHECKING:
    from medseg.workflows.machine.examine import Check

SIGNS = {"fine": "yes", "optional": "no", "missing": "MISSING"}


def doctor(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where results would lie, and medseg.toml may.")
    ] = Path(),
    form: Annotated[
        Literal["table", "json"], typer.Option("--format", help="For a person, or for a program.")
    ] = "table",
) -> None:
    """Look at this machine: what is there, what is missing, how to get it; exit code 2 where medseg cannot work."""
    from medseg.workflows.machine.examine import examine_machine

    checks = examine_machine(folder)
    if form == "json":
        typer.echo(json.dumps({"version": version_lines(), "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        print_checks(checks)
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(2)


def print_checks(checks: tuple[Check, ...]) -> None:
    """One row a check, then what may be done about those that are not fine."""
    for line in version_lines():
        typer.echo(line)
    print_table(
        ("", "", "there", "found"),
        [(check.group, check.name, SIGNS[check.state], check.found) for check in checks],
    )
    for check in checks:
        if check.mend:
            typer.echo(f"{check.group} {check.name}: {check.mend}")


COMMANDS = (doctor,)
