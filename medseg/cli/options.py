"""Options that several commands share, each written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

Device = Literal["auto", "cpu", "cuda"]
InferenceDevice = Literal["auto", "cpu", "cuda", "openvino"]
Network = Literal["unet3d", "residual_unet3d", "fcn", "tiramisu", "pspnet", "deeplabv3", "cnn_crf"]


class Loss(StrEnum):
    """The losses by name; an enumeration, since typer takes no list of literals."""

    DICE = "dice"
    FOCAL = "focal"
    CROSS_ENTROPY = "cross_entropy"
    CENTRELINE_DICE = "centreline_dice"
    BOUNDARY = "boundary"


DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A manifest folder, an MSD or nnU-Net folder with dataset.json, or a folder of images/ and labels/.",
        show_default=False,
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root", help="Where the data of a manifest lies.  [default: beside the manifest]", show_default=False
    ),
]
FoldOption = Annotated[int, typer.Option("--fold", min=0, help="The fold that is held out from training.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="Where the network runs.")]
InferenceDeviceOption = Annotated[
    InferenceDevice,
    typer.Option("--device", help="Where the network runs; openvino: the processor, by the extra of that name."),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--minutes", min=0.1, help="Wall clock for the whole training.  [default: by epochs]", show_default=False
    ),
]
MemoryOption = Annotated[float, typer.Option("--memory-gb", min=0.5, help="Memory the training may use.")]
NetworkOption = Annotated[
    Network | None, typer.Option("--network", help="The network to plan for.  [default: unet3d]", show_default=False)
]
LossOption = Annotated[
    list[Loss] | None,
    typer.Option("--loss", help="A loss; give it again to sum several.  [default: dice and focal]", show_default=False),
]
TrackerOption = Annotated[
    Literal["tensorboard", "mlflow"] | None,
    typer.Option("--tracker", help="Where curves and scores are sent.  [default: tensorboard]", show_default=False),
]
TrackingUriOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri", help="The MLflow store.  [default: mlflow.db in the run folder]", show_default=False
    ),
]
ModelOption = Annotated[
    Path,
    typer.Option(
        "--model",
        help="A model: the folder of a bundle or an ensemble, a shipped name, or champion@REGISTRY.",
        show_default=False,
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        "--label", help="The label that dicom-map is of.  [default: the only counted one]", show_default=False
    ),
]
SeriesOption = Annotated[
    str | None,
    typer.Option(
        "--series", help="Of several DICOM series the one of this UID, number or description.", show_default=False
    ),
]
PhaseOption = Annotated[
    str | None, typer.Option("--phase", help="Of several phases of a series the one of this name.", show_default=False)
]
GapsOption = Annotated[
    bool, typer.Option("--allow-gaps", help="Fill missing DICOM slices by interpolation, with a warning.")
]
