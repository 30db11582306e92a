"""Whether a data set can be trained on: every file opened once, every fault told as a sentence, all faults at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medseg.core.errors import InputError
from medseg.core.geometry import Geometry, Shape, Spacing
from medseg.core.label_map import LabelMap
from medseg.core.labels import LabelSchema
from medseg.datasets.layouts import file_sha256
from medseg.datasets.manifest import UNKNOWN, CaseRow, DataFile, Manifest
from medseg.exchange.read import read_label_map, read_scan


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one case, as a sentence that says how to mend it."""

    case: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.case}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """What was seen of one case that could be read; label volumes are in millilitres, by label name."""

    case: str
    subject: str
    fold: int | None
    shape: Shape
    spacing_mm: Spacing
    label_volumes_ml: dict[str, float] = field(hash=False)


@dataclass(frozen=True, slots=True)
class CheckedManifest:
    """The problems of a data set, none where it is sound, and a summary of each case that could be read."""

    problems: tuple[Problem, ...]
    cases: tuple[CaseSummary, ...]

    def overview(self) -> tuple[tuple[str, str], ...]:
        """The data set in a few rows of (what, value): cases, folds, shapes, spacings, volume of each label."""
        rows = [("cases read", f"{len(self.cases)} of {len({case.subject for case in self.cases})} subjects")]
        if not self.cases:
            return tuple(rows)
        folds = sorted({case.fold for case in self.cases if case.fold is not None})
        if folds:
            sizes = ", ".join(str(sum(case.fold == fold for case in self.cases)) for fold in folds)
            rows.append(("cases in folds", sizes))
        rows.append(("kept for the test", str(sum(case.fold is None for case in self.cases))))
        shapes = np.array([case.shape for case in self.cases])
        spacings = np.array([case.spacing_mm for case in self.cases])
        for what, values in (("shape", shapes), ("spacing in mm", spacings)):
            rows.extend((f"{what}, {name}", _joined(row)) for name, row in _spread(values))
        rows.extend(self._label_rows())
        return tuple(rows)

    def _label_rows(self) -> Iterator[tuple[str, str]]:
        with_mask = [case for case in self.cases if case.label_volumes_ml]
        for name in with_mask[0].label_volumes_ml if with_mask else ():
            volumes = [ml for case in with_mask if (ml := case.label_volumes_ml[name]) > 0]
            text = f"in {len(volumes)} of {len(with_mask)} masks"
            if volumes:
                text += f", median {np.median(volumes):.4g} ml, {min(volumes):.4g} to {max(volumes):.4g} ml"
            yield f"label {name}", text


OnCase = Callable[[int, int], None]
"""Called with how many of how many cases are done."""


def check_manifest(manifest: Manifest, *, checksums: bool = True, on_case: OnCase | None = None) -> CheckedManifest:
    """The problems and the summary of every case. `checksums=False` leaves out the sha256, not the rest.

    Found are: a missing file, a wrong checksum, an image that cannot be read or holds values that are not finite, a
    wrong number of channels, images or masks on different grids, a label outside the schema, one image in two subjects.
    """
    problems: list[Problem] = []
    summaries: list[CaseSummary] = []
    first_with: dict[str, CaseRow] = {}
    for done, row in enumerate(manifest.rows, start=1):
        look = _Look(manifest, row, checksums)
        summary = look.summary()
        if summary:
            summaries.append(summary)
        problems.extend(Problem(row.case, sentence) for sentence in look.problems)
        for sha256 in look.image_hashes:
            twin = first_with.setdefault(sha256, row)
            if twin.subject != row.subject:
                problems.append(
                    Problem(
                        row.case,
                        f"its image is that of {twin.case}, voxel for voxel, under another subject "
                        f"({row.subject} and {twin.subject}). Remove one, or give both the same subject.",
                    )
                )
        if on_case:
            on_case(done, len(manifest.rows))
    return CheckedManifest(tuple(problems), tuple(summaries))


class _Look:
    """One case looked at: its sentences are gathered in `problems`, hashes of its images in `image_hashes`."""

    def __init__(self, manifest: Manifest, row: CaseRow, checksums: bool) -> None:
        self.problems: list[str] = []
        self.image_hashes: list[str] = []
        self._manifest = manifest
        self._row = row
        self._checksums = checksums

    def summary(self) -> CaseSummary | None:
        """What the case holds, None where nothing of it could be read."""
        self._require_channels()
        grids = [(name, grid) for name, file in self._row.channels.items() if (grid := self._image_grid(name, file))]
        mask = self._mask(self._row.label) if self._row.label else None
        if mask:
            grids.append(("the mask", mask.geometry))
        for name, grid in grids[1:]:
            difference = grids[0][1].difference(grid)
            if difference:
                self.problems.append(
                    f"{grids[0][0]} and {name} are on different grids: {difference}. "
                    "Resample one onto the other's grid."
                )
        if not grids:
            return None
        return CaseSummary(
            self._row.case,
            self._row.subject,
            self._row.fold,
            grids[0][1].shape,
            grids[0][1].spacing_mm,
            _volumes_ml(mask) if mask else {},
        )

    def _require_channels(self) -> None:
        needed = [channel.name for channel in self._manifest.task.channels]
        given = list(self._row.channels)
        if given != needed:
            self.problems.append(
                f"it has the channels {', '.join(given) or 'none'}, and the task {self._manifest.task.name} needs "
                f"{', '.join(needed)}. A file that holds all channels has to be split into one file a channel."
            )

    def _image_grid(self, name: str, file: DataFile) -> Geometry | None:
        if not self._is_sound(file):
            return None
        try:
            scan = read_scan(self._manifest.path(file))
        except InputError as error:
            self.problems.append(f"{name} cannot be read: {error}")
            return None
        self.image_hashes.append(scan.sha256)
        return scan.volume.geometry

    def _mask(self, file: DataFile) -> LabelMap | None:
        if not self._is_sound(file):
            return None
        try:
            return read_label_map(self._manifest.path(file), self._schema)
        except InputError as error:
            self.problems.append(f"its mask cannot be used: {error}")
            return None

    @property
    def _schema(self) -> LabelSchema:
        return self._manifest.task.label_schema

    def _is_sound(self, file: DataFile) -> bool:
        """Whether the file is there; a wrong checksum is told, and the file is looked at all the same."""
        path = self._manifest.path(file)
        if not path.exists():
            self.problems.append(f"{path} is missing. Fetch the data set, or correct the path in cases.csv.")
            return False
        if self._checksums and file.sha256 != UNKNOWN and path.is_file():
            found = file_sha256(path)
            if found != file.sha256:
                self.problems.append(
                    f"{path} is not the file of the manifest: its sha256 is {found[:12]}..., {file.sha256[:12]}... is "
                    "expected. Fetch it again, or write the manifest anew if the change was meant."
                )
        return True


def _volumes_ml(mask: LabelMap) -> dict[str, float]:
    counts = np.zeros(65536, dtype=np.int64)
    for plane in mask.array:
        found = np.bincount(plane.ravel(order="K"))
        counts[: len(found)] += found
    return {label.name: float(counts[label.index] * mask.geometry.voxel_volume_ml) for label in mask.schema.labels}


def _spread(values: NDArray[np.int64] | NDArray[np.float64]) -> Iterator[tuple[str, list[float]]]:
    """Smallest, median and largest along each axis."""
    for name, row in (
        ("smallest", values.min(axis=0)),
        ("median", np.median(values, axis=0)),
        ("largest", values.max(axis=0)),
    ):
        yield name, [float(value) for value in row]


def _joined(row: list[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in row)
