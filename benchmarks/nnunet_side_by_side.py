"""Segmenting one scan with medseg and with nnU-Net v2's predictor: the same network and weights, the same machine.

    python benchmarks/nnunet_side_by_side.py --root DATA --nnunet-python /path/to/venv/bin/python

The scan is 512 x 512 x 300 voxels of 0.5 mm (int16, NIfTI): a held-out hippocampus MR of MSD Task04 resampled to half
its spacing and repeated, mirrored, in all directions. The network is that of the shipped model hippocampus_mr, at 1 mm,
its windows overlapping by half and seen in two mirror images, as TorchScript for nnU-Net. Each tool runs in a process
of its own, end to end: load the model, read, resample, predict, resample back, write. A second scan, at the model's own
spacing, shows how far the masks agree where nothing is resampled (nnU-Net resamples images by cubic splines, medseg
linearly).
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

MODEL = "hippocampus_mr"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="Where msd_task04_hippocampus lies.")
    parser.add_argument("--nnunet-python", type=Path, help="An interpreter that has nnunetv2.")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--child", choices=("medseg", "nnunet"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--scan", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        begin = time.perf_counter()
        (with_medseg if options.child == "medseg" else with_nnunet)(options.folder, options.scan)
        print(json.dumps({"seconds": time.perf_counter() - begin, "peak_mb": peak_mb()}))
        return
    print("| scan | tool | seconds | peak | Dice of the masks |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(folder)
        large = tuple(options.shape)
        small = tuple(n // 2 for n in large)
        for title, shape, spacing in (("resampled", large, 0.5), ("at the model's spacing", small, 1.0)):
            scan = folder / "scan.nii.gz"
            make_scan(options.root, scan, shape, spacing)
            ours = run(sys.executable, "medseg", folder, scan)
            theirs = run(options.nnunet_python, "nnunet", folder, scan)
            dice = agreement(folder / "medseg" / "segmentation.nii.gz", folder / "nnunet.nii.gz")
            text = " x ".join(map(str, shape))
            print(f"| {text}, {title} | medseg | {ours['seconds']:.0f} | {ours['peak_mb'] / 1e3:.2f} GB | |")
            print(
                f"| | nnU-Net v2 | {theirs['seconds']:.0f} ({theirs['seconds'] / ours['seconds']:.1f} x) | "
                f"{theirs['peak_mb'] / 1e3:.2f} GB ({theirs['peak_mb'] / ours['peak_mb']:.1f} x) | {dice} |",
                flush=True,
            )


def run(python: Path | str, child: str, folder: Path, scan: Path) -> dict[str, float]:
    command = [str(python), __file__, "--child", child, "--folder", str(folder), "--scan", str(scan)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def peak_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("this system does not tell the memory of a process")


def make_scan(root: Path, path: Path, shape: tuple[int, ...], spacing: float) -> None:
    from medseg.core.geometry import Geometry
    from medseg.datasets.manifest import read_manifest
    from medseg.exchange.nifti import write_nifti
    from medseg.exchange.read import read_scan
    from medseg.imaging.resample import resample_volume

    manifests = Path(__file__).resolve().parents[1] / "data_manifests"
    case = read_manifest(manifests / "msd_task04_hippocampus", root).validation(0)[0]
    volume = read_scan(next(iter(case.channels.values()))).volume.reoriented("RAS")
    fine = resample_volume(volume, volume.geometry.with_spacing((spacing,) * 3)).array
    tile = fine.round().astype(np.int16)
    for axis in range(3):
        tile = np.concatenate([tile, np.flip(tile, axis)], axis=axis)
    repeats = [-(-n // side) for n, side in zip(shape, tile.shape, strict=True)]
    array = np.tile(tile, repeats)[: shape[0], : shape[1], : shape[2]]
    write_nifti(array, Geometry.from_spacing(array.shape, (spacing,) * 3), path)


def export(folder: Path) -> None:
    """The network for nnU-Net: axes in SimpleITK's order (k, j, i), and what else its predictor asks for."""
    import torch

    from medseg.models.bundle import load_bundle
    from medseg.models.store import find_model
    from medseg.models.weights import set_weights

    bundle = load_bundle(find_model(MODEL))
    network = bundle.spec.network.build(1, bundle.spec.class_count)
    set_weights(network, bundle.weights)

    class Turned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.eval()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.network(images.permute(0, 1, 4, 3, 2))[0]
            return scores.permute(0, 1, 4, 3, 2)

    patch = bundle.spec.window.patch[::-1]
    traced = torch.jit.trace(Turned(), torch.zeros(1, 1, *patch))
    torch.jit.save(traced, folder / "network.pt")
    settings = {"patch": patch, "spacing": bundle.spec.preparation.spacing_mm[::-1]}
    settings["mirror_axes"] = [2 - axis for axis in bundle.spec.window.mirror_axes]
    settings["labels"] = {"background": 0, **{label.name: label.index for label in bundle.spec.task.labels}}
    (folder / "settings.json").write_text(json.dumps(settings))


def with_medseg(folder: Path, scan: Path) -> None:
    from medseg.workflows.segment_study import open_bundle, segment_study

    segment_study({"MR": scan}, open_bundle(MODEL), folder / "medseg", device="cpu")


def with_nnunet(folder: Path, scan: Path) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    settings = json.loads((folder / "settings.json").read_text())
    resample = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    of_seg = {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}
    of_scores = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "made", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": settings["patch"], "median_image_size_in_voxels": settings["patch"],
        "spacing": settings["spacing"], "normalization_schemes": ["ZScoreNormalization"],
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
        "label_manager": "LabelManager", "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"3d_fullres": configuration},
    }  # fmt: skip
    dataset = {"channel_names": {"0": "MR"}, "labels": settings["labels"], "file_ending": ".nii.gz"}
    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=True, perform_everything_on_device=False,
        device=torch.device("cpu"), allow_tqdm=False,
    )  # fmt: skip
    network = torch.jit.load(folder / "network.pt")
    predictor.manual_initialization(
        network, PlansManager(plans), PlansManager(plans).get_configuration("3d_fullres"), [network.state_dict()],
        dataset, "nnUNetTrainer", tuple(settings["mirror_axes"]),
    )  # fmt: skip
    predictor.predict_from_files_sequential([[str(scan)]], [str(folder / "nnunet.nii.gz")], overwrite=True)


def agreement(one: Path, two: Path) -> str:
    from medseg.core.task import load_task
    from medseg.exchange.read import read_label_map

    schema = load_task(MODEL).label_schema
    first, second = (np.asarray(read_label_map(path, schema).reoriented("RAS").array) for path in (one, two))
    values = []
    for label in schema.labels:
        a, b = first == label.index, second == label.index
        values.append(f"{2 * int((a & b).sum()) / max(1, int(a.sum()) + int(b.sum())):.4f}")
    return ", ".join(values)


if __name__ == "__main__":
    main()
