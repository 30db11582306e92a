"""`medseg models`: the versions of a registry, and which of them is the champion."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.console import print_table, shown_progress
from medseg.cli.options import DeviceOption, FoldOption, InferenceDeviceOption, RootOption

if TYPE_CHECKING:
    from medseg.review.promotion.shadow import ShadowSummary

app = typer.Typer(help="Keep models: versions, champion and challenger, import and export.", no_args_is_help=True)

REFUSED = 3
"""Exit code where the gate refused a challenger."""

RegistryArgument = Annotated[
    Path, typer.Argument(metavar="REGISTRY", help="The registry's folder.", show_default=False)
]
VersionArgument = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="An alias, a number, or the first digits of a hash.", show_default=False),
]
MlflowOption = Annotated[
    str, typer.Option("--mlflow", metavar="URI", help="The MLflow store, by the extra mlflow.", show_default=False)
]
PersonOption = Annotated[str | None, typer.Option("--by", help="Who decides.  [default: you]", show_default=False)]


@app.command(name="list")
def list_(registry: RegistryArgument) -> None:
    """Every version with its aliases, then every move of an alias."""
    from medseg.models.registry.registry import Registry

    models = Registry(registry)
    aliases = models.aliases()
    print_table(
        ("version", "aliases", "hash", "name", "added"),
        [
            (
                str(version.number),
                ", ".join(alias for alias, number in aliases.items() if number == version.number),
                version.sha256[:12],
                version.name,
                f"{version.added:%Y-%m-%d %H:%M}",
            )
            for version in models.versions()
        ],
    )
    for move in models.history():
        to = "back to" if move.kind == "back" else "to"
        typer.echo(f"{move.made:%Y-%m-%d %H:%M} {move.alias} {to} {move.number} by {move.person}: {move.reason}")


@app.command(name="import")
def import_(
    registry: RegistryArgument,
    source: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle's folder or a .zip.", show_default=False)],
    alias: Annotated[str | None, typer.Option("--alias", help="Point this alias at it.", show_default=False)] = None,
    person: PersonOption = None,
) -> None:
    """Add a model; the first one becomes the champion."""
    from medseg.models.registry.archive import import_model
    from medseg.models.registry.registry import CHAMPION, Registry

    models = Registry(registry)
    version = import_model(models, source)
    wanted = alias or (None if models.aliases() else CHAMPION)
    if wanted:
        models.point(wanted, str(version.number), person=person or getpass.getuser(), reason="imported")
    typer.echo(f"{registry}: version {version.number}{f', the {wanted}' if wanted else ''} ({version.sha256[:12]})")


@app.command()
def export(
    registry: RegistryArgument,
    version: VersionArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .zip to write.", show_default=False)],
) -> None:
    """Write a model as one .zip that another registry imports."""
    from medseg.models.registry.archive import export_version
    from medseg.models.registry.registry import Registry

    written = export_version(Registry(registry), version, output)
    typer.echo(f"{output}: version {written.number} ({written.sha256[:12]})")


@app.command()
def push(
    registry: RegistryArgument,
    version: VersionArgument,
    mlflow: MlflowOption,
    name: Annotated[
        str | None, typer.Option("--name", help="The registered model.  [default: the task]", show_default=False)
    ] = None,
) -> None:
    """Copy a version into an MLflow model registry; one that is there already stays as it is."""
    from medseg.models.registry.mlflow_registry import push_version
    from medseg.models.registry.registry import Registry

    there, number = push_version(Registry(registry), version, mlflow, name)
    typer.echo(f"{mlflow}: version {number} of {there}")


@app.command()
def pull(
    registry: RegistryArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The registered model there.", show_default=False)],
    mlflow: MlflowOption,
    number: Annotated[
        str | None, typer.Option("--number", help="Its version there.  [default: the newest]", show_default=False)
    ] = None,
) -> None:
    """Copy a version out of an MLflow model registry; it is no champion until the gate lets it through."""
    from medseg.models.registry.mlflow_registry import pull_version
    from medseg.models.registry.registry import Registry

    version = pull_version(Registry(registry), mlflow, name, number)
    typer.echo(f"{registry}: version {version.number} ({version.sha256[:12]})")


@app.command()
def qualify(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle, or champion@REGISTRY.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle to write.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="The data set it was trained on.", show_default=False)],
    root: RootOption = None,
    fold: FoldOption = 0,
    cross_validation: Annotated[
        Path | None,
        typer.Option(
            "--cross-validation", help="Check by every fold of this run of cross-validate.", show_default=False
        ),
    ] = None,
    coverage: Annotated[
        float, typer.Option(min=0.5, max=0.99, help="How often an interval holds the true Dice.")
    ] = 0.9,
    device: DeviceOption = "auto",
) -> None:
    """Write a model with quality control: calibrated probabilities, predicted Dice, an input gate."""
    from medseg.workflows.models.qualify_model import qualify_model
    from medseg.workflows.scans.data_sets import open_data_set

    with shown_progress() as progress:
        manifest = open_data_set(data, root)
        made = qualify_model(
            model,
            manifest,
            fold,
            output,
            cross_validation=cross_validation,
            coverage=coverage,
            device=device,
            progress=progress,
        )
    if made.quality is not None:
        typer.echo(f"{output}: {made.quality.sentence}")


@app.command()
def judge(
    registry: RegistryArgument,
    data: Annotated[Path, typer.Option("--data", help="The data set of the beginning.", show_default=False)],
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="Who is judged.")] = "challenger",
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results",
            help="Reviewed results: their corrections must not be unlearned, and shadows are told of.",
            show_default=False,
        ),
    ] = None,
    root: RootOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Judge a challenger against the champion on the frozen test cases; exit code 3 where it is refused."""
    from medseg.workflows.retraining.judge import judge_challenger, verdict_path
    from medseg.workflows.scans.data_sets import open_data_set

    with shown_progress() as progress:
        manifest = open_data_set(data, root)
        verdict = judge_challenger(
            registry, manifest, challenger=version, results=results or (), device=device, progress=progress
        )
    rows = [
        (
            check.name,
            f"{check.champion:.4f}",
            f"{check.challenger:.4f}",
            f"{check.difference:+.4f}",
            "" if check.interval is None else f"{check.interval[0]:+.4f} to {check.interval[1]:+.4f}",
            "yes" if check.is_passed else "NO",
        )
        for check in verdict.checks
    ]
    title = f"{verdict.cases} test cases: the challenger {'may be promoted' if verdict.is_passed else 'is refused'}"
    print_table(("asked", "champion", "challenger", "difference", "95 % interval", "passed"), rows, title)
    if verdict.shadow is not None:
        typer.echo(verdict.shadow.sentence)
    for warning in verdict.warnings:
        typer.echo(f"warning: {warning}")
    path = verdict_path(registry, verdict.challenger_sha256, verdict.champion_sha256)
    typer.echo(f"{path.with_suffix('.md')}: the verdict")
    if not verdict.is_passed:
        raise typer.Exit(REFUSED)


@app.command()
def shadow(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="The output folder of a batch.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", help="Run this one beside first: challenger@REGISTRY.", show_default=False),
    ] = None,
    device: InferenceDeviceOption = "auto",
) -> None:
    """How challengers that ran in shadow differ from what a batch delivered; nothing delivered is changed."""
    from medseg.review.promotion.shadow import summarise_shadow
    from medseg.workflows.segmenting.process_batch import BatchOptions
    from medseg.workflows.segmenting.shadow import run_shadow, shadow_results

    if model is not None:
        with shown_progress() as progress:
            run_shadow(results, model, BatchOptions(device=device), progress=progress)
    found = shadow_results([results])
    for pair in sorted({(one.champion_sha256, one.challenger_sha256) for one in found}):
        mine = [one for one in found if (one.champion_sha256, one.challenger_sha256) == pair]
        made = summarise_shadow(mine)
        if made is not None:
            print_shadow(made)
        for one in mine:
            if one.failure is not None:
                typer.echo(f"failed: {one.study}: {one.failure}")
    if not found:
        typer.echo(f"{results}: no model ran in shadow; name one with --model")


def print_shadow(summary: ShadowSummary) -> None:
    """The labels of both models side by side, then where they differ most."""
    rows = [
        (
            name,
            f"{dice:.3f}",
            f"x {summary.volume_ratio[name]:.2f}" if name in summary.volume_ratio else "",
            " / ".join(map(str, summary.findings.get(name, (0, 0)))),
        )
        for name, dice in summary.dice_of_label.items()
    ]
    pair = f"{summary.challenger_sha256[:12]} beside the champion {summary.champion_sha256[:12]}"
    print_table(("label", "Dice between", "volume", "findings of each"), rows, f"{pair}: {summary.studies} studies")
    for study, dice in summary.most_apart:
        typer.echo(f"most apart: {study}: {dice:.3f}")


@app.command()
def promote(
    registry: RegistryArgument,
    version: VersionArgument,
    because: Annotated[
        str | None,
        typer.Option("--without-verdict", metavar="REASON", help="Promote unjudged; why.", show_default=False),
    ] = None,
    person: PersonOption = None,
) -> None:
    """Make a version the champion, in one step; the gate must have let it through (`medseg models judge`)."""
    from medseg.models.registry.registry import CHAMPION, Registry
    from medseg.workflows.retraining.control import lost_by_promotion
    from medseg.workflows.retraining.judge import promote as promote_by_verdict

    who = person or getpass.getuser()
    lost = lost_by_promotion(Registry(registry), version)
    if because is None:
        moved = promote_by_verdict(registry, version, person=who)
    else:
        moved = Registry(registry).point(CHAMPION, version, person=who, reason=f"without a verdict: {because}")
    for warning in lost:
        typer.echo(f"warning: {warning}")
    typer.echo(f"{registry}: the champion is version {moved.number} ({moved.sha256[:12]})")


@app.command()
def rollback(
    registry: RegistryArgument,
    reason: Annotated[str, typer.Option("--because", help="Why.", show_default=False)],
    person: PersonOption = None,
) -> None:
    """Go back to the champion of before, in one step."""
    from medseg.models.registry.registry import CHAMPION, Registry

    moved = Registry(registry).roll_back(CHAMPION, person=person or getpass.getuser(), reason=reason)
    typer.echo(f"{registry}: the champion is version {moved.number} again ({moved.sha256[:12]})")
