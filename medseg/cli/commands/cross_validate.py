"""`medseg cross-validate`: every fold, one plan, one ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.commands.training import chosen, print_evaluation
from medseg.cli.console import shown_progress
from medseg.cli.options import (
    DataArgument,
    DeviceOption,
    LossOption,
    MemoryOption,
    MinutesOption,
    NetworkOption,
    RootOption,
)
from medseg.core.errors import InputError

if TYPE_CHECKING:
    from medseg.workflows.training.choose_bias import Decoding
    from medseg.workflows.training.choose_mirroring import Mirroring


def cross_validate(
    data: DataArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.", show_default=False)],
    root: RootOption = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="Train each fold by this plan.  [default: make one]", show_default=False),
    ] = None,
    device: DeviceOption = "auto",
    memory_gb: MemoryOption = 8.0,
    minutes: MinutesOption = None,
    network: NetworkOption = None,
    loss: LossOption = None,
) -> None:
    """Train every fold, score each case out of fold, and keep the models as an ensemble; goes on where it was cut off.

    The minutes are for the whole, shared among the folds.
    """
    from medseg.workflows.scans.data_sets import open_data_set
    from medseg.workflows.training.cross_validate import cross_validate as run
    from medseg.workflows.training.make_plan import open_plan, training_budget

    if plan and (network or loss or minutes):
        raise InputError(
            "--plan already says which network and losses, and how long each fold trains; "
            "edit it there, or leave out --network, --loss and --minutes"
        )
    with shown_progress() as progress:
        result = run(
            open_data_set(data, root),
            output,
            plan=open_plan(plan) if plan else chosen(network, loss),
            budget=training_budget(device, memory_gb, minutes),
            progress=progress,
        )
    print_evaluation(result.evaluation)
    typer.echo(f"mean Dice of each fold: {', '.join(f'{dice:.3f}' for dice in result.fold_dice)}")
    if result.mirroring is not None:
        typer.echo(told_of_mirroring(result.mirroring))
    if result.decoding is not None:
        typer.echo(told_of_bias(result.decoding))
    typer.echo(
        f"{result.folder}: ensemble of {len(result.ensemble.members)} models, made in {result.duration_s / 60:.1f} "
        "minutes. The scores are of its members, each on cases it did not learn from; the ensemble itself has not been "
        "scored on held-out data."
    )


def told_of_mirroring(mirroring: Mirroring) -> str:
    """The decision on mirroring in a sentence."""
    low, high = mirroring.interval
    return (
        f"seen mirrored as well, Dice changes by {mirroring.difference:+.4f} [{low:+.4f}, {high:+.4f}] from "
        f"{mirroring.dice_without:.4f}, a case takes {mirroring.seconds_with:.2f} instead of "
        f"{mirroring.seconds_without:.2f} s: {'kept' if mirroring.is_kept else 'left out'}"
    )


def told_of_bias(decoding: Decoding) -> str:
    """The decision on the bias in a sentence."""
    low, high = decoding.interval
    return (
        f"decoded with a foreground bias of {decoding.bias:+g}, found on other folds, Dice changes by "
        f"{decoding.difference:+.4f} [{low:+.4f}, {high:+.4f}] from {decoding.dice_without:.4f}: "
        f"{'kept' if decoding.is_kept else 'left out'}"
    )


COMMANDS = (cross_validate,)
