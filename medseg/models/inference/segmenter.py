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
from medseg.core.probability import Probabilities
from medseg.core.volume import Volume
from medseg.imaging.preparing.planes import PreparedPlanes
from medseg.imaging.preparing.restore import label_values
from medseg.imaging.refinement import refine
from medseg.models.bundle import ModelBundle
from medseg.models.inference.agreement import answer_count, scores_and_agreement
from medseg.models.inference.decode import restorer_on
from medseg.models.inference.device import InferenceDevice, choose_device
from medseg.models.inference.ensemble import MeanNetwork, Model, members_of
from medseg.models.inference.kept_maps import Keep, KeptMaps
from medseg.models.inference.openvino_network import OpenVinoNetwork
from medseg.models.inference.sliding_window import Answer, PatchReader, Progress, mean_scores, sweep
from medseg.models.inference.streaming import home_of_scores, plan_sweep, stream_scores
from medseg.models.networks.sample_norm import with_sample_norms
from medseg.models.trained_network import biased, trained_network


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A mask on the scan's own grid, how long it took to make, and what was kept of the probabilities behind it.

    `notes` are sentences on how it was made that a reader must know.
    """

    label_map: LabelMap
    duration_s: float
    probabilities: Probabilities | None = None
    notes: tuple[str, ...] = ()


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

    def segment(
        self, images: Mapping[str, Volume], progress: Progress | None = None, keep: Keep | None = None
    ) -> Segmentation:
        """The mask of the scan. `images` maps the task's channel names to volumes on one grid.

        With `keep`, also the probabilities of its labels, and how far the answers agree where there are several.
        Raises InputError when a channel is missing or unknown, or the GPU's memory does not suffice, GeometryError
        when channels lie on different grids.
        """
        begin = time.perf_counter()
        wanted = [channel.name for channel in self._spec.task.channels]
        if sorted(wanted) != sorted(images):
            raise InputError(f"the model takes the channels {', '.join(wanted)}; got {', '.join(images)}")
        ordered = {name: images[name] for name in wanted}
        maps = None
        if keep is not None:
            has_agreement = answer_count(self._network, self._spec.window.mirror_axes) > 1
            maps = KeptMaps(keep, self._spec.task, ordered[wanted[0]].geometry, has_agreement=has_agreement)
        try:
            if self._spec.refinement:
                label_map = self._whole(ordered, progress, maps)
            else:
                label_map = self._streamed(self._spec.preparation.planes(ordered), progress, maps)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"the memory of the GPU did not suffice for a window of {self._spec.window.patch}: "
                f"{str(error).split('. ')[0]}. End what else uses it, or choose the device cpu."
            ) from error
        return Segmentation(label_map, time.perf_counter() - begin, maps.probabilities if maps else None)

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

    def _streamed(self, planes: PreparedPlanes, progress: Progress | None, maps: KeptMaps | None = None) -> LabelMap:
        """Plane by plane: of the scores only those are held that windows still write."""
        spec = self._spec
        plan = plan_sweep(planes.geometry.shape, spec.window)
        turned, values = planes.along(plan.axes), label_values(spec.task.label_schema)
        answer, channels = self._answer(maps)
        home = home_of_scores(self._device, plan, channels)
        kept = maps.scores(plan.one, are_logits=spec.window.average == "logits") if maps else None
        restorer = restorer_on(home, turned.geometry, turned.scan_geometry, values, kept)
        read = PatchReader(self._network, spec.window, self._device, answer)
        for scores in stream_scores(read, turned, spec.window, plan, channels, progress, home):
            restorer.add(scores)
            if maps is not None:
                maps.rest()
        return LabelMap(restorer.labels, planes.scan_geometry, spec.task.label_schema)

    def _whole(self, images: Mapping[str, Volume], progress: Progress | None, maps: KeptMaps | None) -> LabelMap:
        """With all scores in memory, since a refinement looks at the whole scan."""
        spec = self._spec
        prepared = spec.preparation.apply(images)
        answer, channels = self._answer(maps)
        scores = sweep(
            self._network,
            prepared.array,
            spec.window,
            class_count=spec.class_count,
            device=self._device,
            progress=progress,
            answer=answer,
            channel_count=channels,
        )
        classes = spec.class_count
        refined = refine(scores[:classes], prepared.array, prepared.geometry.spacing_mm, spec.refinement, self._device)
        if channels > classes:
            refined = np.concatenate((refined, scores[classes:]))
        return prepared.restore(refined, spec.task.label_schema, maps.scores(1.0, are_logits=False) if maps else None)

    def _answer(self, maps: KeptMaps | None) -> tuple[Answer, int]:
        """What a patch is asked for, and how many channels that has: one more than classes where agreement is kept."""
        if maps is not None and maps.has_agreement:
            return scores_and_agreement, self._spec.class_count + 1
        return mean_scores, self._spec.class_count


def _unchanged(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values


def network_of(bundle: ModelBundle) -> nn.Module:
    """The bundle's network, its weights set, its spec's bias in its answer. Raises StoreError where they do not fit."""
    return biased(with_sample_norms(trained_network(bundle)), bundle.spec.foreground_bias)
