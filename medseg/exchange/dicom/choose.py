"""choose_series: which volume in a folder suits a task, by rules that can be read, and why each other does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medseg.core.errors import InputError
from medseg.exchange.dicom.scan import FoundSeries, FoundVolume, Inspection, Orientation

_SHARP_KERNELS = ("BONE", "LUNG", "EDGE", "SHARP", "YA", "YB", "YC", "YD", "YE", "B60", "B70", "B80", "BL57", "BR64")
_LATE_WORDS = ("late", "delay", "nephro", "excretory", "equilibrium")
_PHASE_WORDS = {
    "none": ("native", "plain", "without", "non contrast", "noncontrast", "w/o", "unenhanced"),
    "arterial": ("arterial", "art ", "angio", "cta"),
    "venous": ("venous", "portal", "pv "),
    "late": _LATE_WORDS,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a task needs of a series; empty or None where it does not matter.

    `contrast` is one of "none", "arterial", "venous", "late"; `kernel` is "soft" or "sharp".
    """

    modality: str
    body_parts: tuple[str, ...] = ()
    orientation: Orientation = ""
    most_slice_mm: float | None = None
    kernel: str = ""
    contrast: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One volume, how well it suits (the higher the better), and the reasons; `excluded` says why it is out."""

    series: FoundSeries
    volume: FoundVolume
    points: tuple[float, ...]
    reasons: tuple[str, ...]
    excluded: str = ""

    @property
    def name(self) -> str:
        """The volume for people."""
        phase = f" [{self.volume.phase}]" if self.volume.phase else ""
        return f'{self.series.modality} series {self.series.number} "{self.series.description}"{phase}'


@dataclass(frozen=True, slots=True)
class Choice:
    """The volume that suits best and every candidate, best first, excluded ones last."""

    best: Candidate
    candidates: tuple[Candidate, ...]

    @property
    def explanation(self) -> tuple[str, ...]:
        """One sentence a candidate: why it was chosen, why it came second, or why it was out."""
        lines = [f"chosen: {self.best.name} ({'; '.join(self.best.reasons)})"]
        for candidate in self.candidates:
            if candidate is not self.best:
                why = candidate.excluded or "; ".join(candidate.reasons)
                lines.append(f"{'out' if candidate.excluded else 'behind'}: {candidate.name} ({why})")
        return tuple(lines)


def choose_series(inspection: Inspection, wish: Wish) -> Choice:
    """The volume that suits the wish best. Raises InputError where none does, or two suit it equally well."""
    fit, out = judged(inspection.series, wish)
    if not fit:
        reasons = "; ".join(f"{one.name}: {one.excluded}" for one in out[:10]) or "there is no series of images"
        raise InputError(
            f"no series in {inspection.path} suits: {reasons}. Give another folder, or choose with --series."
        )
    if len(fit) > 1 and fit[0].points == fit[1].points:
        raise InputError(
            f"{fit[0].name} ({fit[0].series.uid}) and {fit[1].name} ({fit[1].series.uid}) suit equally well. "
            "Choose one with --series or --phase."
        )
    return Choice(fit[0], (*fit, *out))


def judged(series: Sequence[FoundSeries], wish: Wish) -> tuple[list[Candidate], list[Candidate]]:
    """The volumes that suit the wish, best first, and those that are out."""
    candidates = [_judge(one, volume, wish) for one in series for volume in one.volumes]
    fit = sorted((one for one in candidates if not one.excluded), key=lambda one: one.points, reverse=True)
    return fit, [one for one in candidates if one.excluded]


def _judge(series: FoundSeries, volume: FoundVolume, wish: Wish) -> Candidate:
    """Hard rules exclude; soft ones give points in this order: contrast, kernel, orientation, thickness, size."""
    excluded = _excluded(series, volume, wish)
    if excluded or volume.shape is None or volume.spacing_mm is None:
        return Candidate(series, volume, (), (), excluded or "its grid is not known")
    reasons = [f"modality {series.modality}"]
    points = [
        _contrast_point(series, wish, reasons),
        _kernel_point(series, wish, reasons),
        _orientation_point(volume, wish, reasons),
        float("ORIGINAL" in series.image_type),
    ]
    slice_mm = volume.spacing_mm[2]
    reasons.append(f"{volume.shape[2]} slices of {slice_mm:.3g} mm")
    return Candidate(series, volume, (*points, -round(slice_mm, 2), float(volume.shape[2])), tuple(reasons))


def _excluded(series: FoundSeries, volume: FoundVolume, wish: Wish) -> str:
    if volume.outcome == "refused":
        return f"it would be refused: {volume.reason}"
    if series.modality != wish.modality:
        return f"its modality is {series.modality or 'unknown'}, not {wish.modality}"
    said = f"{series.body_part} {series.description} {series.study_description}".lower()
    if wish.body_parts and series.body_part and not any(part.lower() in said for part in wish.body_parts):
        return f"it shows {series.body_part}, not {' or '.join(wish.body_parts)}"
    if "LOCALIZER" in series.image_type:
        return "it is a localizer"
    if wish.most_slice_mm and volume.spacing_mm and volume.spacing_mm[2] > wish.most_slice_mm:
        return f"its slices are {volume.spacing_mm[2]:.3g} mm apart, above {wish.most_slice_mm:g} mm"
    return ""


def _contrast_point(series: FoundSeries, wish: Wish, reasons: list[str]) -> float:
    if not wish.contrast:
        return 0.0
    said = f" {series.description.lower()} "
    named = [phase for phase, words in _PHASE_WORDS.items() if any(word in said for word in words)]
    if named:
        reasons.append(f"contrast phase {named[0]} by its description")
        return 1.0 if wish.contrast in named else -1.0
    if wish.contrast == "none":
        reasons.append("no contrast agent" if not series.contrast_agent else f"contrast agent {series.contrast_agent}")
        return -0.5 if series.contrast_agent else 0.5
    reasons.append("contrast agent given" if series.contrast_agent else "no contrast agent said")
    return 0.5 if series.contrast_agent else 0.0


def _kernel_point(series: FoundSeries, wish: Wish, reasons: list[str]) -> float:
    if not wish.kernel or not series.kernel:
        return 0.0
    is_sharp = any(word in series.kernel.upper() for word in _SHARP_KERNELS)
    reasons.append(f"{'sharp' if is_sharp else 'soft'} kernel {series.kernel}")
    return 1.0 if (wish.kernel == "sharp") == is_sharp else -1.0


def _orientation_point(volume: FoundVolume, wish: Wish, reasons: list[str]) -> float:
    reasons.append(volume.orientation)
    return 1.0 if not wish.orientation or volume.orientation == wish.orientation else 0.0
