"""A scan read as one channel of a task: of the right modality, and in the unit that modality is measured in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.study import Modality
from medseg.core.task import Channel
from medseg.core.volume import Unit, Volume
from medseg.exchange.read import read_scan
from medseg.exchange.scan import Mends, Scan

UNITS: dict[Modality, Unit] = {"CT": "HU", "PT": "SUVbw"}
"""What voxels of a modality must be in for numbers to mean the same in every patient; MR has no such unit."""


def read_channel(path: Path, channel: Channel, mends: Mends | None = None) -> Scan:
    """The scan in a file or folder, checked to be what the channel takes; `mends` are the user's choices for it.

    Formats that name no modality and no unit (NIfTI, NRRD, MetaImage) are believed: CT is taken to be in HU, PET in
    SUV by body weight, and a warning says the latter, since PET files in becquerel are common.
    Raises InputError for another modality or another unit.
    """
    mends = mends or Mends()
    scan = read_scan(path, series=mends.series, phase=mends.phase, allow_gaps=mends.allow_gaps, affine=mends.affine)
    if scan.series.modality not in (channel.modality, "OT"):
        raise InputError(
            f"{path} is a {scan.series.modality} scan; the channel {channel.name} takes {channel.modality}. "
            "Choose a scan or a model that fits."
        )
    wanted = UNITS.get(channel.modality)
    if wanted is None or scan.volume.unit == wanted:
        return scan
    if scan.volume.unit != "arbitrary":
        reasons = " ".join(scan.warnings)
        raise InputError(
            f"{path} is in {scan.volume.unit}; the channel {channel.name} takes {wanted}. {reasons}".strip()
        )
    volume = Volume(scan.volume.array, scan.volume.geometry, wanted)
    if channel.modality != "PT":
        return replace(scan, volume=volume)
    warning = f"{path.name} does not name its unit; its voxels are taken to be SUV by body weight"
    return replace(scan, volume=volume, warnings=(*scan.warnings, warning))
