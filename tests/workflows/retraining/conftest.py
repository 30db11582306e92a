"""Fixtures of the retraining."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_site import BallImage, Site

from medseg.core.geometry import Geometry
from medseg.datasets.manifest import Manifest
from medseg.exchange.nifti import write_nifti
from medseg.models.registry.registry import CHAMPION, Registry
from medseg.workflows.progress import silent
from medseg.workflows.retraining.selection import open_register
from medseg.workflows.training.train_model import TrainedModel


@pytest.fixture
def site(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ball_data: Manifest, trained: TrainedModel, upright: Geometry
) -> Site:
    monkeypatch.setattr("secrets.token_hex", lambda count: "salt")  # who is for training is then no chance
    registry = Registry(tmp_path / "models")
    registry.add(trained.folder)
    registry.point(CHAMPION, "1", person="ann", reason="first")
    return Site(tmp_path, ball_data, trained, registry, upright)


@pytest.fixture
def site_with_tests(site: Site, ball_image: BallImage) -> Site:
    """The site with 24 patients more, of whom no model has learned; half of all unlearned ones are test cases."""
    rows = list(site.original.rows)
    for number in range(100, 124):
        image, truth = ball_image(site.grid, number)
        channel = next(iter(rows[0].channels))
        for kind, array in (("images", image), ("labels", truth)):
            write_nifti(array, site.grid, site.folder / "more" / kind / f"more{number}.nii.gz")
        image_file = replace(
            rows[0].channels[channel], path=str(site.folder / "more" / "images" / f"more{number}.nii.gz")
        )
        label_file = replace(image_file, path=str(site.folder / "more" / "labels" / f"more{number}.nii.gz"))
        rows.append(
            replace(
                rows[0],
                case=f"more{number}",
                subject=f"more{number}",
                fold=0,
                channels={channel: image_file},
                label=label_file,
            )
        )
    original: Manifest = replace(site.original, rows=tuple(rows))
    open_register(site.registry.folder, original, site.trained.bundle, silent)
    return replace(site, original=original)
