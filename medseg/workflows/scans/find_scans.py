"""Which scans an input holds, and for every other file why it is none: the first half of a batch."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from medseg.core.errors import InputError
from medseg.core.task import Task
from medseg.exchange import archive, itk_formats, nifti
from medseg.exchange.dicom.contents import SeriesFiles, contents_of
from medseg.exchange.dicom.reading.phases import reason_to_set_aside
from medseg.workflows.progress import Progress, silent
from medseg.workflows.scans.data_sets import open_data_set

_IMAGE_SUFFIXES = (*nifti.SUFFIXES, *itk_formats.SUFFIXES)


@dataclass(frozen=True, slots=True)
class FoundScan:
    """One scan to be segmented: a file or folder for each channel, and the series where a folder holds several.

    `name` is unique in its input and fit for a folder; `sha256` is the hash of the bytes of all its files.
    """

    name: str
    sources: dict[str, Path] = field(hash=False)
    series: dict[str, str] = field(default_factory=dict, hash=False)
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file or series that is not segmented, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class FoundScans:
    """What an input holds."""

    scans: tuple[FoundScan, ...]
    passed_over: tuple[PassedOver, ...]


def find_scans(
    source: Path, task: Task, output: Path, *, data_root: Path | None = None, progress: Progress = silent
) -> FoundScans:
    """The scans in a folder tree, a manifest folder, a list, or a single file; nothing below `output` is looked at.

    A list is a .txt file of one path a line, or a .csv file with the columns `case` and each of the task's channels.
    Raises InputError where there is no input, or a folder cannot say which file is which channel.
    """
    if not source.exists():
        raise InputError(f"there is no {source}. Give a folder of scans, a manifest folder, or a list of paths.")
    if source.is_dir() and (source / "manifest.toml").is_file():
        found = _of_manifest(source, data_root)
    elif source.suffix.lower() == ".csv":
        found = _of_table(source, [channel.name for channel in task.channels])
    elif len(task.channels) > 1:
        raise InputError(
            f"the model takes {len(task.channels)} channels, and {source} does not say which file is which. "
            f"Give a manifest folder, or a .csv file with the columns case, {', '.join(c.name for c in task.channels)}."
        )
    else:
        found = _written(_of_trees(source, task, output))
    return FoundScans(_hashed(_uniquely_named(found.scans), progress), found.passed_over)


def _of_manifest(folder: Path, data_root: Path | None) -> FoundScans:
    manifest = open_data_set(folder, data_root)
    return FoundScans(tuple(FoundScan(_slug(case.name), dict(case.channels)) for case in manifest.cases), ())


def _of_table(table: Path, channels: list[str]) -> FoundScans:
    with table.open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file)
        missing = [name for name in ("case", *channels) if name not in (lines.fieldnames or ())]
        if missing:
            raise InputError(
                f"{table} lacks the columns {', '.join(missing)}; it has {', '.join(lines.fieldnames or ())}"
            )
        scans = [
            FoundScan(_slug(line["case"]), {name: (table.parent / line[name]).absolute() for name in channels})
            for line in lines
        ]
    return FoundScans(tuple(scans), ())


def _of_trees(source: Path, task: Task, output: Path) -> FoundScans:
    """The scans of a folder, a file, or each line of a .txt list."""
    if source.suffix.lower() != ".txt":
        return _of_tree(source.absolute(), task, output.absolute())
    lines = [line.strip() for line in source.read_text(encoding="utf-8").splitlines()]
    found = [_of_tree((source.parent / line).absolute(), task, output.absolute()) for line in lines if line]
    return FoundScans(tuple(s for f in found for s in f.scans), tuple(p for f in found for p in f.passed_over))


def _written(found: FoundScans) -> FoundScans:
    """The same, with every path one that can be written down: a scan whose name is no UTF-8 is passed over."""
    scans, passed = [], [PassedOver(_in_utf8(one.path), one.reason) for one in found.passed_over]
    for scan in found.scans:
        strange = next((path for path in scan.sources.values() if _in_utf8(path) != path), None)
        if strange is None:
            scans.append(scan)
        else:
            passed.append(PassedOver(_in_utf8(strange), "its name, or a folder's above it, is not UTF-8. Rename it."))
    return FoundScans(tuple(scans), tuple(passed))


def _in_utf8(path: Path) -> Path:
    """The path, bytes that are no UTF-8 written as their numbers."""
    return Path(os.fsencode(path).decode("utf-8", "backslashreplace"))


def _of_tree(root: Path, task: Task, output: Path) -> FoundScans:
    if not root.exists():
        return FoundScans((), (PassedOver(root, "it does not exist"),))
    (channel,) = task.channels
    contents = contents_of(root)
    scans: list[FoundScan] = []
    passed: list[PassedOver] = [PassedOver(path, reason) for path, reason in contents.damaged]
    for path, reason in contents.passed_over:
        if _is_result(path, output):
            continue
        if path.name.lower().endswith(_IMAGE_SUFFIXES) or archive.is_archive(path):
            scans.append(FoundScan(_name(path, root), {channel.name: path}))
        else:
            passed.append(PassedOver(path, reason))
    for series in contents.series:
        files = [image.path for image in series.images]
        if any(_is_result(path, output) for path in files):
            continue
        folder = Path(os.path.commonpath([path.parent for path in files]))
        why_not = _reason_against(series, channel.modality)
        if why_not:
            passed.append(PassedOver(folder, f"{series.label} {why_not}"))
            continue
        place = folder if root.is_dir() else files[0]
        name = f"{_name(place, root)}_{series.number}" if series.number else _name(place, root)
        scans.append(FoundScan(name, {channel.name: place}, {channel.name: series.uid}))
    return FoundScans(tuple(scans), tuple(passed))


def _reason_against(series: SeriesFiles, modality: str) -> str:
    """Why a series is not for this model; empty where it is."""
    if series.modality != modality:
        return f"is of the modality {series.modality or '?'}; the model takes {modality}"
    if not any(image.frames and not reason_to_set_aside(image) for image in series.images):
        return "holds localizers or captures only, no volume"
    return ""


def _is_result(path: Path, output: Path) -> bool:
    """Whether a file is of this batch's output, or lies in a result folder: masks are not scans."""
    return path.is_relative_to(output) or (path.parent / "report.json").is_file()


def _name(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix() if path != root else path.name
    suffix = next((suffix for suffix in _IMAGE_SUFFIXES if relative.lower().endswith(suffix)), "")
    return _slug(relative[: len(relative) - len(suffix)])


def _slug(text: str) -> str:
    """The text as a folder's name: no slashes, nothing hidden, not too long."""
    return re.sub(r"[^\w.-]+", "_", text).strip("._-")[-80:] or "scan"


def _uniquely_named(scans: Iterable[FoundScan]) -> tuple[FoundScan, ...]:
    """The scans in order of their names; those that share one are numbered by their sources, so that none is lost."""
    ordered = sorted(scans, key=lambda scan: (scan.name, *map(str, scan.sources.values()), *scan.series.values()))
    total = Counter(scan.name.lower() for scan in ordered)
    return tuple(
        scan if total[scan.name.lower()] == 1 else replace(scan, name=f"{scan.name}_{_identity(scan)}")
        for scan in ordered
    )


def _identity(scan: FoundScan) -> str:
    said = "\n".join([*map(str, scan.sources.values()), *scan.series.values()])
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def _hashed(scans: tuple[FoundScan, ...], progress: Progress) -> tuple[FoundScan, ...]:
    done = []
    for number, scan in enumerate(scans, start=1):
        done.append(replace(scan, sha256=_content_sha256(scan)))
        progress("Hashing scans", number, len(scans))
    return tuple(done)


def _content_sha256(scan: FoundScan) -> str:
    """Hash of the bytes of every file of the scan, in the order of their names.

    A file that is missing or may not be read adds nothing: its job will fail with the reason.
    """
    digest = hashlib.sha256("\n".join(scan.series.values()).encode())
    for source in scan.sources.values():
        for path in _files(source):
            with suppress(OSError), path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    elif source.is_dir():
        yield from sorted(path for path in source.rglob("*") if path.is_file())
