"""Segment one scan: read, check, run the model, measure, write; the main job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from medseg import __version__
from medseg.analysis.quantification.measure import measure_findings
from medseg.analysis.vessels.analyse import VesselAnalysis
from medseg.analysis.vessels.network_map import analyse_network_map
from medseg.analysis.vessels.study_findings import (
    blockage_findings,
    painted,
    soft_vessels,
    vessel_labels,
    with_blockages,
)
from medseg.core.atomic import clear_disk_errors, require_output_folder, whole_folder
from medseg.core.errors import InputError
from medseg.core.findings import Finding
from medseg.core.label_map import LabelMap
from medseg.core.report import ChannelSource, ModelIdentity, Report
from medseg.core.task import Task
from medseg.exchange.probabilities import write_probabilities
from medseg.exchange.read_channel import read_channel
from medseg.exchange.reports.findings_csv import write_findings_csv
from medseg.exchange.scan import Mends, Scan
from medseg.exchange.write import write_label_map
from medseg.models.inference.cascade import MARGIN_MM, Cascade
from medseg.models.inference.device import InferenceDevice
from medseg.models.inference.ensemble import Model, control_of
from medseg.models.inference.kept_maps import Keep
from medseg.models.inference.segmenter import NetworkSegmenter, Segmentation
from medseg.models.quality.body_part import body_part_warnings
from medseg.models.quality.control import ResultQuality, control
from medseg.models.quality.temperature import calibrated
from medseg.models.store import load_model
from medseg.workflows.peak_memory import peak_memory_mb, reset_peak_memory
from medseg.workflows.progress import Progress, silent
from medseg.workflows.results.vessel_files import write_vessels

REPORT, MASK, FINDINGS, QUALITY = "report.json", "segmentation.nii.gz", "findings.csv", "quality.json"


def segment_study(
    sources: Mapping[str, Path],
    bundle: Model,
    output: Path,
    *,
    mends: Mends | None = None,
    device: InferenceDevice = "auto",
    keeps_probabilities: bool = False,
    within: Model | None = None,
    margin_mm: float = MARGIN_MM,
    progress: Progress = silent,
) -> Report:
    """The report of one scan, after its result folder was written: report.json, segmentation.nii.gz, findings.csv.

    `sources` maps the task's channels to files or folders; a task of one channel takes any single name. `mends` are
    choices for a scan that cannot be read without one. With `keeps_probabilities` the probability of each label at each
    voxel lies beside the mask, and how far the model's answers agree where it has several. `within` is a model that
    finds the place first: what lies further than `margin_mm` from all it finds is not looked at. A model with quality
    control has its probabilities calibrated, and says in quality.json and in warnings how far to trust the result.
    The folder appears whole or not at all; an older result there is replaced, anything else is left alone. Raises
    InputError when a scan cannot be used or is not what the model's channels take.
    """
    require_output_folder(output, own=REPORT)
    reset_peak_memory()
    chosen = {channel.name: mends or Mends() for channel in bundle.spec.task.channels}
    scans = read_channels(sources, bundle.spec.task, progress, chosen)
    segmenter = Cascade.of(within, bundle, device, margin_mm)
    return segment_scans(
        scans, sources, bundle, segmenter, output, keeps_probabilities=keeps_probabilities, progress=progress
    )


def segment_scans(
    scans: Mapping[str, Scan],
    sources: Mapping[str, Path],
    bundle: Model,
    segmenter: NetworkSegmenter | Cascade,
    output: Path,
    *,
    keeps_probabilities: bool = False,
    progress: Progress = silent,
) -> Report:
    """The report of scans that were read, by a segmenter that was made, after the result folder was written.

    `sources` is where the scans lie, for the report; its peak of memory counts from the last call of
    `reset_peak_memory`. Raises InputError as `segment_study` does.
    """
    require_output_folder(output, own=REPORT)
    task = bundle.spec.task
    with clear_disk_errors(output):
        segmentation = segmenter.segment(
            {name: scan.volume for name, scan in scans.items()},
            lambda done, total: progress("Segmenting", done, total),
            _kept(task, output, keeps_all=keeps_probabilities or control_of(bundle) is not None),
        )
    sources = named_channels(sources, tuple(channel.name for channel in task.channels))
    first, source = scans[task.channels[0].name], sources[task.channels[0].name]
    segmentation, quality = _checked(segmentation, first, bundle, output)
    probabilities = segmentation.probabilities
    seen = _look(segmentation, task, first, progress)
    with whole_folder(output) as unfinished:
        write_label_map(seen.label_map, unfinished / MASK)
        if seen.vessels is not None:
            title = f"Vessels of {source.name}"
            write_vessels(seen.vessels, first.volume, title, unfinished, found_in=source, image=source)
        if keeps_probabilities and probabilities is not None:
            write_probabilities(probabilities, task, unfinished)
        report = Report(
            series=first.series,
            source=source.resolve(),
            source_sha256=first.sha256,
            more_channels={
                channel.name: _channel_source(scans[channel.name], sources[channel.name])
                for channel in task.channels[1:]
            },
            task=seen.task,
            model=ModelIdentity(name=bundle.name, sha256=bundle.sha256, medseg_version=__version__),
            findings=seen.findings,
            warnings=(
                *(warning for scan in scans.values() for warning in scan.warnings),
                *segmentation.notes,
                *seen.warnings,
                *(quality.warnings if quality else ()),
            ),
            created=datetime.now(UTC),
            duration_s=segmentation.duration_s,
            peak_memory_mb=peak_memory_mb(),
        )
        if quality is not None:
            (unfinished / QUALITY).write_text(quality.model_dump_json(indent=1), encoding="utf-8")
        write_findings_csv(report, unfinished / FINDINGS)
        (unfinished / REPORT).write_text(report.model_dump_json(indent=1), encoding="utf-8")
    return report


def _channel_source(scan: Scan, source: Path) -> ChannelSource:
    return ChannelSource(series=scan.series, source=source.resolve(), source_sha256=scan.sha256)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is reported of a segmentation; its task has the label of the blockages too, where those were looked for."""

    task: Task
    label_map: LabelMap
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    vessels: VesselAnalysis | None = None


def _look(segmentation: Segmentation, task: Task, scan: Scan, progress: Progress) -> _Seen:
    """Measure what was found, and look for blockages where the task asks for them."""
    probabilities = segmentation.probabilities
    image = scan.volume
    findings = measure_findings(segmentation.label_map, task, image, probabilities, scan.series.laterality)
    if "blockages" not in task.measurements or probabilities is None:
        return _Seen(task, segmentation.label_map, findings)
    progress("Looking for blockages", 0, 1)
    vessels = analyse_network_map(soft_vessels(probabilities, task), image)
    progress("Looking for blockages", 1, 1)
    reported = with_blockages(task)
    findings += blockage_findings(vessels, reported, image.geometry)
    why_not = vessels.report.not_assessable
    warnings = (*vessels.report.warnings, *([f"Blockages were not assessable: {why_not}"] if why_not else []))
    return _Seen(reported, painted(segmentation.label_map, vessels, reported), findings, warnings, vessels)


def _checked(
    segmentation: Segmentation, scan: Scan, model: Model, output: Path
) -> tuple[Segmentation, ResultQuality | None]:
    """The segmentation with calibrated probabilities, and how far it can be trusted, where the model knows."""
    known, probabilities = control_of(model), segmentation.probabilities
    if known is None or probabilities is None:
        return segmentation, None
    quality = control(known, scan.volume, segmentation.label_map, probabilities)
    with clear_disk_errors(output):
        right = calibrated(probabilities, known.temperature, output.parent)
    return replace(segmentation, probabilities=right), quality


def _kept(task: Task, output: Path, *, keeps_all: bool) -> Keep | None:
    """The probabilities to keep: of every label where they are asked for, else of those that findings are made of."""
    measured = vessel_labels(task) if "blockages" in task.measurements else ()
    labels = tuple(label.name for label in task.labels if keeps_all or label.is_counted or label.name in measured)
    output.parent.mkdir(parents=True, exist_ok=True)
    return Keep(labels, output.parent) if labels else None


def open_bundle(name_or_path: str | Path) -> Model:
    """The model or ensemble in a folder, or a shipped one by name. Raises StoreError where it is missing or altered."""
    return load_model(name_or_path)


def read_channels(
    sources: Mapping[str, Path], task: Task, progress: Progress = silent, mends: Mapping[str, Mends] | None = None
) -> dict[str, Scan]:
    """The scan of each channel of the task, modality and unit checked; `mends` are the user's choices by channel.

    A scan that says to show another part of the body has a warning.
    """
    sources = named_channels(sources, tuple(channel.name for channel in task.channels))
    scans = {}
    for done, channel in enumerate(task.channels, start=1):
        scan = read_channel(sources[channel.name], channel, (mends or {}).get(channel.name))
        scans[channel.name] = replace(scan, warnings=(*scan.warnings, *body_part_warnings(scan.series, task)))
        _require_depth(scans[channel.name], sources[channel.name])
        _require_contrast(scans[channel.name], sources[channel.name])
        progress("Reading", done, len(task.channels))
    return scans


def _require_depth(scan: Scan, source: Path) -> None:
    """Raise InputError where there is a single slice, as a localiser has: a network in 3-D would guess the rest."""
    shape = scan.volume.geometry.shape
    if min(shape) < 2:
        raise InputError(
            f"{source} holds one slice only ({' x '.join(map(str, shape))} voxels), and the model segments volumes. "
            "Is it a localiser, or was the series not sent whole? Give the whole series."
        )


def _require_contrast(scan: Scan, source: Path) -> None:
    """Raise InputError where every voxel is alike: a network would find something in that too."""
    lowest = scan.volume.array.min()
    if lowest == scan.volume.array.max():
        raise InputError(
            f"{source} holds nothing to segment: every voxel is {lowest:g}. Was it exported whole? Export it again."
        )


def named_channels(sources: Mapping[str, Path], names: tuple[str, ...]) -> dict[str, Path]:
    """The sources in the order of the channels; a single one needs no name. Raises InputError where they differ."""
    if len(names) == 1 and len(sources) == 1:
        return {names[0]: next(iter(sources.values()))}
    if sorted(sources) != sorted(names):
        raise InputError(
            f"the model takes the channels {', '.join(names)}; got {', '.join(sources)}. "
            f"Give each as NAME=PATH: {' '.join(f'{name}=...' for name in names)}"
        )
    return {name: sources[name] for name in names}
