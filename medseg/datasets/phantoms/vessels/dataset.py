"""Made vessel studies to train on, more varied than real ones: grids, scanners and surroundings all drawn at random.

A network that has seen only such studies must be judged on others (Tobin et al. 2017, domain randomisation).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator

from medseg.core.atomic import require_output_folder, whole_folder
from medseg.core.errors import InputError
from medseg.core.geometry import Geometry
from medseg.core.task import load_task
from medseg.datasets.manifest import MANIFEST, CaseRow, DataSet, Manifest, read_manifest, write_manifest
from medseg.datasets.phantoms.dataset import FOLDS, listed
from medseg.datasets.phantoms.tubes import Tube
from medseg.datasets.phantoms.vessels.lesions import Disease
from medseg.datasets.phantoms.vessels.study import VesselScene, make_vessel_study, vessel_grid
from medseg.datasets.phantoms.vessels.tree import STYLES, GrownBranch, Likeness, grow_tree, style_of
from medseg.exchange.nifti import write_nifti

VesselModality = Literal["CT", "MR"]

TASKS: dict[VesselModality, str] = {"CT": "vessels_cta", "MR": "vessels_mra"}
SEED_FAMILY: dict[VesselModality, int] = {"CT": 1_000_000, "MR": 2_000_000}
"""Where the seeds of training studies begin: far from those that benchmarks judge on."""

SIDE_MM = 66.0

SOLIDS_SCALE = (0.6, 2.0)
"""Chambers and bone from smaller than a network's window to larger."""

THINNING: dict[VesselModality, tuple[float, float]] = {"CT": (0.6, 1.1), "MR": (0.3, 1.1)}
"""By how much vessels are thinner than their likeness's: MR angiograms show the brain's small ones."""

MOST_BRANCHES = 24

FILLED = (0.75, 1.0)
"""The share of each side of the grid that the tree takes; beyond it there is tissue without a vessel."""


def write_vessel_dataset(
    folder: Path,
    modality: VesselModality,
    *,
    cases: int = 60,
    seed: int = 0,
    processes: int = 1,
    stented_share: float = 0.0,
    on_study: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write a made data set of vessels in five folds and return its manifest; it appears whole or not at all.

    Label 1 is the open lumen, through narrowings too (`seen_lumen`); `truth/*.json` holds each study's VesselTruth. A
    study depends on its seed alone, not on the `processes` that share the work. Raises InputError when there are fewer
    cases than folds. Of the narrowings, `stented_share` lie in a stent.
    """
    if cases < FOLDS:
        raise InputError(f"a made data set has at least {FOLDS} cases, one a fold; got {cases}")
    require_output_folder(folder, own=MANIFEST)
    first = SEED_FAMILY[modality] + 10_000 * seed
    with whole_folder(folder) as unfinished:
        disease = Disease(lesions=(0, 7), percent=(20.0, 95.0), stented_share=stented_share)
        write = partial(_write_study, root=unfinished, modality=modality, first=first, disease=disease)
        rows: list[CaseRow] = []
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            for row in pool.map(write, range(first, first + cases)):
                rows.append(row)
                if on_study is not None:
                    on_study(len(rows), cases)
        write_manifest(
            Manifest(_facts(modality, cases, seed), load_task(TASKS[modality]), tuple(rows), unfinished), unfinished
        )
    return read_manifest(folder, folder)


def drawn_training_scene(modality: VesselModality, generator: Generator) -> VesselScene:
    """A scene from wider ranges than scanners give, so that real ones fall inside."""
    if modality == "MR":
        lumen = float(generator.uniform(180, 700))
        return VesselScene(
            kind="TOF",
            lumen_hu=lumen,
            tissue_hu=lumen * float(generator.uniform(0.1, 0.55)),
            point_spread_mm=float(generator.uniform(0.1, 0.6)),
            noise_sd_hu=lumen * float(generator.uniform(0.01, 0.2)),
            noise_grain_mm=float(generator.uniform(0.0, 0.8)),
            has_surroundings=bool(generator.random() < 0.8),
            surroundings_scale=float(generator.uniform(*SOLIDS_SCALE)),
            has_origin=bool(generator.random() < 0.2),
        )
    return VesselScene(
        lumen_hu=float(generator.uniform(180, 650)),
        tissue_hu=float(generator.uniform(-90, 90)),
        calcium_hu=float(generator.uniform(600, 1300)),
        point_spread_mm=float(generator.uniform(0.25, 0.6)),
        noise_sd_hu=float(generator.uniform(8, 50)),
        noise_grain_mm=float(generator.uniform(0.2, 0.8)),
        has_surroundings=bool(generator.random() < 0.8),
        surroundings_scale=float(generator.uniform(*SOLIDS_SCALE)),
        has_origin=bool(generator.random() < 0.5),
        motion_mm=float(generator.uniform(0.2, 0.9)) if generator.random() < 0.2 else 0.0,
        beam_hardening=float(generator.uniform(0.0, 0.1)),
    )


def drawn_training_grid(generator: Generator) -> Geometry:
    """A cube of about 66 mm in voxels of 0.3 to 0.65 mm, slices 0.3 to 1.0 mm apart."""
    in_plane = float(generator.uniform(0.3, 0.65))
    spacing = (in_plane, in_plane, float(generator.uniform(max(0.3, 0.8 * in_plane), 1.0)))
    i, j, k = (round(SIDE_MM / length) for length in spacing)
    return vessel_grid((i, j, k), spacing)


def drawn_training_tree(
    likeness: Likeness, modality: VesselModality, geometry: Geometry, generator: Generator
) -> list[GrownBranch]:
    """A tree of the likeness, thinner than usual or not, in a part of the grid: elsewhere there is no vessel."""
    style = style_of(likeness)
    thinner = float(generator.uniform(*THINNING[modality]))
    low, high = style.root_radius_mm
    style = replace(
        style,
        root_radius_mm=(low * thinner, high * thinner),
        least_radius_mm=style.least_radius_mm * thinner,
        most_branches=min(MOST_BRANCHES, round(style.most_branches / thinner)),
    )
    extent = np.abs(geometry.corners_mm() - geometry.centre_mm).min(axis=0) * 2
    filled = extent * generator.uniform(*FILLED, 3)
    moved = generator.uniform(-0.5, 0.5, 3) * (extent - filled)
    return [
        GrownBranch(branch.parent, Tube(branch.tube.points_mm + moved, branch.tube.radii_mm))
        for branch in grow_tree(style, filled, generator)
    ]


def _write_study(seed: int, *, root: Path, modality: VesselModality, first: int, disease: Disease) -> CaseRow:
    generator = np.random.default_rng([seed, 21])
    likeness = tuple(STYLES)[int(generator.integers(len(STYLES)))]
    grid = drawn_training_grid(generator)
    made = make_vessel_study(
        seed,
        likeness,
        geometry=grid,
        disease=disease,
        scene=drawn_training_scene(modality, generator),
        grown=drawn_training_tree(likeness, modality, grid, generator),
    )
    name = f"vessels_{seed:07d}"
    image, label, truth = (root / f"{kind}/{name}{end}" for kind, end in _KINDS)
    truth.parent.mkdir(exist_ok=True)
    write_nifti(made.volume.array, made.volume.geometry, image)
    write_nifti(made.lumen.astype(np.uint8), made.volume.geometry, label)
    truth.write_text(made.truth.model_dump_json(), encoding="utf-8")
    return CaseRow(name, name, (seed - first) % FOLDS, {modality: listed(image, root)}, listed(label, root))


_KINDS = (("images", ".nii.gz"), ("labels", ".nii.gz"), ("truth", ".json"))


def _facts(modality: VesselModality, cases: int, seed: int) -> DataSet:
    return DataSet(
        name=TASKS[modality],
        title=f"Made {'CT' if modality == 'CT' else 'time-of-flight MR'} angiograms with truth by formula",
        task=TASKS[modality],
        licence="CC0-1.0",
        licence_address="https://creativecommons.org/publicdomain/zero/1.0/",
        notes=(f"{cases} cases, made by medseg from seed {seed}; no patient is in them",),
    )
