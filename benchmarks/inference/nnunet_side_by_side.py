"""Segmenting one scan with medseg and with nnU-Net v2's predictor: the same network and weights, the same machine.

    python benchmarks/inference/nnunet_side_by_side.py --root DATA --nnunet-python /path/to/venv/bin/python
    python benchmarks/inference/nnunet_side_by_side.py --model BUNDLE --image SCAN --nnunet-python PYTHON

The scan is brought to 512 x 512 x 300 voxels (int16, NIfTI): the image over its own field of view; or, without one, a
made mosaic: a held-out hippocampus MR of MSD Task04 at 0.5 mm, repeated and mirrored in all directions, which is a fair
load but no fair picture, since windows contradict each other where nothing like it was trained on. The network goes to
nnU-Net as TorchScript, with the model's patch, spacing, normalisation and mirror images, its windows overlapping by
half. Each tool runs in a process of its own, end to end: load the model, read, resample, predict, resample back, write.

medseg runs twice: as the model says, and by nnU-Net's ways (logits averaged and interpolated, its Gaussian, images by
cubic splines without a blur), which is the run whose mask should be nnU-Net's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SCAN = "scan.nii.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="Where msd_task04_hippocampus lies.")
    parser.add_argument("--model", default="hippocampus_mr", help="A bundle's folder, or a shipped name.")
    parser.add_argument("--image", type=Path, help="A scan that the model is for, instead of the mosaic.")
    parser.add_argument("--nnunet-python", type=Path, help="An interpreter that has nnunetv2.")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--child", choices=("model", "nnunet_ways", "nnunet"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        begin = time.perf_counter()
        if options.child == "nnunet":
            with_nnunet(options.folder)
        else:
            with_medseg(options.folder, options.child)
        seconds = {"seconds": time.perf_counter() - begin, "processor_s": time.process_time()}
        print(json.dumps({**seconds, "peak_mb": peak_mb()}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(options.model, folder)
        shape = tuple(options.shape)
        if options.image is None:
            make_mosaic(options.root, folder / SCAN, shape, 0.5)
        else:
            make_scan(options.image, folder / SCAN, shape)
        print(f"{options.model}, {' x '.join(map(str, shape))} voxels")
        print("| tool | seconds | processor s | peak | Dice to nnU-Net's mask, by label |\n|---|---|---|---|---|")
        theirs = run(options.nnunet_python, "nnunet", folder)
        told = f"{theirs['seconds']:.0f} | {theirs['processor_s']:.0f} | {theirs['peak_mb'] / 1e3:.2f} GB"
        print(f"| nnU-Net v2 | {told} | |", flush=True)
        for child, title in (("model", "medseg"), ("nnunet_ways", "medseg, by nnU-Net's ways")):
            ours = run(sys.executable, child, folder)
            dice = agreement(
                folder / child, folder / f"result_{child}" / "segmentation.nii.gz", folder / "nnunet.nii.gz"
            )
            faster, less, smaller = (theirs[key] / ours[key] for key in ("seconds", "processor_s", "peak_mb"))
            told = f"{ours['seconds']:.0f} ({faster:.1f} x faster) | {ours['processor_s']:.0f} ({less:.1f} x less)"
            print(f"| {title} | {told} | {ours['peak_mb'] / 1e3:.2f} GB (1/{smaller:.1f}) | {dice} |", flush=True)


def run(python: Path | str, child: str, folder: Path) -> dict[str, float]:
    command = [str(python), __file__, "--child", child, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("this system does not tell the memory of a process")


def make_scan(image: Path, path: Path, shape: tuple[int, ...]) -> None:
    """The scan on so many voxels, over the field of view that it has."""
    from medseg.exchange.nifti import write_nifti
    from medseg.exchange.read import read_scan
    from medseg.imaging.resample import resample_volume

    volume = read_scan(image).volume.reoriented("RAS")
    have = volume.geometry
    fine = have.with_spacing([n * mm / m for n, mm, m in zip(have.shape, have.spacing_mm, shape, strict=True)])
    write_nifti(resample_volume(volume, fine).array.round().astype(np.int16), fine, path)


def make_mosaic(root: Path, path: Path, shape: tuple[int, ...], spacing: float) -> None:
    from medseg.core.geometry import Geometry
    from medseg.datasets.manifest import read_manifest
    from medseg.exchange.nifti import write_nifti
    from medseg.exchange.read import read_scan
    from medseg.imaging.resample import resample_volume

    manifests = Path(__file__).resolve().parents[2] / "data_manifests"
    case = read_manifest(manifests / "msd_task04_hippocampus", root).validation(0)[0]
    volume = read_scan(next(iter(case.channels.values()))).volume.reoriented("RAS")
    fine = resample_volume(volume, volume.geometry.with_spacing((spacing,) * 3)).array
    tile = fine.round().astype(np.int16)
    for axis in range(3):
        tile = np.concatenate([tile, np.flip(tile, axis)], axis=axis)
    repeats = [-(-n // side) for n, side in zip(shape, tile.shape, strict=True)]
    array = np.tile(tile, repeats)[: shape[0], : shape[1], : shape[2]]
    write_nifti(array, Geometry.from_spacing(array.shape, (spacing,) * 3), path)


def export(model: str, folder: Path) -> None:
    """The model, a copy that goes nnU-Net's ways, and its network for nnU-Net: axes in SimpleITK's order (k, j, i)."""
    import torch

    from medseg.models.bundle import load_bundle, save_bundle
    from medseg.models.store import find_model
    from medseg.models.trained_network import trained_network

    bundle = load_bundle(find_model(Path(model)))
    spec, network = bundle.spec, trained_network(bundle)
    window = spec.window.model_copy(update={"average": "logits", "blend": "nnunet"})
    preparation = spec.preparation.model_copy(update={"interpolation": "cubic", "anti_alias": False})
    ways = spec.model_copy(update={"window": window, "preparation": preparation})
    save_bundle(folder / "model", spec, bundle.weights, bundle.provenance, None)
    save_bundle(folder / "nnunet_ways", ways, bundle.weights, bundle.provenance, None)

    class Turned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.network(images.permute(0, 1, 4, 3, 2))[0]
            return scores.permute(0, 1, 4, 3, 2)

    patch = spec.window.patch[::-1]
    traced = torch.jit.trace(Turned(), torch.zeros(1, 1, *patch))
    torch.jit.save(traced, folder / "network.pt")
    settings = {"patch": patch, "spacing": spec.preparation.spacing_mm[::-1]}
    settings["mirror_axes"] = [2 - axis for axis in spec.window.mirror_axes]
    settings["labels"] = {"background": 0, **{label.name: label.index for label in spec.task.labels}}
    settings["normalization"] = spec.preparation.normalization[0].model_dump()
    (folder / "settings.json").write_text(json.dumps(settings))


def with_medseg(folder: Path, model: str) -> None:
    from medseg.workflows.segmenting.segment_study import open_bundle, segment_study

    bundle = open_bundle(folder / model)
    channel = bundle.spec.task.channels[0].name
    segment_study({channel: folder / SCAN}, bundle, folder / f"result_{model}", device="cpu")


def with_nnunet(folder: Path) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    settings = json.loads((folder / "settings.json").read_text())
    scale = settings["normalization"]
    is_ct = scale["kind"] == "fixed_scale"
    of_ct = {"percentile_00_5": "lower", "percentile_99_5": "upper", "mean": "mean", "std": "sd"}
    scheme = "CTNormalization" if is_ct else "ZScoreNormalization"
    intensities = {theirs: scale[ours] for theirs, ours in of_ct.items()} if is_ct else {}
    resample = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    of_seg = {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}
    of_scores = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "made", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": settings["patch"], "median_image_size_in_voxels": settings["patch"],
        "spacing": settings["spacing"], "normalization_schemes": [scheme],
        "use_mask_for_norm": [False], "batch_dice": False,
        "resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_data_kwargs": resample,
        "resampling_fn_seg": "resample_data_or_seg_to_shape", "resampling_fn_seg_kwargs": of_seg,
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": of_scores,
        "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
    }  # fmt: skip
    plans = {
        "dataset_name": "Dataset004_Hippocampus", "plans_name": "made", "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "original_median_spacing_after_transp": settings["spacing"], "experiment_planner_used": "none",
        "label_manager": "LabelManager", "foreground_intensity_properties_per_channel": {"0": intensities},
        "configurations": {"3d_fullres": configuration},
    }  # fmt: skip
    names = {"0": "CT" if is_ct else "MR"}
    dataset = {"channel_names": names, "labels": settings["labels"], "file_ending": ".nii.gz"}
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=bool(settings["mirror_axes"]),
        perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False,
    )  # fmt: skip
    network = torch.jit.load(folder / "network.pt")
    predictor.manual_initialization(
        network, PlansManager(plans), PlansManager(plans).get_configuration("3d_fullres"), [network.state_dict()],
        dataset, "nnUNetTrainer", tuple(settings["mirror_axes"]),
    )  # fmt: skip
    predictor.predict_from_files_sequential([[str(folder / SCAN)]], [str(folder / "nnunet.nii.gz")], overwrite=True)


def agreement(model: Path, one: Path, two: Path) -> str:
    from medseg.exchange.read import read_label_map
    from medseg.models.bundle import load_bundle

    schema = load_bundle(model).spec.task.label_schema
    first, second = (np.asarray(read_label_map(path, schema).reoriented("RAS").array) for path in (one, two))
    values = []
    for label in schema.labels:
        a, b = first == label.index, second == label.index
        values.append(f"{2 * int((a & b).sum()) / max(1, int(a.sum()) + int(b.sum())):.4f}")
    return ", ".join(values)


if __name__ == "__main__":
    main()
