"""Open a data set in any layout, check it, and fetch it."""

from __future__ import annotations

from pathlib import Path

import httpx

from medseg.datasets.checks import CheckedManifest, check_manifest
from medseg.datasets.fetch import fetch
from medseg.datasets.layouts import list_cases, read_folder, with_checksums
from medseg.datasets.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from medseg.datasets.nnunet.write_folder import write_nnunet_folder
from medseg.datasets.phantoms.vessels.dataset import VesselModality, write_vessel_dataset
from medseg.workflows.progress import Progress, silent

CONNECT_TIMEOUT_S = 30.0


def open_data_set(folder: Path, data_root: Path | None = None, splits: Path | None = None) -> Manifest:
    """The data set that a manifest folder, an MSD or nnU-Net folder, or a pair of images/ and labels/ describes.

    `data_root` is where the data of a manifest lies; without it, beside the manifest itself. A manifest that lists no
    cases yet, for data that is there, is filled from the folder's layout. `splits` is nnU-Net's splits_final.json, for
    folds as nnU-Net has them. Raises InputError where nothing is found, or the splits do not fit.
    """
    if splits is not None or data_root is None or not (folder / MANIFEST).is_file():
        return read_folder(folder, splits=splits)
    manifest = read_manifest(folder, data_root)
    if not manifest.rows and manifest.data_folder.is_dir():
        return list_cases(manifest.facts, manifest.task, manifest.data_folder)
    return manifest


def check_data_set(manifest: Manifest, *, checksums: bool = True, progress: Progress = silent) -> CheckedManifest:
    """What is wrong with the data set, if anything, and a summary of its cases."""
    return check_manifest(
        manifest, checksums=checksums, on_case=lambda done, total: progress("Checking cases", done, total)
    )


def list_data_set(manifest: Manifest, folder: Path, progress: Progress = silent) -> Manifest:
    """Write manifest.toml and cases.csv, with the checksum of every file, into a folder; the manifest written."""
    summed = with_checksums(manifest, lambda done, total: progress("Hashing files", done, total))
    write_manifest(summed, folder)
    return summed


def export_nnunet(manifest: Manifest, folder: Path, progress: Progress = silent) -> int:
    """Write the data set as nnU-Net's folder of raw data, whole or not at all; how many cases it has."""
    return write_nnunet_folder(manifest, folder, lambda done, total: progress("Exporting cases", done, total))


def fetch_data_set(manifest: Manifest, progress: Progress = silent) -> int:
    """Download what is missing; how many files or archives came. Raises InputError where a download fails."""
    with httpx.Client(follow_redirects=True, timeout=CONNECT_TIMEOUT_S) as client:
        return fetch(
            manifest, client, on_bytes=lambda name, done, total: progress(f"Fetching {name}", done, total or done)
        )


def make_vessels(
    folder: Path,
    modality: VesselModality,
    *,
    cases: int = 60,
    seed: int = 0,
    processes: int = 1,
    stented_share: float = 0.0,
    progress: Progress = silent,
) -> Manifest:
    """The manifest of a made data set of angiograms, written to the folder. Raises InputError where it holds files."""
    return write_vessel_dataset(
        folder,
        modality,
        cases=cases,
        seed=seed,
        processes=processes,
        stented_share=stented_share,
        on_study=lambda done, total: progress("Making angiograms", done, total),
    )
