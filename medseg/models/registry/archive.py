"""A model as one .zip, to be carried from one registry to another."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.models.registry.index import Version
from medseg.models.registry.registry import Registry

MOST_FILES = 1000
MOST_BYTES = 16 * 2**30
"""No model comes near; an archive that claims more is none."""

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


def export_version(registry: Registry, name: str, path: Path) -> Version:
    """The version that was written as a .zip: the same bytes for the same model, whole or not at all."""
    version = registry.version(name)
    registry.load(name)
    folder = registry.folder_of(version)
    with whole_file(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix(), _FIRST_DATE), file.read_bytes())
    return version


def import_model(registry: Registry, source: Path) -> Version:
    """The version of a model in a .zip or a folder. Raises InputError where that is no archive, StoreError as `add`."""
    if source.is_dir():
        return registry.add(source, origin=str(source.absolute()))
    with tempfile.TemporaryDirectory() as place:
        _unpack(source, Path(place))
        return registry.add(Path(place), origin=str(source.absolute()))


def _unpack(source: Path, place: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            files = [item for item in archive.infolist() if not item.is_dir()]
            if len(files) > MOST_FILES or sum(item.file_size for item in files) > MOST_BYTES:
                raise InputError(f"{source} holds more than any model does, and was not unpacked")
            for item in files:
                path = PurePosixPath(item.filename)
                if path.is_absolute() or ".." in path.parts or "\\" in item.filename or ":" in item.filename:
                    raise InputError(f"{source} holds {item.filename!r}, which would lie outside the model's folder")
                archive.extract(item, place)
    except FileNotFoundError as error:
        raise InputError(f"there is no model {source}. Give a bundle's folder, or a .zip of one.") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{source} cannot be unpacked: {error}. Export the model again.") from error
