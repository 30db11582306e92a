"""Commands about scans: segment, view, and the demonstration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.commands.reports import Format
from medseg.cli.console import print_table, shown_progress
from medseg.cli.options import (
    DeviceOption,
    GapsOption,
    InferenceDevice,
    InferenceDeviceOption,
    LabelOption,
    ModelOption,
    PhaseOption,
    SeriesOption,
)
from medseg.core.errors import InputError

if TYPE_CHECKING:
    from medseg.core.course import Course
    from medseg.core.report import Report
    from medseg.exchange.scan import Mends
    from medseg.models.inference.ensemble import Model

SHOWN_MEASUREMENTS = {
    "volume": "volume",
    "longest_axial_diameter": "longest",
    "perpendicular_axial_diameter": "across",
    "mean_probability": "probability",
    "mean_intensity": "mean",
    "maximum_intensity": "max",
}
"""Measurements in the table on the terminal, with their headings; findings.csv and report.json hold all."""

UNITS_FOR_PEOPLE = {"[hnsf'U]": "HU", "g/ml{SUVbw}": "SUV", "[arb'U]": "", "1": ""}
"""UCUM units as they are spoken."""


def segment(
    scans: Annotated[
        list[str],
        typer.Argument(
            metavar="SCAN...",
            help="A NIfTI, NRRD or MetaImage file, a DICOM file or folder, or a zip of one; "
            "for a model of several channels each as CHANNEL=PATH.",
            show_default=False,
        ),
    ],
    model: ModelOption,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The result folder.", show_default=False)
    ] = None,
    series: SeriesOption = None,
    phase: PhaseOption = None,
    allow_gaps: GapsOption = False,
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", "-f", help="Write this format too; give it again for several.", show_default=False),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Keep the probability of each voxel, a NIfTI file a label.")
    ] = False,
    label: LabelOption = None,
    within: Annotated[
        Path | None,
        typer.Option("--within", help="Look only around what this model finds: a folder, or a shipped name."),
    ] = None,
    margin_mm: Annotated[float, typer.Option("--margin", min=0, help="Margin around it in mm.")] = 20.0,
    device: InferenceDeviceOption = "auto",
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Say how long it would take and how much memory, then stop.")
    ] = False,
) -> None:
    """Segment a scan: the mask on the scan's own grid, and a table of what was found."""
    from medseg.exchange.scan import Mends
    from medseg.workflows.results.report_study import MAP, ReportOptions, report_study, require_map, require_writable
    from medseg.workflows.segmenting.segment_study import open_bundle, segment_study

    mends = Mends(series, phase, allow_gaps)
    sources = named_sources(scans)
    if forecast:
        print_forecast(sources, open_bundle(model), mends, device)
        return
    if output is None:
        raise InputError("no result folder was given. Name one with --output, or ask for a --forecast.")
    wanted = [one.value for one in formats or ()]
    for source in sources.values():
        require_writable(wanted, source)
    bundle, keeps = open_bundle(model), probabilities or MAP in wanted
    require_map(wanted, bundle.spec.task, label)
    with shown_progress() as progress:
        report = segment_study(
            sources,
            bundle,
            output,
            mends=mends,
            device=device,
            keeps_probabilities=keeps,
            within=None if within is None else open_bundle(within),
            margin_mm=margin_mm,
            progress=progress,
        )
    if wanted:
        report_study(output, wanted, options=ReportOptions(label=label))
    print_findings(report)
    peak = "" if report.peak_memory_mb is None else f", {report.peak_memory_mb / 1e3:.2f} GB at most"
    typer.echo(f"{output}: {len(report.findings)} findings in {report.duration_s:.1f} s{peak}")


def inspect(
    path: Annotated[Path, typer.Argument(help="A DICOM file, a folder, or any scan.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    pixels: Annotated[bool, typer.Option("--pixels", help="Read every volume whole, not only the headers.")] = False,
    series: SeriesOption = None,
    phase: PhaseOption = None,
    allow_gaps: GapsOption = False,
) -> None:
    """Say what studies, series and files lie under a path, and what would be read or refused, and why."""
    from medseg.exchange.scan import Mends
    from medseg.workflows.scans.inspect_scans import inspect_scans

    inspection = inspect_scans(path, with_pixels=pixels, mends=Mends(series, phase, allow_gaps))
    if as_json:
        typer.echo(inspection.model_dump_json(indent=1))
    else:
        header, *rows = inspection.table()
        print_table(header, rows)


def follow_up(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT...", help="Result folders of one patient's scans, two or more.", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", show_default=False)],
    is_deformable: Annotated[
        bool, typer.Option("--deformable/--rigid", help="Whether scans are also bent onto each other, as breath does.")
    ] = True,
) -> None:
    """Follow lesions over time: matched, merged, split, new, vanished; growth; and the response by RECIST 1.1."""
    from medseg.core.report import NOT_FOR_DIAGNOSIS
    from medseg.workflows.results.follow_up import follow_up as workflow

    with shown_progress() as progress:
        found = workflow(results, output, is_deformable=is_deformable, progress=progress)
    print_course(found.course)
    for warning in (*found.warnings, NOT_FOR_DIAGNOSIS):
        typer.echo(f"note: {warning}")
    typer.echo(f"{output}: {len(found.course.tracks)} lesions over {len(found.course.dates)} scans")


def view(
    folder: Annotated[Path, typer.Argument(help="A result folder, or a folder of them.", show_default=False)],
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to serve on.")] = 8501,
    models: Annotated[
        Path | None, typer.Option(help="A folder below which models lie that the page may run.", show_default=False)
    ] = None,
    access: Annotated[
        Path | None, typer.Option(help="A file that says who may log in, and in which role.", show_default=False)
    ] = None,
    address: Annotated[str, typer.Option(help="The address to serve at; another one needs --access.")] = "127.0.0.1",
    config: Annotated[
        Path | None,
        typer.Option(help="A medseg.toml that names archives to use.", show_default=False),
    ] = None,
) -> None:
    """Open the viewer on results, in the browser; on this machine only unless told otherwise."""
    from medseg.core.extras import VIEWER_PACKAGES, require_extra

    require_extra("the viewer", "viewer", VIEWER_PACKAGES)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a result folder of `medseg segment`, or a folder of them")
    command = [sys.executable, "-m", "apps.viewer", str(folder), "--port", str(port)]
    for option, given in (("--models", models), ("--access", access), ("--config", config)):
        command += [option, str(given)] if given is not None else []
    command += ["--address", address]
    try:
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def demo(
    output: Annotated[Path, typer.Argument(help="Where data, run and results go.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(min=0.2, help="How long to train.")] = 6.0,
    open_viewer: Annotated[
        bool, typer.Option("--view/--no-view", help="Whether to open the viewer at the end.")
    ] = True,
    device: DeviceOption = "auto",
) -> None:
    """Make studies, train on them, segment held-out DICOM studies, compare with the truth, and look at them."""
    from medseg.cli.commands.training import print_case, print_evaluation
    from medseg.workflows.demonstrate import demonstrate

    with shown_progress() as progress:
        shown = demonstrate(output, minutes=minutes, device=device, progress=progress)
    print_evaluation(shown.model.evaluation)
    for study in shown.studies:
        print_findings(study.report)
        print_case(study.scores)
    typer.echo(f"results: {output / 'studies'}")
    if open_viewer:
        view(output / "studies")


def named_sources(scans: list[str]) -> dict[str, Path]:
    """CHANNEL=PATH pairs, or the one path of a task with one channel. Raises InputError where a channel is unclear."""
    if len(scans) == 1 and ("=" not in scans[0] or Path(scans[0]).exists()):
        return {"scan": Path(scans[0])}
    sources: dict[str, Path] = {}
    for text in scans:
        name, equals, path = text.partition("=")
        if not equals or not name or name in sources:
            raise InputError(f"several scans are given as CHANNEL=PATH, each channel once; got {text!r}")
        sources[name] = Path(path)
    return sources


def print_forecast(sources: dict[str, Path], bundle: Model, mends: Mends, device: InferenceDevice) -> None:
    """How many windows, seconds and gigabytes `segment` would take, in a line; and what the memory grows with."""
    from medseg.workflows.segmenting.forecast_study import forecast_study

    with shown_progress() as progress:
        told = forecast_study(sources, bundle, mends=mends, device=device, progress=progress)
    typer.echo(
        f"{told.windows} windows, about {told.seconds:.0f} s to read and segment, "
        f"at most about {told.peak_memory_mb / 1e3:.2f} GB of memory"
    )
    if told.is_whole:
        typer.echo("note: the model's refinement needs the scores of all classes and voxels in memory at once")


def print_findings(report: Report) -> None:
    """The findings, a row each, with the measurements people look at first; then what to beware of."""
    units = {m.name: m.unit for finding in report.findings for m in finding.measurements}
    shown = {name: title for name, title in SHOWN_MEASUREMENTS.items() if name in units}
    rows = []
    for finding in report.findings:
        values = [finding.value(name) for name in shown]
        place = ", ".join(f"{length:.0f}" for length in finding.centroid_mm)
        cells = ["" if value is None else f"{value:.2f}" for value in values]
        rows.append((f"{finding.label.name.replace('_', ' ')} {finding.instance}", *cells, place))
    header = [f"{title} {UNITS_FOR_PEOPLE.get(units[name], units[name])}".strip() for name, title in shown.items()]
    title = f"{report.task.title}; model {report.model.name} ({report.model.sha256[:12]})"
    print_table(("finding", *header, "centre x, y, z mm"), rows, title)
    for warning in (*report.warnings, *report.limitations):
        typer.echo(f"note: {warning}")


def print_course(course: Course) -> None:
    """Every lesion's longest diameter and volume at each scan, then the response at each with its rule."""
    dates = [when.isoformat() if when else f"scan {n}" for n, when in enumerate(course.dates, start=1)]
    rows = []
    for track in course.tracks:
        sizes = zip(track.instances, track.diameters_mm, track.volumes_ml, strict=True)
        cells = [f"{length:.1f} mm, {volume:.2f} ml" if there else "–" for there, length, volume in sizes]
        role = "target" if track.name in course.targets else ("new" if track.first_seen else "")
        rows.append((track.name.replace("_", " "), role, *cells))
    print_table(("lesion", "", *dates), rows)
    for response in course.responses:
        reasons = [response.rule, *([response.target.rule] if response.target else [])]
        typer.echo(f"{dates[response.visit]}: {response.overall} ({'; '.join(reasons)})")


COMMANDS = (segment, inspect, follow_up, view, demo)
