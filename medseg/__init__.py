"""medseg: medical image segmentation, from scan to reviewed findings.

The public names are loaded when they are first used, so that `import medseg` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.core.errors import GeometryError, InputError, MedsegError, PlanError, StoreError
    from medseg.core.findings import Finding, Measurement
    from medseg.core.geometry import Geometry
    from medseg.core.label_map import LabelMap
    from medseg.core.labels import Code, Label, LabelSchema
    from medseg.core.report import Report
    from medseg.core.task import Task, load_task
    from medseg.core.volume import Volume
    from medseg.exchange.read import read_label_map, read_scan
    from medseg.models.bundle import load_bundle
    from medseg.workflows.segmenting.segment_study import segment_study
    from medseg.workflows.training.train_model import train_model

__version__ = "0.1.0"

_HOMES = {
    "Code": "core.labels",
    "Finding": "core.findings",
    "Geometry": "core.geometry",
    "GeometryError": "core.errors",
    "InputError": "core.errors",
    "Label": "core.labels",
    "LabelMap": "core.label_map",
    "LabelSchema": "core.labels",
    "Measurement": "core.findings",
    "MedsegError": "core.errors",
    "PlanError": "core.errors",
    "Report": "core.report",
    "StoreError": "core.errors",
    "Task": "core.task",
    "Volume": "core.volume",
    "load_bundle": "models.bundle",
    "load_task": "core.task",
    "read_label_map": "exchange.read",
    "read_scan": "exchange.read",
    "segment_study": "workflows.segmenting.segment_study",
    "train_model": "workflows.training.train_model",
}

__all__ = [
    "Code",
    "Finding",
    "Geometry",
    "GeometryError",
    "InputError",
    "Label",
    "LabelMap",
    "LabelSchema",
    "Measurement",
    "MedsegError",
    "PlanError",
    "Report",
    "StoreError",
    "Task",
    "Volume",
    "load_bundle",
    "load_task",
    "read_label_map",
    "read_scan",
    "segment_study",
    "train_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"medseg.{_HOMES[name]}"), name)
