"""A bundle as a MONAI Bundle, which MONAI's own loader runs without medseg.

    NAME/
      configs/metadata.json     what the model is
      configs/inference.json    how it is run, by `python -m monai.bundle run`; docs/README.md has the whole command
      models/model.pt           the weights
      docs/README.md            the model's card, and how to run it

model.pt is a pickle, written by torch.save, since MONAI's loader reads nothing else. It is the one pickle that medseg
writes, and medseg never reads it; it holds tensors by name and nothing more: torch.load(weights_only=True) takes it.

Only the 3D U-Net can leave this way: it is MONAI's own DynUNet. A config that named the class of another network would
need medseg wherever it is run, and there the bundle itself does better; or ONNX, which takes every network.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.bundle.config_parser import ConfigParser
from torch import Tensor, nn

from medseg.core.atomic import require_output_folder, whole_file, whole_folder
from medseg.core.errors import PlanError, StoreError
from medseg.models.bundle import ModelBundle
from medseg.models.card import model_card
from medseg.models.export.monai_config import Json, image_keys, inference_config, metadata
from medseg.models.export.record import not_carried
from medseg.models.networks.unet3d import UNet3D, UNet3DConfig
from medseg.models.spec import ModelSpec
from medseg.models.trained_network import biased, trained_network

METADATA, INFERENCE = Path("configs/metadata.json"), Path("configs/inference.json")
WEIGHTS, README = Path("models/model.pt"), Path("docs/README.md")


LARGEST_DIFFERENCE = 1e-4
"""Of a score between MONAI's network and medseg's. It is 0 but where a bias was added, which rounds another way."""

HEAD_BIAS = "output_block.conv.conv.bias"
"""Of DynUNet's last convolution, one number a class."""


@dataclass(frozen=True, slots=True)
class MonaiExport:
    """The class of the network in the config, and how far its scores are from medseg's on one window (0 is exact)."""

    network: str
    score_difference: float


def write_monai_bundle(bundle: ModelBundle, path: Path) -> MonaiExport:
    """The MONAI Bundle at `path`, a folder, or a zip where the path ends in .zip; whole or not at all.

    An older MONAI Bundle there is replaced, anything else is left alone. Raises PlanError for a network that MONAI does
    not have, InputError where other files stand at `path`, StoreError where the network made from the config computes
    anything else than medseg's.
    """
    spec = bundle.spec
    if not isinstance(spec.network, UNet3DConfig):
        raise PlanError(
            f"{bundle.name} is a {spec.network.kind}, which MONAI does not have; a MONAI Bundle can hold a unet3d. "
            "Export it with --to onnx, or train with --network unet3d."
        )
    if path.suffix != ".zip":
        require_output_folder(path, own=str(METADATA))
    network = trained_network(bundle)
    assert isinstance(network, UNet3D)
    config = inference_config(spec, spec.network)
    weights = _with_bias(network.network.state_dict(), spec.foreground_bias)
    difference = _score_difference(config, weights, biased(network, spec.foreground_bias), spec)
    if not difference <= LARGEST_DIFFERENCE:
        raise StoreError(
            f"the MONAI Bundle of {bundle.name} is not delivered: the network of its config differs from medseg's by "
            f"{difference:.2g} in a score. Is this the version of monai that medseg is tested with (constraints.txt)?"
        )
    contents = {
        METADATA: json.dumps(metadata(bundle), indent=1).encode(),
        INFERENCE: json.dumps(config, indent=1).encode(),
        WEIGHTS: _pickled(weights),
        README: _readme(bundle).encode(),
    }
    if path.suffix == ".zip":
        with whole_file(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as packed:
            for part, data in contents.items():  # below one folder, since MONAI unpacks a bundle where the zip lies
                packed.writestr(f"{path.stem}/{part.as_posix()}", data)
    else:
        with whole_folder(path) as folder:
            for part, data in contents.items():
                (folder / part).parent.mkdir(exist_ok=True)
                (folder / part).write_bytes(data)
    return MonaiExport(config["network_def"]["_target_"], difference)


def _with_bias(weights: dict[str, Tensor], bias: float) -> dict[str, Tensor]:
    """The weights with the spec's bias of the foreground taken from the background's own, which is the same."""
    if not bias:
        return weights
    head = weights[HEAD_BIAS].clone()
    head[0] -= bias
    return {**weights, HEAD_BIAS: head}


@torch.inference_mode()
def _score_difference(config: Json, weights: dict[str, Tensor], network: nn.Module, spec: ModelSpec) -> float:
    """How far the scores of the network that MONAI makes of the config are from medseg's, at most, on one window."""
    made = ConfigParser(json.loads(json.dumps(config))).get_parsed_content("network_def")
    made.load_state_dict(weights)
    generator = torch.Generator().manual_seed(0)
    window = torch.randn(1, len(spec.task.channels), *spec.window.patch, generator=generator)
    return float((made.eval()(window) - network(window)[0]).abs().max())


def _pickled(weights: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def _readme(bundle: ModelBundle) -> str:
    keys = image_keys(bundle.spec.task.channels)
    names = "every `.nii.gz`"
    if len(keys) > 1:
        names = "of each case " + ", ".join(f"`CASE_{channel.name}.nii.gz`" for channel in bundle.spec.task.channels)
    lost = "".join(f"- {note}\n" for note in not_carried(bundle.spec))
    return f"""{model_card(bundle)}
## How to run it

```sh
python -m monai.bundle run --config_file NAME/configs/inference.json --bundle_root NAME \\
    --dataset_dir SCANS --output_dir MASKS
```

It reads {names} in SCANS and writes a mask of each on the scan's own grid. It needs monai, pytorch-ignite, nibabel and
fire; medseg is not needed. CT must be in HU, PET in SUV.

The masks are not voxel for voxel medseg's:

- MONAI moves windows by whole steps and pushes the last one back; medseg spreads them evenly.
- MONAI does not blur a scan before it is made coarser; medseg does where the step is more than half a voxel longer.
{lost}"""
