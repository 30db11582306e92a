"""The command line: each command parses, calls one workflow, and prints.

Progress goes to stderr, results to stdout. Exit code 0: done; 2: the input or the environment must be mended, and the
message says how; 1: a bug. A command imports its workflow inside, so that `medseg --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from medseg.cli.commands import (
    archive,
    batch,
    cross_validate,
    data,
    doctor,
    export,
    models,
    reports,
    retrain,
    review,
    service,
    studies,
    training,
    vessels,
)
from medseg.core.errors import MedsegError

LONGEST_NAME = 200
"""Characters of a file's name that an error shows."""

app = typer.Typer(
    name="medseg",
    help="Medical image segmentation: scans in, masks and measured findings out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for heading, groups, modules in (
    ("Scans", {}, (studies, vessels, batch, reports)),
    ("Models", {"models": models.app, "data": data.app}, (training, cross_validate, export)),
    ("Readers, and what models learn from them", {"review": review.app}, (retrain,)),
    (
        "Service",
        {"config": service.config_app, "quarantine": service.quarantine_app, "archive": archive.app},
        (service,),
    ),
    ("This machine", {}, (doctor,)),
):
    for module in modules:
        for command in module.COMMANDS:
            app.command(rich_help_panel=heading)(command)
    for name, group in groups.items():
        app.add_typer(group, name=name, rich_help_panel=heading)


def _print_version(wanted: bool) -> None:
    if wanted:
        from medseg.cli.version import version_lines

        typer.echo("\n".join(version_lines()))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print version and hashes of code and models.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Medical image segmentation: scans in, masks and measured findings out."""


def main() -> None:
    """Run the command line; errors that a user can mend are one sentence and exit code 2.

    So are those of the system that name a file: a full disk, a right that is missing, a name that is too long.
    """
    try:
        app()
    except MedsegError as error:
        _end_with(str(error))
    except OSError as error:
        if error.errno is None or error.filename is None:
            raise
        name = str(error.filename)
        shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
        _end_with(f"{shown}: {error.strerror}. Check the path, the rights to it, and the free space.")


def _end_with(sentence: str) -> None:
    typer.secho(f"medseg: {sentence}", fg=typer.colors.RED, err=True)
    sys.exit(2)
