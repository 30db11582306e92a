"""The gate at work: champion and challenger on the frozen test cases, a written verdict, and the promotion by it.

A registry's verdicts lie in REGISTRY/verdicts/CHALLENGER-CHAMPION.json, with a .md for people beside each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from medseg.core.errors import InputError, StoreError
from medseg.core.study import Case
from medseg.datasets.manifest import Manifest
from medseg.datasets.register.register import Register, read_register
from medseg.models.inference.device import DeviceName
from medseg.models.inference.ensemble import Model, members_of
from medseg.models.registry.index import Version
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.review.promotion.gate import PastCorrections, judge
from medseg.review.promotion.shadow import summarise_shadow
from medseg.review.promotion.verdict import GateRules, GateVerdict, read_verdict, write_verdict
from medseg.workflows.progress import Progress, silent
from medseg.workflows.retraining.control import lost_control
from medseg.workflows.retraining.corrections import AcceptedCorrection, accepted_corrections
from medseg.workflows.retraining.measure import JudgedScan, judged_scans, measure
from medseg.workflows.retraining.selection import REGISTER, case_prints
from medseg.workflows.segmenting.shadow import shadow_results


def judge_challenger(
    registry_folder: Path,
    original: Manifest,
    *,
    challenger: str = CHALLENGER,
    rules: GateRules | None = None,
    results: Sequence[Path] = (),
    device: DeviceName = "auto",
    progress: Progress = silent,
) -> GateVerdict:
    """The verdict on a challenger, after it was written into the registry.

    `original` is the data set with which the register of cases was begun. `results` are folders of reviewed results:
    what was corrected there must not be unlearned, and what batches found there in shadow is told. Raises InputError
    where a frozen test case is missing or changed, or the challenger has learned from one; StoreError where a model or
    the register is missing.
    """
    registry = Registry(registry_folder)
    models = [registry.load(CHAMPION), registry.load(challenger)]
    if models[0].sha256 == models[1].sha256:
        raise InputError(f"the {challenger} is the champion itself; there is nothing to judge")
    register = read_register(registry_folder / REGISTER)
    cases = frozen_cases(register, original)
    _require_unseen(models[1], cases, original.facts.name)
    scans = judged_scans(cases, models[0].spec.task)
    champion, rival = measure(models, scans, count=len(cases), device=device, progress=progress)
    verdict = judge(
        champion,
        rival,
        [case.subject for case in cases],
        f"{original.facts.name}, frozen test",
        rules,
        past=_past(models, results, device, progress),
        shadow=summarise_shadow(shadow_results(results, models[0].sha256, models[1].sha256)),
    )
    verdict = verdict.model_copy(update={"warnings": lost_control(*models)})
    write_verdict(verdict, verdict_path(registry_folder, verdict.challenger_sha256, verdict.champion_sha256))
    return verdict


def _past(
    models: Sequence[Model], results: Sequence[Path], device: DeviceName, progress: Progress
) -> PastCorrections | None:
    """Both models on every accepted correction of the folders; None where there is none."""
    subjects: list[str] = []

    def scans() -> Iterator[JudgedScan]:
        for found in accepted_corrections(results, models[0].spec.task):
            if isinstance(found, AcceptedCorrection):
                subjects.append(found.subject or found.prints[0])
                yield JudgedScan(found.study, found.volumes, found.label_map)

    champion, rival = measure(models, scans(), device=device, progress=progress)
    return PastCorrections(champion, rival, tuple(subjects)) if subjects else None


def frozen_cases(register: Register, original: Manifest) -> tuple[Case, ...]:
    """The test cases of a register. Raises InputError where one is missing, or not the scan that was frozen."""
    by_name = {case.name: case for case in original.cases if case.label is not None}
    for name, prints in register.test_prints.items():
        if name not in by_name:
            raise InputError(f"the frozen test case {name} is not in {original.facts.name}; name the data set of old")
        if case_prints(by_name[name], original.task) != prints:
            raise InputError(f"the test case {name} is not the scan that was frozen. Restore it from a backup.")
    return tuple(by_name[name] for name in register.test_prints)


def promote(registry_folder: Path, name: str, *, person: str) -> Version:
    """The version that is champion now, by a verdict that it may be.

    Raises StoreError where nobody has judged it against the champion of now, also where another became champion
    meanwhile, or the gate refused it.
    """
    registry = Registry(registry_folder)
    wanted, champion = registry.version(name), registry.version(CHAMPION)
    path = verdict_path(registry_folder, wanted.sha256, champion.sha256)
    verdict = read_verdict(path)
    if (verdict.challenger_sha256, verdict.champion_sha256) != (wanted.sha256, champion.sha256):
        raise StoreError(f"{path} is a verdict on other models. Judge version {wanted.number} again.")
    if not verdict.is_passed:
        raise StoreError(
            f"the gate refused version {wanted.number}: {', '.join(verdict.failed)} (see {path.with_suffix('.md')}). "
            "The champion stays."
        )
    reason = f"passed the gate: {path.name}"
    return registry.point(CHAMPION, str(wanted.number), person=person, reason=reason, expects=champion.number)


def verdict_path(registry_folder: Path, challenger_sha256: str, champion_sha256: str) -> Path:
    """Where the verdict on one model against another lies."""
    return registry_folder / "verdicts" / f"{challenger_sha256[:12]}-{champion_sha256[:12]}.json"


def _require_unseen(model: Model, cases: Sequence[Case], dataset: str) -> None:
    origins = [member.provenance for member in members_of(model)]
    learned = {name for origin in origins if origin.dataset == dataset for name in origin.case_sha256}
    seen = sorted(case.name for case in cases if case.name in learned)
    if seen:
        raise InputError(f"the challenger has learned from {len(seen)} of the test cases, the first {seen[0]}: refused")
