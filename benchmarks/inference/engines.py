"""Seconds for one window on this machine's processor: torch (bfloat16, float32), ONNX Runtime and OpenVINO.

    pip install onnx onnxruntime openvino
    python benchmarks/inference/engines.py --rounds 7

The engines take turns, window by window, so that other work on the machine disturbs all alike; medians of wall clock
and of processor time over the rounds. Parity is the mean Dice of the classes' masks against torch in float32.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.models.bundle import load_bundle
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.store import find_model
from medseg.models.weights import set_weights

Engine = Callable[[np.ndarray], np.ndarray]


def networks() -> dict[str, tuple[torch.nn.Module, tuple[int, int, int]]]:
    """The shipped model with its window, and a large U-Net with a usual one, of random weights."""
    bundle = load_bundle(find_model("hippocampus_mr"))
    shipped = bundle.spec.network.build(len(bundle.spec.task.channels), bundle.spec.class_count)
    set_weights(shipped, bundle.weights)
    stages = 5
    torch.manual_seed(0)
    large = UNet3DConfig(
        channels=(32, 64, 128, 256, 320), strides=((1, 1, 1), *((2, 2, 2),) * 4), kernel_sizes=((3, 3, 3),) * stages
    ).build(1, 3)
    return {"hippocampus_mr": (shipped.eval(), bundle.spec.window.patch), "5 stages of 32": (large.eval(), (96,) * 3)}


def torch_engine(network: torch.nn.Module, *, bfloat16: bool) -> Engine:
    ready = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(image: np.ndarray) -> np.ndarray:
        patch = torch.from_numpy(image).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            scores: torch.Tensor = ready(patch)[0]
        return scores.float().numpy()

    return run


def onnx_file(network: torch.nn.Module, image: np.ndarray, path: Path) -> Path:
    class First(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> Any:
            return self.network(images)[0]

    torch.onnx.export(First().eval(), (torch.from_numpy(image),), str(path), dynamo=False, opset_version=17)
    return path


def onnxruntime_engine(path: Path, threads: int) -> Engine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: np.asarray(session.run(None, {name: image})[0])


def openvino_engine(path: Path, threads: int, precision: str) -> Engine:
    import openvino

    model = openvino.Core().compile_model(
        str(path), "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    )
    return lambda image: np.asarray(model(image)[0], dtype=np.float32)


def dice(one: np.ndarray, two: np.ndarray) -> float:
    first, second = one.argmax(axis=1), two.argmax(axis=1)
    values = []
    for index in range(one.shape[1]):
        a, b = first == index, second == index
        if a.any() or b.any():
            values.append(2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum())))
    return statistics.mean(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| network | engine | wall s | processor s | against torch bfloat16 | Dice to float32 |")
    print("|---|---|---|---|---|---|")
    for title, (network, patch) in networks().items():
        image = np.random.default_rng(0).normal(size=(1, 1, *patch)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            path = onnx_file(network, image, Path(folder) / "network.onnx")
            engines = {
                "torch bfloat16": torch_engine(network, bfloat16=True),
                "torch float32": torch_engine(network, bfloat16=False),
                "ONNX Runtime float32": onnxruntime_engine(path, options.threads),
                "OpenVINO bfloat16": openvino_engine(path, options.threads, "bf16"),
                "OpenVINO float32": openvino_engine(path, options.threads, "f32"),
            }
            answers = {name: run(image).copy() for name, run in engines.items()}
            wall: dict[str, list[float]] = {name: [] for name in engines}
            busy: dict[str, list[float]] = {name: [] for name in engines}
            for _ in range(options.rounds):
                for name, run in engines.items():
                    begin, begin_busy = time.perf_counter(), time.process_time()
                    run(image)
                    wall[name].append(time.perf_counter() - begin)
                    busy[name].append(time.process_time() - begin_busy)
        ours = statistics.median(busy["torch bfloat16"])
        for name in engines:
            seconds = statistics.median(busy[name])
            print(
                f"| {title}, {' x '.join(map(str, patch))} | {name} | {statistics.median(wall[name]):.3f} | "
                f"{seconds:.3f} | {ours / seconds:.2f} x | {dice(answers[name], answers['torch float32']):.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
