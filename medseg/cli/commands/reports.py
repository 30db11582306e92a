"""Commands about what leaves: a result in other formats, and images without the patient's name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.options import LabelOption


class Format(StrEnum):
    """Formats by name; a test holds the list against the writers."""

    JSON = "json"
    CSV = "csv"
    NIFTI = "nifti"
    NRRD = "nrrd"
    PDF = "pdf"
    RADIOMICS = "radiomics"
    DICOM_SEG = "dicom-seg"
    DICOM_SR = "dicom-sr"
    RTSTRUCT = "rtstruct"
    DICOM_MAP = "dicom-map"
    DICOM_PDF = "dicom-pdf"
    DICOM_PICTURES = "dicom-pictures"


def report(
    result: Annotated[Path, typer.Argument(help="A result folder of `medseg segment`.", show_default=False)],
    formats: Annotated[
        list[Format],
        typer.Option("--format", "-f", help="A format; give it again for several.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A new folder.  [default: the result folder]", show_default=False),
    ] = None,
    probability: Annotated[
        Path | None,
        typer.Option(
            "--probability",
            help="The probability of each voxel, for dicom-map.  [default: what `medseg segment --probabilities` kept]",
            show_default=False,
        ),
    ] = None,
    label: LabelOption = None,
    uses_model_mask: Annotated[
        bool, typer.Option("--model-mask", help="Take the model's own mask, also where a reader's was accepted.")
    ] = False,
    reviews: Annotated[
        Path | None,
        typer.Option(
            "--reviews", help="The folder of the readers' records.  [default: as the viewer]", show_default=False
        ),
    ] = None,
) -> None:
    """Write a result in other formats, with the mask that a reader accepted; each object is read back and compared."""
    from medseg.workflows.results.report_study import ReportOptions, report_study

    options = ReportOptions(uses_model_mask, probability, label, reviews)
    for path in report_study(result, [one.value for one in formats], output, options):
        typer.echo(path)


def deidentify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A DICOM file or folder.", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.", show_default=False)],
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            help="A file with the secret that pseudonyms follow from; made where there is none. Keep it safe.  "
            "[default: a secret that is thrown away]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write DICOM images without what names the patient, and search every byte written for what named them."""
    from medseg.workflows.scans.deidentify_scans import deidentify_scans

    done = deidentify_scans(source, target, key)
    for file, reason in done.left_out:
        typer.echo(f"left out: {file}: {reason}")
    typer.echo(f"{target}: {done.written} images without the patient's name, {len(done.left_out)} files left out")


COMMANDS = (report, deidentify)
