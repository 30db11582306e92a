"""`medseg data`: check, list and fetch data sets; make phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medseg.cli.console import print_table, shown_progress
from medseg.cli.options import DataArgument, RootOption

app = typer.Typer(help="Check, list, fetch and make data sets.", no_args_is_help=True)


@app.command()
def check(
    data: DataArgument,
    root: RootOption = None,
    checksums: Annotated[bool, typer.Option(help="Whether to compare the sha256 of every file.")] = True,
) -> None:
    """Read every case of a data set and say what is wrong with it; exit code 2 where anything is."""
    from medseg.workflows.scans.data_sets import check_data_set, open_data_set

    with shown_progress() as progress:
        manifest = open_data_set(data, root)
        checked = check_data_set(manifest, checksums=checksums, progress=progress)
    print_table(("data set", manifest.facts.name), checked.overview())
    for problem in checked.problems:
        typer.echo(str(problem))
    if checked.problems or not checked.cases:
        typer.secho(
            f"medseg: {len(checked.problems)} problems in {manifest.facts.name}"
            + ("" if checked.cases else "; not a single case could be read"),
            fg=typer.colors.RED,
            err=True,
        )
        raise typer.Exit(2)
    typer.echo(f"{manifest.facts.name}: no problems in {len(checked.cases)} cases")


@app.command(name="list")
def list_(
    data: DataArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest folder to write.", show_default=False)],
    root: RootOption = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            "--folds",
            help="nnU-Net's splits_final.json.  [default: beside the data or in nnUNet_preprocessed, else made]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a manifest (cases, folds by subject, checksums) for a data set."""
    from medseg.workflows.scans.data_sets import list_data_set, open_data_set

    with shown_progress() as progress:
        manifest = list_data_set(open_data_set(data, root, splits), output, progress)
    cases, folds = len(manifest.rows), len(manifest.folds)
    typer.echo(f"{output}: {cases} cases in {folds} folds; their files lie in {manifest.data_folder}")
    for note in manifest.facts.notes:
        typer.echo(f"note: {note}")


@app.command()
def export(
    data: DataArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to make, as Dataset101_Name.", show_default=False)
    ],
    layout: Annotated[Literal["nnunet"], typer.Option("--layout", help="How the folder is laid out.")] = "nnunet",
    root: RootOption = None,
) -> None:
    """Write a data set as nnU-Net's folder of raw data, with the same folds, to run it side by side."""
    from medseg.workflows.scans.data_sets import export_nnunet, open_data_set

    del layout  # the only one so far
    with shown_progress() as progress:
        count = export_nnunet(open_data_set(data, root), output, progress)
    typer.echo(f"{output}: {count} cases; copy splits_final.json into nnUNet_preprocessed/{output.name} for its folds")


@app.command()
def fetch(
    manifest_folder: Annotated[Path, typer.Argument(metavar="MANIFEST", help="A manifest folder.", show_default=False)],
    root: Annotated[Path, typer.Option("--root", help="Where the data is to lie.", show_default=False)],
) -> None:
    """Download a data set as its manifest says, with resume and checksums."""
    from medseg.workflows.scans.data_sets import fetch_data_set, open_data_set

    with shown_progress() as progress:
        manifest = open_data_set(manifest_folder, root)
        count = fetch_data_set(manifest, progress)
    typer.echo(f"{manifest.facts.name}: {count} downloaded, the data is in {manifest.data_folder}")


@app.command()
def phantoms(
    output: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    cases: Annotated[int, typer.Option(min=5, help="Studies to train on, as NIfTI.")] = 20,
    held_out: Annotated[int, typer.Option(min=0, help="Studies to test on, as NIfTI and DICOM.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other patients.")] = 0,
) -> None:
    """Make CT studies whose organ, lesions, vessels and narrowings are known by formula."""
    from medseg.workflows.demonstrate import make_phantoms

    with shown_progress() as progress:
        manifest = make_phantoms(output, cases=cases, held_out=held_out, seed=seed, progress=progress)
    typer.echo(f"{output}: {len(manifest.rows)} made studies")


@app.command()
def vessels(
    output: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    modality: Annotated[Literal["CT", "MR"], typer.Option(help="CT angiograms, or time-of-flight MR.")] = "CT",
    cases: Annotated[int, typer.Option(min=5, help="Studies to make, as NIfTI.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other patients.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share the work.")] = 1,
    stents: Annotated[float, typer.Option(min=0, max=1, help="The share of narrowings that lie in a stent.")] = 0.0,
) -> None:
    """Make angiograms to train on, whose open lumen and narrowings are known by formula."""
    from medseg.workflows.scans.data_sets import make_vessels

    with shown_progress() as progress:
        manifest = make_vessels(
            output, modality, cases=cases, seed=seed, processes=processes, stented_share=stents, progress=progress
        )
    typer.echo(f"{output}: {len(manifest.rows)} made angiograms")
