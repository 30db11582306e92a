"""The command line: each command parses, calls one workflow, and prints.

Progress goes to stderr, results to stdout. Exit code 0: done; 2: the input or the environment must be mended, and the
message says how; 1: a bug. A command imports its workflow inside, so that `medseg --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from medseg import __version__
from medseg.cli import (
    batch,
    cross_validate,
    data,
    export,
    models,
    registry,
    reports,
    retrain,
    review,
    service,
    studies,
    vessels,
)
from medseg.core.errors import MedsegError

app = typer.Typer(
    name="medseg",
    help="Medical image segmentation: scans in, masks and measured findings out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.add_typer(review.app, name="review")
app.add_typer(registry.app, name="models")
app.add_typer(service.config_app, name="config")
app.add_typer(service.quarantine_app, name="quarantine")
for module in (models, cross_validate, retrain, studies, vessels, batch, reports, export, service):
    for command in module.COMMANDS:
        app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medseg {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Medical image segmentation: scans in, masks and measured findings out."""


def main() -> None:
    """Run the command line; errors that a user can mend are one sentence and exit code 2."""
    try:
        app()
    except MedsegError as error:
        typer.secho(f"medseg: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
