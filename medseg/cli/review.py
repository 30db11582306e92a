"""`medseg review`: whether reviews are untouched, how far readers agree, whose word stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.console import print_table

app = typer.Typer(help="Verify what readers recorded, and compare the readers.", no_args_is_help=True)

ResultsArgument = Annotated[
    Path, typer.Argument(metavar="RESULTS", help="The folder that the viewer was opened on.", show_default=False)
]


@app.command()
def verify(
    results: ResultsArgument,
    noted: Annotated[
        str | None, typer.Option("--noted", help="A link that was noted earlier; it must be there.", show_default=False)
    ] = None,
) -> None:
    """Check that no correction or verdict was changed or removed; prints the last link, to be noted elsewhere."""
    from medseg.workflows.judge_readings import verify_reviews

    head = verify_reviews(results, noted)
    if head is None:
        typer.echo(f"{results}: nothing is recorded yet")
        return
    typer.echo(f"{results}: {head.count} records untouched, the last link is {head.link}")


@app.command()
def agreement(results: ResultsArgument) -> None:
    """How far readers of the same study agree: Dice, Cohen's kappa, and the seconds each spent."""
    from medseg.workflows.judge_readings import compare_readings

    rows = []
    for pair in compare_readings(results):
        dice, kappa = pair.agreement.mean_dice, pair.agreement.kappa
        rows.append(
            (
                f"{pair.study}: {pair.first.reader}, {pair.second.reader}",
                "both empty" if dice is None else f"{dice:.3f}",
                "" if kappa is None else f"{kappa:.3f}",
                f"{pair.first.duration_s:.0f}, {pair.second.duration_s:.0f}",
                pair.problem or "",
            )
        )
    print_table(("study and readers", "mean Dice", "kappa", "seconds", "contradiction"), rows)


@app.command()
def adjudicate(
    results: ResultsArgument,
    study: Annotated[str, typer.Argument(help="The study by its name in the worklist.", show_default=False)],
    winner: Annotated[str, typer.Option("--for", help="The reader whose mask stands.", show_default=False)],
    judge: Annotated[str, typer.Option("--by", help="Who decides; none of the readers.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
) -> None:
    """Record whose mask of a study stands, where several readers corrected it."""
    from medseg.review.corrections import Signature
    from medseg.workflows.judge_readings import adjudicate_study

    record = adjudicate_study(results, study, winner, by=Signature(judge, reason=reason))
    dice = "" if record.dice is None else f"; lowest Dice to another reader {record.dice:.3f}"
    typer.echo(f"{study}: the mask of {winner} stands{dice}")
