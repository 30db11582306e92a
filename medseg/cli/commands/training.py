"""Commands that make and judge models: plan, train, evaluate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from medseg.cli.console import print_table, shown_progress
from medseg.cli.options import (
    DataArgument,
    DeviceOption,
    FoldOption,
    Loss,
    LossOption,
    MemoryOption,
    MinutesOption,
    Network,
    NetworkOption,
    RootOption,
    TrackerOption,
    TrackingUriOption,
)
from medseg.cli.plan_tables import print_forecast, print_plan, print_targets
from medseg.core.errors import InputError

if TYPE_CHECKING:
    from medseg.analysis.evaluation.scores import CaseScores, Metric
    from medseg.training.planning.ladder import Choice, LossName
    from medseg.training.probe.forecast import Forecast
    from medseg.workflows.models.evaluate_model import Evaluation
    from medseg.workflows.progress import Progress
    from medseg.workflows.training.train_model import Run, Seat


def plan(
    data: DataArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The plan to write.")] = Path("plan.toml"),
    root: RootOption = None,
    fold: FoldOption = 0,
    device: DeviceOption = "auto",
    memory_gb: MemoryOption = 8.0,
    minutes: MinutesOption = None,
    network: NetworkOption = None,
    loss: LossOption = None,
    edited: Annotated[
        Path | None, typer.Option("--plan", help="Forecast this plan instead of making one.", show_default=False)
    ] = None,
    forecast: Annotated[bool, typer.Option(help="Whether to try the plan for some seconds, to forecast it.")] = True,
) -> None:
    """Look at a data set and write a plan of how to train on it, with a forecast; plan.toml may be edited."""
    from medseg.workflows.scans.data_sets import open_data_set
    from medseg.workflows.training import make_plan as workflow
    from medseg.workflows.training.forecast_training import forecast_training, save_forecast

    with shown_progress() as progress:
        manifest = open_data_set(data, root)
        budget = workflow.training_budget(device, memory_gb, minutes)
        choice = chosen(network, loss) or workflow.DEFAULT_CHOICE
        if edited is None:
            made, fingerprint = workflow.plan_training(manifest, fold, budget, progress, choice)
            workflow.save_plan(made, output)
        else:
            made, output = workflow.open_plan(edited), edited
            fingerprint = workflow.look_at_data(manifest, fold, progress)
    print_plan(made, output)
    print_targets(made, fingerprint)
    for sentence in workflow.advice(made, fingerprint):
        typer.echo(sentence)
    if forecast:
        with shown_progress() as progress:
            took = forecast_training(manifest, fold, made, fingerprint, budget=budget, progress=progress)
        save_forecast(took, output)
        print_forecast(took, memory_gb)


def train(
    data: DataArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder.", show_default=False)],
    root: RootOption = None,
    fold: FoldOption = 0,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Follow this plan.  [default: make one]", show_default=False)
    ] = None,
    parent: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Start from this bundle's weights: its folder, or a shipped name.", show_default=False
        ),
    ] = None,
    device: DeviceOption = "auto",
    memory_gb: MemoryOption = 8.0,
    minutes: MinutesOption = None,
    network: NetworkOption = None,
    loss: LossOption = None,
    forecast: Annotated[
        bool | None,
        typer.Option(
            help="Whether to forecast it first.  [default: with a plan made here, from 10 minutes on]",
            show_default=False,
        ),
    ] = None,
    tracker: TrackerOption = None,
    tracking_uri: TrackingUriOption = None,
) -> None:
    """Train a model and score it on the held-out fold; a run that was cut off goes on where it stopped.

    Under torchrun, several processes train together: `torchrun --nproc-per-node 2 -m medseg.cli train ...`.
    """
    from medseg.workflows.scans.data_sets import open_data_set
    from medseg.workflows.training.fine_tune import fine_tuning
    from medseg.workflows.training.make_plan import open_plan, training_budget
    from medseg.workflows.training.track_training import choose_tracking
    from medseg.workflows.training.train_model import Run, train_together

    if plan and (network or loss):
        raise InputError(
            "--plan already says which network and losses; edit it there, or leave out --network and --loss"
        )
    if parent and network:
        raise InputError("--from brings the bundle's network; leave out --network")
    if tracker or tracking_uri:
        choose_tracking(output, tracker or "mlflow", tracking_uri)
    with shown_progress() as progress:
        wanted, seat = open_plan(plan) if plan else chosen(network, loss), seat_of_torchrun()
        run = Run(
            manifest=open_data_set(data, root),
            fold=fold,
            folder=output,
            wanted=fine_tuning(parent, wanted) if parent else wanted,
            budget=training_budget(device, memory_gb, minutes),
        )
        took = forecast_first(run, plan, forecast, progress) if seat.size == 1 else None
    if took is not None:
        print_forecast(took, memory_gb)
    with shown_progress() as progress:
        trained = train_together(run, seat, progress)
    if trained is None:
        return
    print_evaluation(trained.evaluation)
    typer.echo(f"{trained.folder}: trained and scored in {trained.duration_s / 60:.1f} minutes")


def forecast_first(run: Run, plan: Path | None, wanted: bool | None, progress: Progress) -> Forecast | None:
    """The forecast of a run, where it is wanted or worth its time; one that came with a plan is kept beside it."""
    from medseg.workflows.training.forecast_training import adopt_forecast, forecast_run, is_worth_forecasting

    if wanted or (wanted is None and plan is None and is_worth_forecasting(run.budget)):
        return forecast_run(run.manifest, run.fold, run.folder, run.wanted, run.budget, progress)
    if plan is not None:
        adopt_forecast(plan, run.folder)
    return None


def seat_of_torchrun() -> Seat:
    """Where torchrun put this process; alone without it."""
    from medseg.workflows.training.train_model import Seat

    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return Seat()
    return Seat(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))


def chosen(network: Network | None, losses: list[Loss] | None) -> Choice | None:
    """The network and losses that were named; None where neither was."""
    from medseg.workflows.training.make_plan import Choice

    if not network and not losses:
        return None
    return Choice(network or "unet3d", cast("tuple[LossName, ...]", tuple(loss.value for loss in losses or ())))


def evaluate(
    masks: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PREDICTION REFERENCE]", help="Two masks to compare.", show_default=False),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="The task of two masks: a shipped name or a .toml.", show_default=False)
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="A bundle or ensemble to evaluate.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The data set to evaluate it on.", show_default=False)
    ] = None,
    root: RootOption = None,
    fold: Annotated[
        int | None, typer.Option("--fold", min=0, help="Only this fold.  [default: the test cases]", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write every score to this CSV.", show_default=False)
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Score a model on a data set, or one mask against another: Dice, NSD, HD95, volume difference."""
    from medseg.workflows.models import evaluate_model as workflow
    from medseg.workflows.scans.data_sets import open_data_set

    if masks:
        if len(masks) != 2 or task is None or model or data:
            raise InputError("give two masks and their --task, or a --model and its --data")
        scores = workflow.evaluate_mask(masks[0], masks[1], workflow.open_task(task))
        print_case(scores)
        cases: tuple[CaseScores, ...] = (scores,)
    else:
        if model is None or data is None:
            raise InputError("give a --model and its --data, or two masks and their --task")
        manifest = open_data_set(data, root)
        with shown_progress() as progress:
            evaluation = workflow.evaluate_bundle(model, manifest, fold, device=device, progress=progress)
        print_evaluation(evaluation)
        for warning in evaluation.warnings:
            typer.secho(f"medseg: {warning}", fg=typer.colors.YELLOW, err=True)
        cases = evaluation.cases
    if output is not None:
        workflow.write_case_scores(cases, output)


def print_evaluation(evaluation: Evaluation) -> None:
    """The means with their 95 % intervals, a row a label."""
    summary = evaluation.summary
    shown: tuple[tuple[Metric, str, int], ...] = (
        ("dice", "Dice", 3),
        ("nsd", f"NSD {summary.tolerance_mm:g} mm", 3),
        ("hd95_mm", "HD95 mm", 2),
    )
    rows = []
    for name, statistics in [*summary.by_label.items(), *summary.by_region.items(), ("mean", summary.over_labels)]:
        cells = [name.replace("_", " ")]
        for metric, _, digits in shown:
            statistic = statistics[metric]
            low, high = statistic.interval
            lost = f" ({statistic.infinite} missed)" if statistic.infinite else ""
            cells.append(f"{statistic.mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]{lost}")
        bias = statistics["volume_difference_ml"]
        cells.append(f"{bias.mean:+.2f}")
        rows.append(cells)
    header = ("label", *(title for _, title, _ in shown), "volume difference ml")
    print_table(header, rows, f"{summary.case_count} cases: mean [95 % interval]")


def print_case(scores: CaseScores) -> None:
    """The scores of one case, a row a label."""
    print_table(
        ("label", "Dice", f"NSD {scores.tolerance_mm:g} mm", "HD95 mm", "volume ml", "reference ml"),
        [
            (
                label.label.replace("_", " "),
                f"{label.dice:.4f}",
                f"{label.nsd:.4f}",
                f"{label.hd95_mm:.2f}",
                f"{label.prediction_ml:.2f}",
                f"{label.reference_ml:.2f}",
            )
            for label in (*scores.labels, *scores.regions)
        ],
        scores.case,
    )


COMMANDS = (plan, train, evaluate)
