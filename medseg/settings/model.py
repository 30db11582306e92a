"""Settings: everything that medseg.toml can say, with its default; one class a section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medseg.exchange.dicom.network.dimse.config import ClientSettings, DimseNode, ListenerConfig
from medseg.exchange.dicom.network.web.config import WebArchiveConfig
from medseg.settings.routes import Route

DESTINATION_NAME = r"^[a-z][a-z0-9_-]{0,39}$"


class Section(BaseModel):
    """A table of medseg.toml: nothing is changed after it was read, and no unknown key passes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Folders(Section):
    """Where things lie: `state` the databases and the audit log, `work` scans and results.

    Two disks are better than one: a full `work` then stops no database.
    """

    state: Path = Path("medseg-state")
    work: Path = Path("medseg-work")


class Jobs(Section):
    """Who works. A worker above `memory_gb`, or at one job for `most_minutes`, is killed and its job fails.

    A job is set aside after `failures` of them; the pause after the first is `pause_s`, then four times as long and so
    on. What waits for an archive is set aside after `patience_hours`. When the service stops, running jobs get
    `grace_s` to end; what is cut off begins again at the next start.
    """

    workers: int = Field(default=1, ge=1)
    threads: int | None = Field(default=None, ge=1)
    device: Literal["auto", "cpu", "cuda", "openvino"] = "auto"
    memory_gb: float = Field(default=16.0, gt=0)
    most_minutes: float = Field(default=60.0, gt=0)
    failures: int = Field(default=3, ge=1)
    pause_s: float = Field(default=5.0, ge=0)
    patience_hours: float = Field(default=72.0, gt=0)
    grace_s: float = Field(default=60.0, ge=0)


class Archive(WebArchiveConfig):
    """The archive that is watched, and how.

    It is asked every `poll_s`; a study is looked at once its counts have not changed for `settle_s`. Asked for are
    studies from `look_back_days` before today on, all of them with 0. A series that announces more images than there
    are, or whose numbers have gaps, is held; with `incomplete` "process" the check of its slices alone decides.
    """

    poll_s: float = Field(default=15.0, gt=0)
    settle_s: float = Field(default=60.0, ge=0)
    look_back_days: int = Field(default=3, ge=0)
    incomplete: Literal["hold", "process"] = "hold"


class Listener(ListenerConfig):
    """The C-STORE listener, and when a series that was sent to it is whole.

    It is when nothing came for `quiet_s`, its senders have closed their associations, the archive (asked with
    `counts_by_archive`) has as many images, and its slices have no gap; one that is not within `patience_s` is held.
    """

    spool: Path = Path("medseg-spool")
    quiet_s: float = Field(default=30.0, ge=0)
    patience_s: float = Field(default=900.0, ge=0)
    counts_by_archive: bool = False


class WebDestination(WebArchiveConfig):
    """Another archive that results are stored in by DICOMweb; routes call it by its name."""

    kind: Literal["dicomweb"]
    name: str = Field(pattern=DESTINATION_NAME)


class DimseDestination(DimseNode):
    """An archive that results are sent to by C-STORE, and asked to commit itself to; routes call it by its name."""

    kind: Literal["dimse"]
    name: str = Field(pattern=DESTINATION_NAME)


Destination = Annotated[WebDestination | DimseDestination, Field(discriminator="kind")]


class Retention(Section):
    """How long results stay on this machine: `days` after they were stored, `failed_days` where they failed.

    `images` says whether fetched images stay as long as the result, or go at once; left out, they stay where the viewer
    is enabled, which can show nothing without them. The days count from the last that somebody did with the result in
    the viewer; one that was corrected stays, as a model may learn from it. Below `least_free_gb` the oldest results go
    early, the corrected ones last, and while that does not suffice no scan is fetched.
    """

    days: float = Field(default=7.0, ge=0)
    failed_days: float = Field(default=30.0, ge=0)
    images: bool | None = None
    least_free_gb: float = Field(default=5.0, ge=0)


class Viewer(Section):
    """The viewer on the results, as `medseg view`; it opens only those whose scans retention.images keeps.

    At another `address` than this machine's own it needs `access`, a file that says who may sign in. Below `models` lie
    those that its pages may run, besides those that come with medseg.
    """

    enabled: bool = False
    address: str = "127.0.0.1"
    port: int = Field(default=8501, ge=1, le=65535)
    access: Path | None = None
    models: Path | None = None


class Metrics(Section):
    """Where /health and /metrics answer; port 0 takes a free one."""

    address: str = "127.0.0.1"
    port: int = Field(default=9464, ge=0, le=65535)


class Log(Section):
    """Lines of JSON on stderr, or in `file`, which is added to; whoever rotates it does so by copying."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: Path | None = None


class Settings(Section):
    """All of medseg.toml. Without `archive` nothing is watched, without `listener` nothing is received.

    `dimse` says who we are when we send by C-STORE.
    """

    folders: Folders = Folders()
    jobs: Jobs = Jobs()
    archive: Archive | None = None
    listener: Listener | None = None
    dimse: ClientSettings = ClientSettings()
    destinations: tuple[Destination, ...] = ()
    routes: tuple[Route, ...] = ()
    retention: Retention = Retention()
    viewer: Viewer = Viewer()
    metrics: Metrics = Metrics()
    log: Log = Log()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for what, names in (
            ("routes", [route.name for route in self.routes]),
            ("destinations", ["archive", *(destination.name for destination in self.destinations)]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what}: the name {twice[0]} is used more than once")
        known = {destination.name for destination in self.destinations}
        if self.archive is not None:
            known.add("archive")
        for route in self.routes:
            missing = [name for name in route.destinations if name not in known]
            if missing:
                raise ValueError(
                    f"the route {route.name} names the destination {missing[0]}, and there is none; "
                    f"there are: {', '.join(sorted(known)) or 'none'}"
                )
        return self

    @property
    def keeps_images(self) -> bool:
        """Whether fetched images stay as long as the result."""
        said = self.retention.images
        return self.viewer.enabled if said is None else said

    def route(self, name: str) -> Route | None:
        """The route of that name; None where it was taken out of the file."""
        return next((route for route in self.routes if route.name == name), None)
