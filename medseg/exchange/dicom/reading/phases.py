"""Phases: the images of one series split into the volumes it holds (time points, echoes, cardiac phases ...)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medseg.core.errors import InputError
from medseg.exchange.dicom.reading.grid import SAME_PLACE_MM, places_mm, require_alike
from medseg.exchange.dicom.reading.image_file import PHASE_KEYWORDS, Frame, ImageFile

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_ASIDE_IMAGE_TYPES = ("LOCALIZER", "MIP", "MINIP", "PROJECTION IMAGE", "SCREEN SAVE", "VOLUME RENDERING")


@dataclass(frozen=True, slots=True)
class Phase:
    """One volume's frames within a series; `name` says what sets it apart, empty where the series is one volume."""

    name: str
    frames: tuple[Frame, ...]

    def is_called(self, wanted: str) -> bool:
        """Whether the name, or the value in it, is the wanted one: "EchoTime=2.46" or "2.46"."""
        values = ", ".join(part.partition("=")[2] for part in self.name.split(", "))
        return wanted in (self.name, values) or _is_same_number(wanted, values)


def _is_same_number(wanted: str, value: str) -> bool:
    try:
        return float(wanted) == float(value)
    except ValueError:
        return False


def set_aside(files: list[ImageFile]) -> tuple[list[ImageFile], list[str]]:
    """The images that can make a volume, and why each of the others was left out.

    Localizers, projections, captures and colour images are left out where other images remain.
    """
    kept, left_out = [], []
    for file in files:
        reason = reason_to_set_aside(file)
        if reason:
            left_out.append((file, reason))
        else:
            kept.append(file)
    if not kept:
        return files, []
    return kept, [f"{file.path.name} was left out: it is {reason}" for file, reason in left_out]


def reason_to_set_aside(file: ImageFile) -> str:
    """Why an image is no slice of a volume; empty where it may be one."""
    if file.said("SamplesPerPixel") not in ("", "1"):
        return "a colour image"
    if file.said("SOPClassUID").startswith(SECONDARY_CAPTURE):
        return "a secondary capture"
    for part in file.image_type[2:] or ():
        if part in _ASIDE_IMAGE_TYPES:
            return f"of the type {part}"
    return ""


def phases(frames: list[Frame]) -> list[Phase]:
    """The volumes that the frames of one series make, each with at most one frame at a position.

    Raises InputError where frames share a position and no header value, or pair of them, tells them apart.
    """
    if not _shares_positions(frames):
        return [Phase("", tuple(frames))]
    require_alike(frames)
    telling = [keyword for keyword in PHASE_KEYWORDS if len({frame.phase_values.get(keyword) for frame in frames}) > 1]
    for count in (1, 2, 3):
        for keywords in combinations(telling, count):
            found = _split(frames, keywords)
            if found is not None:
                return found
    raise _unsplittable(frames)


def _split(frames: list[Frame], keywords: tuple[str, ...]) -> list[Phase] | None:
    """Phases by the values of these keywords; None where frames still share a position or are torn into too many."""
    groups: dict[tuple[str, ...], list[Frame]] = {}
    for frame in frames:
        groups.setdefault(tuple(frame.phase_values.get(keyword, "") for keyword in keywords), []).append(frame)
    if any(_shares_positions(group) for group in groups.values()):
        return None
    if len(groups) > _most_at_one_place(frames):
        return None
    named = {", ".join(map("=".join, zip(keywords, values, strict=True))): group for values, group in groups.items()}
    return [Phase(name, tuple(named[name])) for name in sorted(named, key=_natural)]


def _shares_positions(frames: list[Frame] | tuple[Frame, ...]) -> bool:
    ordered = np.sort(places_mm(list(frames)))
    return bool((np.diff(ordered) < SAME_PLACE_MM).any())


def _most_at_one_place(frames: list[Frame]) -> int:
    ordered = np.sort(places_mm(frames))
    most = run = 1
    for distance in np.diff(ordered):
        run = run + 1 if distance < SAME_PLACE_MM else 1
        most = max(most, run)
    return most


def _natural(name: str) -> tuple[tuple[float, str], ...]:
    """Numbers by size, the rest by letters."""
    keys = []
    for part in name.split(", "):
        value = part.partition("=")[2]
        try:
            keys.append((float(value), ""))
        except ValueError:
            keys.append((float("inf"), value))
    return tuple(keys)


def _unsplittable(frames: list[Frame]) -> InputError:
    ordered = sorted(frames, key=lambda frame: float(places_mm([frames[0], frame])[1]))
    places = places_mm(ordered)
    if places[-1] - places[0] < SAME_PLACE_MM:
        return InputError(
            f"all {len(frames)} images, such as {ordered[0].name} and {ordered[-1].name}, lie at one position: "
            "they make no volume. Export the series again."
        )
    twin = int(np.argmax(np.diff(places) < SAME_PLACE_MM))
    return InputError(
        f"{ordered[twin].name} and {ordered[twin + 1].name} lie at one position and nothing in their headers tells "
        "phases apart. Remove one of them, or export each phase as its own series."
    )
