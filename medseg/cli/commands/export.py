"""`medseg export`: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from medseg.cli.console import print_table

Format = Literal["onnx", "monai"]


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A bundle folder, or a shipped model's name.", show_default=False)
    ],
    to: Annotated[Format, typer.Option("--to", help="onnx: one file; monai: a MONAI Bundle.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The file, or for monai a folder or a .zip.", show_default=False),
    ],
) -> None:
    """Write a model for onnxruntime or MONAI, checked against torch; nothing is written where it is off."""
    from medseg.workflows.models.export_model import export_monai, export_onnx

    if to == "onnx":
        agreement, notes = export_onnx(model, output)
        rows = [
            ("windows compared with torch", str(agreement.windows)),
            ("largest difference of a probability", f"{agreement.probability_difference:.2g}"),
            ("voxels with the same class", f"{agreement.same_class_share:.4%}"),
        ]
    else:
        exported, notes = export_monai(model, output)
        rows = [
            ("network", exported.network),
            ("largest difference of a score", f"{exported.score_difference:.2g}"),
        ]
    print_table((f"export to {to}", str(output)), rows)
    for note in notes:
        typer.echo(f"note: {note}")


COMMANDS = (export,)
