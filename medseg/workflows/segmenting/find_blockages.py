"""Find, count and grade blockages in a vessel map: read, analyse, write.

The output folder holds what `vessel_files` writes; where a model finds the vessels, beside what `segment_study` writes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medseg.analysis.vessels.analyse import analyse_vessels
from medseg.analysis.vessels.classical import classical_map
from medseg.analysis.vessels.findings.report import VesselKind, VesselReport
from medseg.analysis.vessels.findings.segments import Ostia
from medseg.core.atomic import require_output_folder, whole_folder
from medseg.core.errors import InputError
from medseg.core.volume import Volume
from medseg.exchange.read import read_scan
from medseg.exchange.scan import Mends
from medseg.models.inference.device import InferenceDevice
from medseg.models.inference.ensemble import Model
from medseg.workflows.progress import Progress, silent
from medseg.workflows.results.vessel_files import REPORT, write_vessels
from medseg.workflows.segmenting.segment_study import segment_study

MOST_VALUES = 12
"""Label values that an error lists."""


def find_blockages(
    vessel: Path,
    output: Path,
    *,
    image: Path | None = None,
    labels: tuple[int, ...] = (),
    prefer_image: bool = False,
    kind: VesselKind = "artery",
    is_scan: bool = False,
    ostia: Ostia | None = None,
    progress: Progress = silent,
) -> VesselReport:
    """The report on the vessels in a map of probabilities or a mask, after the output folder was written.

    With `is_scan` the first path holds no map but the scan itself: bright tubes in it are taken for vessels.
    With the `ostia` of both coronary arteries (RAS+ mm) their segments are named.

    `labels` are the values of a mask that are vessel; they are needed where it holds more than 0 and 1. Calibres come
    from the probabilities, from the `image` where the map is a mask or `prefer_image` is set. In a "vein" clots are
    looked for. Raises InputError where a file cannot be read or the map is neither, GeometryError where map and image
    lie on different grids.
    """
    require_output_folder(output, own=REPORT)
    if prefer_image and image is None:
        raise InputError("there is no image to take the calibres from: give it, or leave the choice out")
    if is_scan and (image is not None or labels):
        raise InputError("a scan is looked through by itself: leave the image and the labels out, or give a map")
    progress("Reading", 0, 1)
    first = read_scan(vessel).volume
    soft = classical_map(first) if is_scan else vessel_map(first, labels, vessel)
    scan = read_scan(image).volume if image is not None else first if is_scan else None
    progress("Reading", 1, 1)
    progress("Analysing", 0, 1)
    analysis = analyse_vessels(soft, scan, prefer_image=prefer_image or is_scan, kind=kind, ostia=ostia)
    progress("Analysing", 1, 1)
    with whole_folder(output) as unfinished:
        title = f"Vessels of {(image or vessel).name}"
        shown = scan if scan is not None else soft
        write_vessels(analysis, shown, title, unfinished, found_in=vessel, image=image)
    return analysis.report


def find_blockages_of_scan(
    source: Path,
    model: Model,
    output: Path,
    *,
    mends: Mends | None = None,
    device: InferenceDevice = "auto",
    ostia: Ostia | None = None,
    progress: Progress = silent,
) -> VesselReport:
    """The report on the vessels that a model finds in a scan, after its result folder was written.

    With the `ostia` of both coronary arteries (RAS+ mm) their segments are named. Raises InputError where the model's
    task does not measure blockages, and as `segment_study` does.
    """
    task = model.spec.task
    if "blockages" not in task.measurements:
        raise InputError(
            f"the model {model.name} does not look for blockages: its task {task.name} measures "
            f"{', '.join(task.measurements)}. Take vessels_cta or vessels_mra, or keep its map of vessels with "
            "`medseg segment --probabilities` and give that."
        )
    sources = {task.channels[0].name: source}
    segment_study(sources, model, output, mends=mends, device=device, ostia=ostia, progress=progress)
    return VesselReport.model_validate_json((output / REPORT).read_bytes())


def vessel_map(volume: Volume, labels: tuple[int, ...], source: Path) -> Volume:
    """The share of vessel, 0 to 1, in each voxel of a map of probabilities or of a mask with these labels.

    Raises InputError where labels are named of a map of probabilities, or none of a mask with several.
    """
    is_mask = bool((volume.array == np.floor(volume.array)).all())
    if not is_mask:
        if labels:
            raise InputError(f"{source} holds no labels but values between whole numbers; leave the labels out")
        return Volume(volume.array.astype(np.float32), volume.geometry)
    there = [int(value) for value in np.unique(volume.array) if value != 0]
    missing = [value for value in labels if value not in there]
    listed = ", ".join(map(str, there[:MOST_VALUES])) + (" ..." if len(there) > MOST_VALUES else "")
    if missing:
        raise InputError(f"{source} has no label {missing[0]}; it holds {listed or 'nothing but 0'}")
    if not labels and len(there) > 1:
        raise InputError(f"{source} is a mask with the labels {listed}. Say which of them are vessel.")
    inside = np.isin(volume.array, labels) if labels else volume.array != 0
    return Volume(inside.astype(np.float32), volume.geometry)
