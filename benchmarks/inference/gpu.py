"""On a GPU: seconds and memory of a 512 x 512 x 300 scan of 25 classes, and of one window in several layouts.

    python benchmarks/inference/gpu.py

The network is of six stages from 32 to 320 channels, 128 x 128 x 128 windows, half overlapping, of random weights. The
scan's volume is in memory before; preparation, windows and the mask on the scan's own grid are counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from inference_memory import CLASSES, make_bundle

from medseg.core.geometry import Geometry
from medseg.core.volume import Volume
from medseg.models.bundle import ModelBundle
from medseg.models.inference.segmenter import NetworkSegmenter
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import SlidingWindow
from medseg.models.weights import weights_of

STAGES = 6
NETWORK = UNet3DConfig(
    channels=(32, 64, 128, 256, 320, 320),
    strides=((1, 1, 1), *((2, 2, 2),) * (STAGES - 1)),
    kernel_sizes=((3, 3, 3),) * STAGES,
)
WINDOW = SlidingWindow(patch=(128, 128, 128))
GPU = torch.device("cuda")
choosing = torch.backends.cudnn.flags


def large_bundle(ratio: float) -> ModelBundle:
    """At a spacing of `ratio` times the scan's."""
    bundle: ModelBundle = make_bundle(ratio)
    spec = bundle.spec.model_copy(update={"network": NETWORK, "window": WINDOW})
    torch.manual_seed(0)
    return replace(bundle, spec=spec, weights=weights_of(NETWORK.build(1, CLASSES)))


def made_scan() -> Volume:
    generator = np.random.default_rng(0)
    array = np.empty((512, 512, 300), np.int16)
    array[:] = generator.integers(-150, 250, (512, 512, 1))
    array += generator.integers(-20, 20, (1, 1, 300)).astype(np.int16)
    return Volume(array, Geometry.from_spacing(array.shape, (0.75, 0.75, 0.75)), "HU")


def timed(work: Callable[[], object], rounds: int) -> float:
    """Milliseconds a round, after two to warm up."""
    work(), work()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(rounds):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / rounds * 1e3


def main() -> None:
    print(torch.cuda.get_device_name())
    scan = made_scan()
    for ratio in (2.0, 1.0):
        segmenter = NetworkSegmenter(large_bundle(ratio), GPU)
        for turn in ("first", "second"):
            torch.cuda.reset_peak_memory_stats()
            begin = time.perf_counter()
            segmenter.segment({"CT": scan})
            seconds, peak_gb = time.perf_counter() - begin, torch.cuda.max_memory_allocated() / 1e9
            print(
                f"spacing {ratio:g} x the scan's, {turn} scan: {seconds:.1f} s, {peak_gb:.2f} GB of the GPU", flush=True
            )
    for layout in (torch.channels_last_3d, torch.contiguous_format):
        network = NETWORK.build(1, CLASSES).to(GPU).eval().to(memory_format=layout)  # type: ignore[call-overload]
        patch = torch.randn(1, 1, *WINDOW.patch, device=GPU).contiguous(memory_format=layout)
        for benchmark in (False, True):
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16), choosing(benchmark=benchmark):
                took = timed(lambda network=network, patch=patch: network(patch), 12)  # type: ignore[misc]
            print(f"a window, {layout}, cudnn.benchmark {benchmark}: {took:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
