"""Segmenter: images in, mask out, on the images' own grid."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.label_map import LabelMap
from medseg.core.volume import Volume
from medseg.imaging.planes import PreparedPlanes
from medseg.imaging.refinement import refine
from medseg.imaging.restore import label_values
from medseg.models.bundle import ModelBundle
from medseg.models.decode import restorer_on
from medseg.models.device import InferenceDevice, choose_device
from medseg.models.ensemble import MeanNetwork, Model, members_of
from medseg.models.networks.sample_norm import with_sample_norms
from medseg.models.openvino_network import OpenVinoNetwork
from medseg.models.sliding_window import PatchReader, Progress, sweep
from medseg.models.streaming import home_of_scores, plan_sweep, stream_scores
from medseg.models.trained_network import biased, trained_network


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A mask on the scan's own grid, and how long it took to make."""

    label_map: LabelMap
    duration_s: float


class Segmenter(Protocol):
    """Whatever turns the images of a task's channels into a mask on their grid."""

    def segment(self, images: Mapping[str, Volume], progress: Progress | None = None) -> Segmentation: ...


class NetworkSegmenter:
    """A trained network, or the mean of several, behind the Segmenter protocol.

    An ensemble's probabilities are averaged window by window, so that memory grows by the members' weights only.
    Raises StoreError where weights and network do not fit.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        self._spec = model.spec
        self._device = device
        networks = [network_of(bundle) for bundle in members_of(model)]
        network = networks[0] if len(networks) == 1 else MeanNetwork(networks)
        self._network: nn.Module = network.eval().to(device).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @classmethod
    def on(cls, model: Model, device: InferenceDevice) -> Self:
        """A segmenter on the device of that name. Raises InputError where it is missing or cannot run the network."""
        if device != "openvino":
            return cls(model, choose_device(device))
        segmenter = cls(model, choose_device("cpu"))
        channels = len(model.spec.task.channels)
        segmenter._network = OpenVinoNetwork(segmenter._network, channels, model.spec.window.patch)
        return segmenter

    def segment(self, images: Mapping[str, Volume], progress: Progress | None = None) -> Segmentation:
        """The mask of the scan. `images` maps the task's channel names to volumes on one grid.

        Raises InputError when a channel is missing or unknown, or the GPU's memory does not suffice, GeometryError
        when channels lie on different grids.
        """
        begin = time.perf_counter()
        wanted = [channel.name for channel in self._spec.task.channels]
        if sorted(wanted) != sorted(images):
            raise InputError(f"the model takes the channels {', '.join(wanted)}; got {', '.join(images)}")
        ordered = {name: images[name] for name in wanted}
        try:
            if self._spec.refinement:
                label_map = self._whole(ordered, progress)
            else:
                label_map = self._streamed(self._spec.preparation.planes(ordered), progress)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"the memory of the GPU did not suffice for a window of {self._spec.window.patch}: "
                f"{str(error).split('. ')[0]}. End what else uses it, or choose the device cpu."
            ) from error
        return Segmentation(label_map, time.perf_counter() - begin)

    def segment_one_window(self) -> float:
        """Seconds that a scan of the size of one window takes, all that is done to it counted: for a forecast.

        The scan is noise, of which each class is likely somewhere: nothing can be left out.
        """
        grid = Geometry.from_spacing(self._spec.window.patch, self._spec.preparation.spacing_mm)
        noise = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
        count = len(self._spec.task.channels)
        begin = time.perf_counter()
        self._streamed(PreparedPlanes((Volume(noise, grid),) * count, (_unchanged,) * count, grid, grid), None)
        return time.perf_counter() - begin

    def _streamed(self, planes: PreparedPlanes, progress: Progress | None) -> LabelMap:
        """Plane by plane: of the scores only those are held that windows still write."""
        spec = self._spec
        plan = plan_sweep(planes.geometry.shape, spec.window)
        turned, schema = planes.along(plan.axes), spec.task.label_schema
        home = home_of_scores(self._device, plan, spec.class_count)
        restorer = restorer_on(home, turned.geometry, turned.scan_geometry, label_values(schema))
        read = PatchReader(self._network, spec.window, self._device)
        for scores in stream_scores(read, turned, spec.window, plan, spec.class_count, progress, home):
            restorer.add(scores)
        return LabelMap(restorer.labels, planes.scan_geometry, schema)

    def _whole(self, images: Mapping[str, Volume], progress: Progress | None) -> LabelMap:
        """With all scores in memory, since a refinement looks at the whole scan."""
        spec = self._spec
        prepared = spec.preparation.apply(images)
        scores = sweep(
            self._network,
            prepared.array,
            spec.window,
            class_count=spec.class_count,
            device=self._device,
            progress=progress,
        )
        scores = refine(scores, prepared.array, prepared.geometry.spacing_mm, spec.refinement, self._device)
        return prepared.restore(scores, spec.task.label_schema)


def _unchanged(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values


def network_of(bundle: ModelBundle) -> nn.Module:
    """The bundle's network, its weights set, its spec's bias in its answer. Raises StoreError where they do not fit."""
    return biased(with_sample_norms(trained_network(bundle)), bundle.spec.foreground_bias)
