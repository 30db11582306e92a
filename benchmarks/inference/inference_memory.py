"""Peak resident memory of `segment_study` against the size of the scan, with 25 classes.

    python benchmarks/inference/inference_memory.py --output docs/images/inference_memory.png

Each row is a process of its own that reads a made CT (int16, NIfTI), segments it with a small U-Net of random weights
in windows of 96 x 96 x 96, measures its findings and writes mask and report; its peak is the kernel's (VmHWM).
"Spacing" is the model's over the scan's. "All scores" is what one float32 copy of the scores of all classes would take,
and "in memory" the peak where they lie in memory as a whole, without findings; run where they fit into `--whole-gb`.
The forecast is that of `medseg segment --forecast` in a process before; it does not count findings and writing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

CLASSES = 25
PATCH = (96, 96, 96)
SIZES = ((256, 256, 100), (512, 512, 200), (512, 512, 800))
RATIOS = (1.0, 2.0)
OVERLAP = 0.0
"""Of the usual half the memory is the same, and the windows are six times as many."""


@dataclass(frozen=True)
class Measured:
    """Resident memory before the scan is read, the peak, and seconds from one to the end."""

    start_mb: float
    peak_mb: float
    seconds: float


def resident_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("this system does not tell the memory of a process")


def make_scan(shape: tuple[int, int, int], path: Path) -> None:
    """A round body of blocks of tissue in air, HU in int16, spacing 0.75 mm."""
    from medseg.core.geometry import Geometry
    from medseg.exchange.nifti import write_nifti

    generator = np.random.default_rng(0)
    blocks = generator.integers(-150, 250, (4, 4, 4)).repeat(24, 0).repeat(24, 1).repeat(24, 2)
    texture = (blocks + generator.integers(-20, 20, blocks.shape)).astype(np.int16)
    array = np.empty(shape, dtype=np.int16, order="F")
    i, j = (np.linspace(-1, 1, n) for n in shape[:2])
    body = (i[:, None] / 0.9) ** 2 + (j[None, :] / 0.7) ** 2 <= 1
    repeats = [-(-n // side) for n, side in zip(shape, texture.shape, strict=True)]
    plane_stack = np.tile(texture, (repeats[0], repeats[1], 1))[: shape[0], : shape[1]]
    for k in range(shape[2]):
        array[:, :, k] = np.where(body, plane_stack[:, :, k % texture.shape[2]], -1000)
    write_nifti(array, Geometry.from_spacing(shape, (0.75, 0.75, 0.75)), path)


def make_bundle(ratio: float):  # type: ignore[no-untyped-def]
    """A model of 24 organs and random weights, at a spacing of `ratio` times the scan's."""
    import torch

    from medseg.core.labels import Code, Label
    from medseg.core.task import Channel, Task
    from medseg.imaging.preparing.normalize import FixedScale
    from medseg.imaging.preparing.preparation import Preparation
    from medseg.models.bundle import ModelBundle, Provenance
    from medseg.models.networks.unet3d import UNet3DConfig
    from medseg.models.spec import ModelSpec, SlidingWindow
    from medseg.models.weights import weights_of

    organ = Code(value="113343008", scheme="SCT", meaning="Organ")
    labels = [
        Label(index=n, name=f"organ_{n}", code=organ, category=organ, colour=(n, 9 * n, 200)) for n in range(1, CLASSES)
    ]
    spacing = 0.75 * ratio
    spec = ModelSpec(
        task=Task(name="organs", title="Organs", channels=(Channel(name="CT", modality="CT"),), labels=tuple(labels)),
        preparation=Preparation(
            spacing_mm=(spacing,) * 3, normalization=(FixedScale(lower=-160, upper=240, mean=40, sd=80),)
        ),
        network=UNet3DConfig(
            channels=(4, 8, 8), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernel_sizes=((3, 3, 3),) * 3
        ),
        window=SlidingWindow(patch=PATCH, overlap=OVERLAP),
    )
    torch.manual_seed(0)
    weights = weights_of(spec.network.build(1, CLASSES))
    provenance = Provenance(
        created=datetime.now(UTC), medseg_version="0", torch_version="0", machine="", dataset="none", plan_toml="",
        seed=0, epochs=0, training_s=0.0, case_sha256={},
    )  # fmt: skip
    return ModelBundle("made", "0" * 64, spec, weights, provenance, None)


def streamed(scan: Path, ratio: float) -> Measured:
    """The whole job, as the command does it."""
    from medseg.workflows.segmenting.segment_study import segment_study

    bundle, start_mb, begin = make_bundle(ratio), resident_mb("VmRSS"), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        segment_study({"CT": scan}, bundle, Path(folder) / "out", device="cpu")
    return Measured(start_mb, resident_mb("VmHWM"), time.perf_counter() - begin)


def in_memory(scan: Path, ratio: float) -> Measured:
    """The scores of all classes and voxels held at once, as specs with a refinement need them."""
    import torch

    from medseg.exchange.read import read_scan
    from medseg.models.inference.sliding_window import sweep
    from medseg.models.weights import set_weights

    bundle, start_mb, begin = make_bundle(ratio), resident_mb("VmRSS"), time.perf_counter()
    network = bundle.spec.network.build(1, CLASSES)
    set_weights(network, bundle.weights)
    prepared = bundle.spec.preparation.apply({"CT": read_scan(scan).volume})
    scores = sweep(network, prepared.array, bundle.spec.window, class_count=CLASSES, device=torch.device("cpu"))
    prepared.restore(scores, bundle.spec.task.label_schema)
    return Measured(start_mb, resident_mb("VmHWM"), time.perf_counter() - begin)


def foretold(scan: Path, ratio: float) -> Measured:
    """What `medseg segment --forecast` says."""
    from medseg.workflows.segmenting.forecast_study import forecast_study

    told = forecast_study({"CT": scan}, make_bundle(ratio), device="cpu")
    return Measured(0.0, told.peak_memory_mb, told.seconds)


def in_process(run, *arguments) -> Measured:  # type: ignore[no-untyped-def]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured: Measured = pool.apply(run, arguments)
    return measured


def draw(rows: list[tuple[tuple[int, int, int], float, Measured, Measured | None]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2))
    for ratio, marker in zip(RATIOS, "os", strict=True):
        chosen = [(np.prod(shape) / 1e6, one) for shape, r, one, _ in rows if r == ratio]
        name = "the scan's spacing" if ratio == 1 else f"{ratio:g} times the scan's spacing"
        axes.plot([v for v, _ in chosen], [m.peak_mb / 1e3 for _, m in chosen], marker=marker, label=f"medseg, {name}")
    voxels = np.linspace(1, max(np.prod(shape) for shape, *_ in rows) / 1e6, 50)
    axes.plot(voxels, voxels * CLASSES * 4 / 1e3, "--", color="grey", label="one float32 copy of all scores")
    axes.plot(voxels, voxels * 3 / 1e3, ":", color="grey", label="the scan and its mask")
    axes.axhline(4, color="black", linewidth=0.8)
    axes.set(xlabel="voxels of the scan, million", ylabel="peak resident memory, GB", ylim=(0, 6), xlim=(0, None))
    axes.set_title(f"Segmenting with {CLASSES} classes, windows of 96 x 96 x 96")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="Where the plot goes.")
    parser.add_argument("--whole-gb", type=float, default=2.0, help="Scores in memory are tried up to this size.")
    parser.add_argument("--most-voxels", type=float, default=1e9, help="Leave larger scans out.")
    options = parser.parse_args()
    rows = []
    print("| scan | spacing | all scores | in memory | forecast | peak | above start | forecast | seconds |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for shape in (size for size in SIZES if np.prod(size) <= options.most_voxels):
            scan = Path(folder) / "scan.nii"
            make_scan(shape, scan)
            for ratio in RATIOS:
                scores_gb = np.prod(shape) / ratio**3 * CLASSES * 4 / 1e9
                whole = in_process(in_memory, scan, ratio) if scores_gb <= options.whole_gb else None
                told, now = in_process(foretold, scan, ratio), in_process(streamed, scan, ratio)
                rows.append((shape, ratio, now, whole))
                said = "" if whole is None else f"{whole.peak_mb / 1e3:.2f} GB"
                print(
                    f"| {' x '.join(map(str, shape))} | {ratio:g} | {scores_gb:.1f} GB | {said} | "
                    f"{told.peak_mb / 1e3:.2f} GB | "
                    f"**{now.peak_mb / 1e3:.2f} GB** | {(now.peak_mb - now.start_mb) / 1e3:.2f} GB | "
                    f"{told.seconds:.0f} | {now.seconds:.0f} |",
                    flush=True,
                )
    if options.output is not None:
        draw(rows, options.output)


if __name__ == "__main__":
    main()
