"""A service for tests: a model that takes every voxel for liver, its settings, and its parts to turn by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w
import torch
from orthanc import Orthanc

from medseg.core.task import Channel, load_task
from medseg.exchange.dicom.network.web.archive import WebArchive
from medseg.imaging.preparing.normalize import ZScore
from medseg.imaging.preparing.preparation import Preparation
from medseg.jobs.queue import Queue
from medseg.jobs.worker import Outcome, outcome_of, record
from medseg.models.bundle import Provenance, save_bundle
from medseg.models.networks.unet3d import UNet3DConfig
from medseg.models.spec import ModelSpec, SlidingWindow
from medseg.models.weights import weights_of
from medseg.settings.model import Settings
from medseg.settings.sources import read_settings
from medseg.workflows.service.intake.watch_archive import Watcher
from medseg.workflows.service.ledger import Ledger
from medseg.workflows.service.places import Places
from medseg.workflows.service.start_worker import TreatSeries

SHAPE = (16, 16, 8)


def save_model(folder: Path, phases: int = 1) -> Path:
    """A bundle for CT, of one phase or several, whose network knows one answer: the first label, everywhere."""
    channels = tuple(Channel(name=f"phase {number + 1}", modality="CT") for number in range(phases))
    spec = ModelSpec(
        task=load_task("phantom_ct").model_copy(update={"channels": channels}),
        preparation=Preparation(spacing_mm=(15.0, 15.0, 24.0), normalization=(ZScore(),) * phases),
        network=UNet3DConfig(
            channels=(4, 4, 4), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)), kernel_sizes=((3, 3, 3),) * 3
        ),
        window=SlidingWindow(patch=(16, 16, 8)),
    )
    weights = {
        name: torch.zeros_like(tensor)
        for name, tensor in weights_of(spec.network.build(phases, spec.class_count)).items()
    }
    for tensor in weights.values():
        if tensor.shape == (spec.class_count,):
            tensor[1] = 9.0
    provenance = Provenance(
        created=datetime(2026, 1, 2, tzinfo=UTC), medseg_version="0.1.0", torch_version="2", machine="a test",
        dataset="made", plan_toml="", seed=0, epochs=1, training_s=1.0, case_sha256={"a": "0" * 64},
    )  # fmt: skip
    save_bundle(folder, spec, weights, provenance, None)
    return folder


def write_settings(folder: Path, orthanc: Orthanc | str, **sections: Any) -> Path:
    """A medseg.toml below a folder: one route for CT by its model, and short waits; sections are laid over."""
    if not (folder / "model").exists():
        save_model(folder / "model")
    settings: dict[str, Any] = {
        "jobs": {"workers": 1, "threads": 1, "pause_s": 0.05},
        "archive": {
            "url": orthanc if isinstance(orthanc, str) else orthanc.dicomweb_url,
            "poll_s": 0.2, "settle_s": 0, "look_back_days": 0, "pause_s": 0.05, "tries": 2, "timeout_s": 5.0,
        },
        "retention": {"least_free_gb": 0.01},
        "metrics": {"port": 0},
        "log": {"file": "service.log"},
        "routes": [{"name": "liver", "model": "model", "match": {"modality": "CT"}}],
    }  # fmt: skip
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section} if isinstance(section, dict) else section
    settings["folders"] = {"state": "state", "work": "work"}
    (folder / "medseg.toml").write_text(tomli_w.dumps(settings))
    return folder / "medseg.toml"


@dataclass(slots=True)
class ServiceParts:
    """Watcher and worker of a service in this very process, turned by hand."""

    settings: Settings
    places: Places
    ledger: Ledger
    queue: Queue
    run: Any

    @classmethod
    def of(cls, file: Path) -> ServiceParts:
        settings = read_settings(file).settings
        places = Places.of(settings)
        places.make()
        return cls(settings, places, Ledger(places.ledger_file), places.queue(), TreatSeries(settings)(1))

    def watch(self) -> int:
        """One look at the archive; how many jobs were new."""
        assert self.settings.archive is not None
        watcher = Watcher(self.settings, self.settings.archive, self.ledger, self.queue)
        with WebArchive(self.settings.archive) as archive:
            return watcher.look(archive)

    def work(self) -> Outcome | None:
        """One job, as a worker does it; None where none waits."""
        claim = self.queue.claim("a test")
        if claim is None:
            return None
        outcome = outcome_of(self.run, claim.job)
        record(self.queue, claim, outcome)
        return outcome


MakeParts = Callable[..., ServiceParts]
"""Makes the parts of a service; sections of its settings may be given."""
