"""A bundle's network as an ONNX file, delivered only if onnxruntime repeats what torch computes.

    images          float32 (batch, channel, i, j, k), prepared as the spec in the file's metadata says
    probabilities   float32 (batch, class, i, j, k), which sum to 1 over the classes, background first; the spec's bias
                    of the foreground is in them

i, j, k are the spec's window; the batch may have any size. Scans are covered by windows as in Isensee et al. 2021.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medseg.core.atomic import whole_file
from medseg.core.errors import PlanError, StoreError
from medseg.core.extras import require_extra
from medseg.models.bundle import ModelBundle
from medseg.models.export.record import export_record
from medseg.models.spec import ModelSpec
from medseg.models.trained_network import biased, trained_network

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "images", "probabilities"

OPSET = 18
"""Of 2022: the first in which every operation of the networks is exact, and old enough for today's runtimes."""

LARGEST_DIFFERENCE = 1e-4
"""Of a probability between torch and onnxruntime. Sums in another order differ by some 1e-6; a wrong graph by 0.1."""

LOWEST_SHARE = 0.999
"""Of the voxels that must get the same class: only a tie, whose two classes are equal but for rounding, may differ."""

CHECKED_BATCHES = (1, 2)
"""Two sizes, of which the exporter has seen one, so that a batch size frozen into the graph is found."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How closely onnxruntime repeats torch on `windows` made windows."""

    windows: int
    probability_difference: float
    """The largest over all voxels and classes."""
    same_class_share: float
    """Of the voxels: how many get the same most probable class."""


class Probabilities(nn.Module):
    """Class probabilities (batch, class, i, j, k) float32 from images, of a network that gives a list of scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.network(images)[0]
        return scores.float().softmax(dim=1)


def write_onnx(bundle: ModelBundle, path: Path) -> Agreement:
    """How well the ONNX file at `path` agrees with torch; the file is written whole, or not at all where it does not.

    The file carries `export_record` as metadata and nothing of the machine it was made on. Raises InputError where the
    extra `onnx` is not installed, PlanError for a network that cannot be written as ONNX, StoreError for a file that is
    off.
    """
    require_extra("the export to ONNX", "onnx", PACKAGES)
    network = Probabilities(biased(trained_network(bundle), bundle.spec.foreground_bias)).eval()
    with whole_file(path) as unfinished:
        _export(network, bundle, unfinished)
        agreement = compare(unfinished, network, bundle.spec)
        require_agreement(agreement, bundle.name)
    return agreement


@torch.inference_mode()
def compare(path: Path, network: nn.Module, spec: ModelSpec) -> Agreement:
    """The ONNX file, run by onnxruntime on the CPU, beside the network in torch, on windows made from a fixed seed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    difference, same = 0.0, []
    for batch in CHECKED_BATCHES:
        images = made_windows(spec, batch, generator)
        expected = network(images).numpy()
        (got,) = session.run([OUTPUT], {INPUT: images.numpy()})
        difference = max(difference, float(np.abs(got - expected).max()))
        same.append(got.argmax(axis=1) == expected.argmax(axis=1))
    return Agreement(sum(CHECKED_BATCHES), difference, float(np.concatenate(same).mean()))


def made_windows(spec: ModelSpec, batch: int, generator: torch.Generator) -> Tensor:
    """Images (batch, channel, i, j, k) on a prepared scan's scale: noise, and a bright ball that may be something."""
    place = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in spec.window.patch), indexing="ij"))
    ball = (place.square().sum(dim=0) < 0.25).float()
    return torch.randn(batch, len(spec.task.channels), *spec.window.patch, generator=generator) + 2 * ball


def require_agreement(agreement: Agreement, name: str) -> None:
    """Raise StoreError where onnxruntime computes something else than torch; nan counts as something else."""
    is_close = agreement.probability_difference <= LARGEST_DIFFERENCE
    if is_close and agreement.same_class_share >= LOWEST_SHARE:
        return
    raise StoreError(
        f"the ONNX file of {name} is not delivered: onnxruntime differs from torch by up to "
        f"{agreement.probability_difference:.2g} in a probability (at most {LARGEST_DIFFERENCE:g} is allowed), and "
        f"{agreement.same_class_share:.2%} of the voxels get the same class. "
        "Try other versions of onnxruntime and torch; those that medseg is tested with stand in constraints.txt."
    )


def _export(network: Probabilities, bundle: ModelBundle, path: Path) -> None:
    windows = made_windows(bundle.spec, 2, torch.Generator().manual_seed(0))
    with _quiet_exporter():
        try:
            program = torch.onnx.export(
                network,
                (windows,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PlanError(
                f"the network {bundle.spec.network.kind} of {bundle.name} cannot be written as ONNX: {reason}. "
                "Use the bundle itself, or another network."
            ) from error
        if program is None:
            raise PlanError(f"torch made no ONNX program of the network {bundle.spec.network.kind} of {bundle.name}")
        _tidy(program.model)
        program.model.metadata_props.update(export_record(bundle))
        program.model.doc_string = f"{bundle.spec.task.title}: {bundle.name}, exported by medseg"
        program.save(str(path), external_data=False)


def _tidy(model: Any) -> None:
    """Take out the notes of the exporter, which name source files of this machine."""
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """No word of torch's deprecated inner functions, and of torchvision's operations that nobody wants here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
