"""`medseg vessels`: blockages found, counted and graded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from medseg.cli.console import print_table, shown_progress
from medseg.cli.options import GapsOption, InferenceDeviceOption, PhaseOption, SeriesOption
from medseg.core.errors import InputError

if TYPE_CHECKING:
    from medseg.analysis.vessels.findings.report import VesselReport


def vessels(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SCAN|MAP",
            help="With --model or --classical a scan; else a map of vessel probabilities, or a mask.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Find the vessels with this model: vessels_cta, vessels_mra, or a folder."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="The scan, for calibres that a mask cannot tell.", show_default=False)
    ] = None,
    label: Annotated[
        list[int] | None, typer.Option("--label", help="A value of the mask that is vessel; may be given again.")
    ] = None,
    prefer_image: Annotated[
        bool, typer.Option("--prefer-image", help="Take calibres from the image, not from probabilities.")
    ] = False,
    kind: Annotated[
        Literal["artery", "vein"], typer.Option("--kind", help="What vessels these are; in veins clots are looked for.")
    ] = "artery",
    classical: Annotated[
        bool, typer.Option("--classical", help="Take the scan's bright tubes for vessels, without a model.")
    ] = False,
    left_ostium: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            "--left-ostium", help="x y z (RAS+ mm) where the left coronary artery starts; names its segments."
        ),
    ] = None,
    right_ostium: Annotated[
        tuple[float, float, float] | None, typer.Option("--right-ostium", help="The same of the right coronary artery.")
    ] = None,
    series: SeriesOption = None,
    phase: PhaseOption = None,
    allow_gaps: GapsOption = False,
    device: InferenceDeviceOption = "auto",
) -> None:
    """Find, count and grade blockages of vessels: tree, percentages with intervals, CAD-RADS and NASCET, pictures."""
    from medseg.analysis.vessels.findings.segments import Ostia
    from medseg.exchange.scan import Mends
    from medseg.workflows.segmenting.find_blockages import find_blockages, find_blockages_of_scan
    from medseg.workflows.segmenting.segment_study import open_bundle

    if (left_ostium is None) != (right_ostium is None):
        raise InputError("segments are named from both ostia: give --left-ostium and --right-ostium, or neither")
    ostia = Ostia(left_ostium, right_ostium) if left_ostium and right_ostium else None
    if model is not None and (image or label or prefer_image or classical or kind == "vein"):
        raise InputError("--model finds the vessels of arteries in the scan itself: give no other choices of a map")
    with shown_progress() as progress:
        if model is not None:
            mends = Mends(series, phase, allow_gaps)
            report = find_blockages_of_scan(
                source, open_bundle(model), output, mends=mends, device=device, ostia=ostia, progress=progress
            )
        else:
            report = find_blockages(
                source,
                output,
                image=image,
                labels=tuple(label or ()),
                prefer_image=prefer_image,
                kind=kind,
                is_scan=classical,
                ostia=ostia,
                progress=progress,
            )
    print_blockages(report)
    review = len(report.blockages) - len(report.confident)
    counts = f"{len(report.confident)} confident, {review} for review"
    typer.echo(f"{output}: blockages: {'not assessable' if report.not_assessable else counts}")


def print_blockages(report: VesselReport) -> None:
    """The blockages as a table, and what to beware of."""
    from medseg.core.report import NOT_FOR_DIAGNOSIS

    rows = [
        (
            *(f"{b.number}", report.branch_name(b.branch), b.kind, f"{b.diameter_percent:.0f}"),
            *(
                f"{b.interval[0]:.0f} to {b.interval[1]:.0f}",
                b.cad_rads or "",
                f"{b.reference_diameter_mm:.1f}",
            ),
            *(", ".join(f"{x:.0f}" for x in b.centre_mm), b.confidence),
        )
        for b in report.blockages
    ]
    grade = f"CAD-RADS {report.cad_rads}; " if report.cad_rads is not None else ""
    header = ("blockage", "branch", "kind", "% diameter", "95 % interval", "CAD-RADS", "healthy mm", "x, y, z mm", "")
    print_table(header, rows, f"{grade}{report.length_mm / 1000:.2f} m of vessel assessed")
    for note in (*([report.not_assessable] if report.not_assessable else []), *report.warnings, NOT_FOR_DIAGNOSIS):
        typer.echo(f"note: {note}")


COMMANDS = (vessels,)
