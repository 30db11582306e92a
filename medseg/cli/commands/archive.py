"""`medseg archive`: ask the archives of medseg.toml by hand, and have a series of one, such as a prior."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.commands.service import ConfigOption, SetOption, service_settings

app = typer.Typer(
    help="Ask the archives of medseg.toml: do they answer, what have they of a patient; fetch a series.",
    no_args_is_help=True,
)

FromOption = Annotated[
    str, typer.Option("--from", metavar="NAME", help="[archive], or one of [[destinations]] by its name.")
]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="The study's UID.", show_default=False)]
SeriesArgument = Annotated[str, typer.Argument(metavar="SERIES", help="The series' UID.", show_default=False)]


@app.command()
def echo(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them.  [default: all]")] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Ask whether they answer, by QIDO or C-ECHO. Exit code 2 where one does not."""
    wanted = service_settings(config, settings)
    from medseg.core.errors import InputError, MedsegError
    from medseg.workflows.service.intake.ask_archive import ask, node_of, nodes

    chosen = nodes(wanted) if name is None else {name: node_of(wanted, name)}
    silent = []
    for one, node in chosen.items():
        try:
            ask(node, wanted)
            typer.echo(f"{one}: it answers")
        except MedsegError as error:
            typer.echo(f"{one}: {error}")
            silent.append(one)
    if silent or not chosen:
        raise InputError(f"these do not answer: {', '.join(silent)}" if silent else "medseg.toml names no archive")


@app.command()
def find(
    patient: Annotated[str, typer.Argument(metavar="PATIENT", help="The patient's number.", show_default=False)],
    name: FromOption = "archive",
    date: Annotated[str, typer.Option("--date", metavar="YYYYMMDD", help="Only studies of that day.")] = "",
    modality: Annotated[str, typer.Option("--modality", help="Only series of it: CT, MR, PT, SEG ...")] = "",
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """List the series of a patient, the newest study first, by QIDO or C-FIND; each with the UIDs that fetch takes."""
    wanted = service_settings(config, settings)
    from medseg.workflows.scans.fetch_scans import MOST_STUDIES
    from medseg.workflows.service.intake.ask_archive import find as workflow
    from medseg.workflows.service.intake.ask_archive import node_of

    count = 0
    found = workflow(node_of(wanted, name), wanted, patient, date)
    for study in found.studies:
        for series in study.series:
            if modality in ("", series.modality):
                count += 1
                images = "" if series.instance_count is None else f"{series.instance_count} images"
                typer.echo(
                    "  ".join(one for one in (study.study.date, series.modality, images, series.description) if one)
                )
                typer.echo(f"    {series.study_uid} {series.series_uid}")
    typer.echo(f"{count} series")
    if found.is_cut:
        typer.echo(f"the archive lists more than {MOST_STUDIES} studies; name a day with --date", err=True)


@app.command()
def fetch(
    study: StudyArgument,
    series: SeriesArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.", show_default=False)],
    name: FromOption = "archive",
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Fetch a series by DICOMweb into a new folder, whole or not at all."""
    wanted = service_settings(config, settings)
    from medseg.workflows.service.intake.ask_archive import fetch as workflow
    from medseg.workflows.service.intake.ask_archive import node_of

    count = workflow(node_of(wanted, name), wanted, study, series, output)
    typer.echo(f"{output}: {count} images")


@app.command()
def move(
    study: StudyArgument,
    series: SeriesArgument,
    name: FromOption,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Have an archive send a series (C-MOVE) to our listener, where the running service treats it by its routes."""
    wanted = service_settings(config, settings)
    from medseg.workflows.service.intake.ask_archive import move as workflow
    from medseg.workflows.service.intake.ask_archive import node_of

    count = workflow(node_of(wanted, name), wanted, study, series)
    typer.echo(f"{count} images were sent to the listener; `medseg status` says what becomes of them")
