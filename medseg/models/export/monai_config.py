"""The two JSON files of a MONAI Bundle: what the model is (metadata.json), and how it is run (inference.json).

The steps are MONAI's own counterparts of medseg's: LoadImaged and Orientationd to RAS, Spacingd, the normalisation of
each channel, SlidingWindowInferer with the same window, overlap and Gaussian, Invertd back to the scan's grid, argmax.
Every `_target_` is MONAI's, torch's or Python's: the bundle runs where medseg is not installed.
"""

from __future__ import annotations

from typing import Any

import monai
import numpy as np
import torch

from medseg.core.report import NOT_FOR_DIAGNOSIS
from medseg.core.task import Channel
from medseg.imaging.preparing.normalize import FixedScale, NormalizationConfig
from medseg.imaging.preparing.preparation import SAME_SPACING_RATIO
from medseg.models.bundle import ModelBundle
from medseg.models.export.record import export_record, not_carried
from medseg.models.inference.sliding_window import GAUSSIAN_SIGMA
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec

Json = dict[str, Any]

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
"""The schema that MONAI's own bundles name."""

_VALUE_KINDS = {"CT": "hounsfield", "MR": "magnitude", "PT": "standardised uptake value"}


def metadata(bundle: ModelBundle) -> Json:
    """metadata.json, with what every export says of itself under `medseg`."""
    spec, origin = bundle.spec, bundle.provenance
    channels, patch = spec.task.channels, list(spec.window.patch)
    names = ["background", *(label.name for label in spec.task.labels)]
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported from the medseg bundle {bundle.sha256}"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"nibabel": "5.3.2", "pytorch-ignite": "0.5.2"},
        "name": bundle.name,
        "task": spec.task.title,
        "description": "; ".join([spec.task.title, *not_carried(spec)]),
        "authors": f"medseg {origin.medseg_version}",
        "copyright": f"data set {origin.dataset}: {origin.dataset_licence or 'licence not stated'}",
        "data_source": origin.dataset,
        "data_type": "nifti",
        "intended_use": NOT_FOR_DIAGNOSIS,
        "references": list(origin.dataset_citation),
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": _VALUE_KINDS.get(channels[0].modality, "magnitude"),
                    "modality": ", ".join(channel.modality for channel in channels),
                    "num_channels": len(channels),
                    "spatial_shape": patch,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {str(n): channel.name for n, channel in enumerate(channels)},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(names),
                    "spatial_shape": patch,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {str(n): name for n, name in enumerate(names)},
                }
            },
        },
        "medseg": export_record(bundle),
    }


def inference_config(spec: ModelSpec, network: UNet3DConfig) -> Json:
    """inference.json; `network` is the spec's. Scans are looked for in `dataset_dir`, masks go to `output_dir`."""
    keys = image_keys(spec.task.channels)
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "dataset_dir": "$os.path.join(@bundle_root, 'data')",
        "output_dir": "$os.path.join(@bundle_root, 'eval')",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        **_data(spec.task.channels, keys),
        "network_def": {
            "_target_": "monai.networks.nets.DynUNet",
            **network.dynunet_arguments(len(keys), spec.class_count),
        },
        "softmax": {"_target_": "torch.nn.Softmax", "dim": 1},
        # windows are blended as probabilities, as in medseg
        "network": "$torch.nn.Sequential(@network_def, @softmax).to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(spec, keys)},
        "dataset": {"_target_": "Dataset", "data": "@data", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(spec.window.patch),
            "sw_batch_size": 1,
            "overlap": spec.window.overlap,
            "mode": "gaussian" if spec.window.blend == "gaussian" else "constant",
            "sigma_scale": GAUSSIAN_SIGMA,
        },
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing(spec, keys[0])},
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$os.path.join(@bundle_root, 'models', 'model.pt')",
                "load_dict": {"model": "@network_def"},
                "map_location": "@device",
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def image_keys(channels: tuple[Channel, ...]) -> list[str]:
    """The key of each channel in MONAI's dictionaries: "image" where there is one, else one a channel."""
    return ["image"] if len(channels) == 1 else [f"image_{channel.name}" for channel in channels]


def _data(channels: tuple[Channel, ...], keys: list[str]) -> Json:
    """Which files are read: every .nii.gz, or with several channels <case>_<channel>.nii.gz of each case."""
    if len(keys) == 1:
        return {
            "datalist": "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii.gz')))",
            "data": "$[{'image': path} for path in @datalist]",
        }
    return {
        "channels": [channel.name for channel in channels],
        "image_keys": keys,
        "datalist": "$[sorted(glob.glob(os.path.join(@dataset_dir, f'*_{name}.nii.gz'))) for name in @channels]",
        "data": "$[dict(zip(@image_keys, paths)) for paths in zip(*@datalist, strict=True)]",
    }


def _preprocessing(spec: ModelSpec, keys: list[str]) -> list[Json]:
    spacing = spec.preparation.spacing_mm
    steps: list[Json] = [
        {"_target_": "LoadImaged", "keys": keys, "reader": "NibabelReader", "ensure_channel_first": True},
        {"_target_": "Orientationd", "keys": keys, "axcodes": "RAS", "labels": None},
        {
            "_target_": "Spacingd",
            "keys": keys,
            "pixdim": list(spacing),
            "mode": "bilinear",
            "padding_mode": "border",
            "min_pixdim": [length * (1 - SAME_SPACING_RATIO) for length in spacing],
            "max_pixdim": [length * (1 + SAME_SPACING_RATIO) for length in spacing],
        },
    ]
    steps += [_normalization(key, way) for key, way in zip(keys, spec.preparation.normalization, strict=True)]
    steps += _padding(spec, keys)
    if len(keys) > 1:  # at the very end: what is done to the channels is inverted by the history of the first
        steps.append({"_target_": "ConcatItemsd", "keys": keys, "name": "image"})
    return steps


def _padding(spec: ModelSpec, keys: list[str]) -> list[Json]:
    """A scan smaller than the window grows by the lowest value of each channel, as `medseg.imaging.preparing.padding`.

    MONAI's own ways of padding take another value, which costs up to 0.2 of Dice on the hippocampus, whose scans are
    smaller than the window; so it is padded with nan first, which is tracked and inverted, and filled afterwards.
    """
    fill = "$lambda x: torch.where(x.isnan(), x.nan_to_num(torch.inf).amin((1, 2, 3), keepdim=True), x)"
    return [
        {"_target_": "SpatialPadd", "keys": keys, "spatial_size": list(spec.window.patch), "value": "$torch.nan"},
        {"_target_": "Lambdad", "keys": keys, "func": fill},
    ]


def _normalization(key: str, way: NormalizationConfig) -> Json:
    if isinstance(way, FixedScale):
        return {
            "_target_": "ScaleIntensityRanged",
            "keys": key,
            "a_min": way.lower,
            "a_max": way.upper,
            "b_min": (way.lower - way.mean) / way.sd,
            "b_max": (way.upper - way.mean) / way.sd,
            "clip": True,
        }
    return {"_target_": "NormalizeIntensityd", "keys": key}


def _postprocessing(spec: ModelSpec, first_key: str) -> list[Json]:
    steps: list[Json] = [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": first_key,
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
    ]
    values = [label.index for label in spec.task.labels]
    if values != list(range(1, len(values) + 1)):
        steps.append(
            {
                "_target_": "MapLabelValued",
                "keys": "pred",
                "orig_labels": list(range(1, len(values) + 1)),
                "target_labels": values,
            }
        )
    steps.append(
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "segmentation",
            "output_dtype": "uint8" if max(values) < 256 else "uint16",
            "resample": False,
            "separate_folder": False,
        }
    )
    return steps
