"""`medseg review`: whether records are untouched, how readers agree, what to read next, what has drifted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.console import print_table

DRIFTED = 3
"""Exit code where a series is outside its limits."""

app = typer.Typer(
    help="Verify what readers recorded, compare readers, plan what to read, watch for drift.", no_args_is_help=True
)

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
    from medseg.workflows.reviewing.judge_readings import verify_reviews

    head = verify_reviews(results, noted)
    if head is None:
        typer.echo(f"{results}: nothing is recorded yet")
        return
    typer.echo(f"{results}: {head.count} records untouched, the last link is {head.link}")


@app.command()
def agreement(results: ResultsArgument) -> None:
    """How far readers of the same study agree: Dice, Cohen's kappa, and the seconds each spent."""
    from medseg.workflows.reviewing.judge_readings import compare_readings

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
    from medseg.workflows.reviewing.judge_readings import adjudicate_study

    record = adjudicate_study(results, study, winner, by=Signature(judge, reason=reason))
    dice = "" if record.dice is None else f"; lowest Dice to another reader {record.dice:.3f}"
    typer.echo(f"{study}: the mask of {winner} stands{dice}")


@app.command()
def worklist(
    results: ResultsArgument,
    count: Annotated[int, typer.Option("--count", min=1, help="How many to name.")] = 20,
    random_share: Annotated[
        float, typer.Option("--random", min=0, max=1, help="The share that is read at random.")
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random share.")] = 0,
) -> None:
    """Which studies to read next: those the model most likely failed on, and a share at random."""
    from medseg.workflows.reviewing.plan_reading import plan_reading

    rows = [
        (
            one.study,
            *("" if value is None else f"{value:.3f}" for value in (one.doubt, one.disagreement, one.strangeness)),
        )
        for one in plan_reading(results, random_share=random_share, seed=seed)[:count]
    ]
    if rows:
        print_table(("study", "doubt", "disagreement", "strangeness"), rows)
    else:
        typer.echo(f"nothing waits to be read in {results}: it holds no results, or each has a verdict")


@app.command()
def drift(
    results: ResultsArgument,
    baseline: Annotated[int, typer.Option("--baseline", min=2, help="How many of the first values are normal.")] = 30,
) -> None:
    """Whether scans, findings and verdicts are still what they were; exit code 3 where something has drifted."""
    from medseg.workflows.reviewing.watch_drift import watch_drift

    report = watch_drift(results, baseline)
    print_table(
        ("series", "values", "at first", "now", "limits"),
        [
            (
                one.name,
                str(one.values),
                f"{one.baseline:.3g}",
                f"{one.now:.3g}",
                f"{one.limits[0]:.3g} to {one.limits[1]:.3g}",
            )
            for one in report.watched
        ],
    )
    for sentence in report.alerts:
        typer.echo(sentence)
    if not report.watched:
        typer.echo(f"nothing to say yet: a series takes {baseline} values and some more")
    if report.alerts:
        raise typer.Exit(DRIFTED)
