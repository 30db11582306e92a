"""A registry of models: every version kept by its content, and aliases that say which one is used.

FOLDER/
  registry.sqlite        versions, and the moves of the aliases
  models/SHA256/         a bundle or an ensemble, under the first digits of its identity

The champion is the model that the viewer and batches take by `champion@FOLDER`; a challenger wants to become it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from medseg.core.atomic import whole_folder
from medseg.core.errors import InputError, StoreError
from medseg.models.inference.ensemble import Model, load_folder
from medseg.models.registry.index import INDEX, Index, Move, Version, standing

CHAMPION, CHALLENGER = "champion", "challenger"

_DIGITS = 16
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class Registry:
    """The models of one folder, which is made when the first is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = Index(folder)

    def add(self, source: Path, origin: str = "") -> Version:
        """The version of a bundle or ensemble, copied whole; the one there already where its content is known.

        Raises StoreError where it is missing or altered.
        """
        model = load_folder(source)
        place = self._place(model.sha256)
        if not self._is_whole(place, model.sha256):
            with whole_folder(place) as unfinished:
                shutil.copytree(source, unfinished, dirs_exist_ok=True)
                if load_folder(unfinished).sha256 != model.sha256:
                    raise StoreError(f"the model {source} changed while it was copied. Add it again.")
        self._index.add(model.sha256, model.name, origin)
        return next(version for version in self.versions() if version.sha256 == model.sha256)

    def versions(self) -> tuple[Version, ...]:
        """Every version, in order of its number. Raises StoreError where the folder is no registry."""
        return self._index.versions()

    def history(self, alias: str | None = None) -> tuple[Move, ...]:
        """The moves of one alias or of all, oldest first."""
        return self._index.moves(alias)

    def aliases(self) -> dict[str, int]:
        """The number of the version that each alias points at."""
        names = sorted({move.alias for move in self._index.moves()})
        return {name: self._pointed(name)[-1] for name in names}

    def version(self, name: str) -> Version:
        """The version of an alias, a number, or the first digits of a hash. Raises StoreError where there is none."""
        versions = self.versions()
        number = self.aliases().get(name)
        if number is None and name.isdecimal() and len(name) < _DIGITS // 2:
            number = int(name)
        found = [one for one in versions if one.number == number or (number is None and one.sha256.startswith(name))]
        if len(found) != 1 or not name:
            known = [*self.aliases(), *(str(one.number) for one in versions)]
            raise StoreError(f"the registry {self.folder} has no model {name!r}; it has {', '.join(known) or 'none'}")
        return found[0]

    def folder_of(self, version: Version) -> Path:
        """Where a version lies. Raises StoreError where it is missing from the disk."""
        place = self._place(version.sha256)
        if not place.is_dir():
            raise StoreError(
                f"version {version.number} ({version.sha256[:12]}) is missing from the registry {self.folder}. Import "
                "it again from where it was made, or go back to another with `medseg models rollback`."
            )
        return place

    def load(self, name: str) -> Model:
        """The model of an alias, number or hash. Raises StoreError where it is missing, or not as it was added."""
        version = self.version(name)
        model = load_folder(self.folder_of(version))
        if model.sha256 != version.sha256:
            raise StoreError(
                f"version {version.number} of the registry {self.folder} is another model than was added. Import it "
                "again from where it was made."
            )
        return model

    def point(self, alias: str, name: str, *, person: str, reason: str, expects: int | None = None) -> Version:
        """The version that an alias points at from now on, after it was loaded whole.

        `expects` is the number of the version that it must point at until then, where that matters. Raises StoreError
        where it does not, or the new one cannot be loaded; InputError for an alias that is no plain word.
        """
        if not _ALIAS.fullmatch(alias):
            raise InputError(
                f"an alias is a word of small letters, digits, - and _ that begins with a letter: {alias!r}"
            )
        version = self.version(name)
        self.load(str(version.number))
        self._index.move(alias, version.number, person, reason, expects=expects)
        return version

    def roll_back(self, alias: str, *, person: str, reason: str) -> Version:
        """The version that an alias pointed at before, to which it is pointed again.

        Raises StoreError where there is none, it cannot be loaded, or somebody moved the alias meanwhile.
        """
        pointed = self._pointed(alias)
        if len(pointed) > 1:
            self.load(str(pointed[-2]))
        return self.version(str(self._index.move_back(alias, person, reason, expects=pointed)))

    def _pointed(self, alias: str) -> list[int]:
        return standing([(move.kind, move.number) for move in self._index.moves(alias)])

    def _place(self, sha256: str) -> Path:
        return self.folder / "models" / sha256[:_DIGITS]

    @staticmethod
    def _is_whole(place: Path, sha256: str) -> bool:
        try:
            return load_folder(place).sha256 == sha256
        except StoreError:
            return False


def is_registry(folder: Path) -> bool:
    """Whether a folder is a registry of models."""
    return (folder / INDEX).is_file()
