"""Hand a model on to other programs: an ONNX file, or a MONAI Bundle."""

from __future__ import annotations

from pathlib import Path

from medseg.core.errors import InputError
from medseg.models.bundle import ModelBundle
from medseg.models.export.monai_bundle import MonaiExport, write_monai_bundle
from medseg.models.export.onnx_file import Agreement, write_onnx
from medseg.models.export.record import not_carried
from medseg.models.inference.ensemble import Ensemble
from medseg.models.store import load_model

__all__ = ["Agreement", "MonaiExport", "export_monai", "export_onnx"]


def export_onnx(model: str | Path, path: Path) -> tuple[Agreement, tuple[str, ...]]:
    """How well the ONNX file of a bundle agrees with torch, and what the bundle does that the file does not.

    The file is written whole, or not at all where it is off. Raises as `write_onnx` does, and StoreError for a model
    that is missing or altered.
    """
    bundle = _single_bundle(model)
    return write_onnx(bundle, path), not_carried(bundle.spec)


def export_monai(model: str | Path, path: Path) -> tuple[MonaiExport, tuple[str, ...]]:
    """The MONAI Bundle of a bundle, a folder or a zip by the path's ending, and what it leaves out.

    Raises as `write_monai_bundle` does, and StoreError for a model that is missing or altered.
    """
    bundle = _single_bundle(model)
    return write_monai_bundle(bundle, path), not_carried(bundle.spec)


def _single_bundle(model: str | Path) -> ModelBundle:
    loaded = load_model(model)
    if isinstance(loaded, Ensemble):
        members = ", ".join(bundle.name for bundle in loaded.members)
        raise InputError(f"{model} is an ensemble; export one of the models in its folder: {members}")
    return loaded
