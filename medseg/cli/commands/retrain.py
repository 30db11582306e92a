"""`medseg retrain`: from corrections to a challenger."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.console import shown_progress
from medseg.cli.options import DeviceOption, MemoryOption, MinutesOption, RootOption


def retrain(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="Folders of reviewed results.", show_default=False)
    ],
    registry: Annotated[Path, typer.Option("--registry", help="The registry of models.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="The data set of the beginning.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.", show_default=False)],
    root: RootOption = None,
    replays: Annotated[
        float, typer.Option("--replays", min=0, help="Original cases replayed for each correction.")
    ] = 2.0,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Follow this plan.  [default: make one]", show_default=False)
    ] = None,
    device: DeviceOption = "auto",
    memory_gb: MemoryOption = 8.0,
    minutes: MinutesOption = None,
) -> None:
    """Fine-tune the champion on accepted corrections and replayed original cases; it becomes the challenger.

    A run that was cut off goes on where it stopped. Then: `medseg models judge`, `medseg models promote`.
    """
    from medseg.workflows.retraining.retrain import retrain as run_retraining
    from medseg.workflows.retraining.selection import Sources
    from medseg.workflows.scans.data_sets import open_data_set
    from medseg.workflows.training.make_plan import open_plan, training_budget

    with shown_progress() as progress:
        made = run_retraining(
            registry,
            Sources(tuple(results), open_data_set(data, root), replays),
            output,
            budget=training_budget(device, memory_gb, minutes),
            plan=open_plan(plan) if plan else None,
            person=getpass.getuser(),
            progress=progress,
        )
    for study, reason in made.selection.left_out.items():
        typer.echo(f"left out: {study}: {reason}")
    if made.without_control:
        typer.echo(f"warning: {made.without_control}")
    corrections = made.selection.corrections
    typer.echo(
        f"{registry}: version {made.challenger.number} is the challenger, from {corrections} corrections "
        f"and {len(made.selection.cases) - corrections} original cases"
    )


COMMANDS = (retrain,)
