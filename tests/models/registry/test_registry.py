"""A registry keeps what it is given, says which model is used, and is never half of anything."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from medseg.core.database import connected
from medseg.core.errors import InputError, StoreError
from medseg.models.bundle import WEIGHTS, Provenance, save_bundle
from medseg.models.inference.ensemble import Model, load_folder, save_ensemble
from medseg.models.registry.archive import export_version, import_model
from medseg.models.registry.index import INDEX
from medseg.models.registry.registry import CHALLENGER, CHAMPION, Registry
from medseg.models.spec import ModelSpec
from medseg.models.store import find_model, load_model
from medseg.models.weights import weights_of
from medseg.workflows.models.list_models import list_models, model_named


@pytest.fixture
def bundles(tmp_path: Path, spec: ModelSpec, provenance: Provenance) -> list[Path]:
    """Three models with other weights."""
    places = []
    for seed in range(3):
        torch.manual_seed(seed)
        place = tmp_path / f"run{seed}" / "model"
        save_bundle(place, spec, weights_of(spec.network.build(1, spec.class_count)), provenance, None)
        places.append(place)
    return places


@pytest.fixture
def registry(tmp_path: Path, bundles: list[Path]) -> Registry:
    """Three versions; the champion is the first."""
    registry = Registry(tmp_path / "models of ward 3")
    for place in bundles:
        registry.add(place)
    registry.point(CHAMPION, "1", person="ann", reason="first")
    return registry


def test_versions_are_numbered_and_a_known_model_is_not_added_twice(registry: Registry, bundles: list[Path]) -> None:
    assert [version.number for version in registry.versions()] == [1, 2, 3]
    assert registry.add(bundles[1]).number == 2
    assert [version.number for version in registry.versions()] == [1, 2, 3]
    assert registry.version("2") == registry.version(registry.version("2").sha256[:10])


def test_promoted_and_rolled_back(registry: Registry) -> None:
    for number in "23":
        registry.point(CHAMPION, number, person="ann", reason="better")
    assert registry.aliases() == {CHAMPION: 3}
    assert registry.roll_back(CHAMPION, person="bob", reason="worse on CT").number == 2
    assert registry.roll_back(CHAMPION, person="bob", reason="worse still").number == 1
    with pytest.raises(StoreError, match="no champion to go back to"):
        registry.roll_back(CHAMPION, person="bob", reason="again")
    assert [(move.kind, move.number, move.person) for move in registry.history(CHAMPION)] == [
        ("set", 1, "ann"),
        ("set", 2, "ann"),
        ("set", 3, "ann"),
        ("back", 2, "bob"),
        ("back", 1, "bob"),
    ]


def test_a_champion_that_changed_meanwhile_is_not_replaced(registry: Registry) -> None:
    registry.point(CHAMPION, "2", person="ann", reason="better than 1", expects=1)
    said = r"the champion changed meanwhile: it was version 1, and now points at version 2\. Judge version 3 again"
    with pytest.raises(StoreError, match=said):
        registry.point(CHAMPION, "3", person="bob", reason="better than 1", expects=1)
    with pytest.raises(StoreError, match="it was version 1, and now points at none"):
        registry.point(CHALLENGER, "3", person="bob", reason="new", expects=1)
    assert registry.aliases() == {CHAMPION: 2}


def test_two_who_go_back_at_once_go_back_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in "23":
        registry.point(CHAMPION, number, person="ann", reason="better")
    load = Registry.load

    def load_while_another_goes_back(self: Registry, name: str) -> Model:
        monkeypatch.setattr(Registry, "load", load)
        assert registry.roll_back(CHAMPION, person="bob", reason="worse").number == 2
        return load(self, name)

    monkeypatch.setattr(Registry, "load", load_while_another_goes_back)
    with pytest.raises(StoreError, match="it was version 3, and now points at version 2"):
        registry.roll_back(CHAMPION, person="eve", reason="worse")
    assert registry.aliases() == {CHAMPION: 2}


def test_a_full_disk_is_told_as_such(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def on_a_full_disk(path: Path, what: str, newest_format: int) -> Iterator[sqlite3.Connection]:
        with connected(path, what, newest_format) as connection:
            connection.execute("PRAGMA max_page_count = 1")  # as many as there are: none more can be had
            yield connection

    monkeypatch.setattr("medseg.models.registry.index.connected", on_a_full_disk)
    with pytest.raises(InputError, match=r"models of ward 3 cannot be used: database or disk is full"):
        registry.point(CHAMPION, "2", person="ann", reason="x" * 100_000)
    assert registry.aliases() == {CHAMPION: 1}


def test_a_registry_that_is_being_made_is_none_yet(tmp_path: Path) -> None:
    (tmp_path / "registry.sqlite").touch()
    with pytest.raises(StoreError, match="is no registry of models"):
        Registry(tmp_path).versions()


def test_a_model_is_found_by_alias_wherever_a_model_is_taken(registry: Registry, bundles: list[Path]) -> None:
    registry.point(CHALLENGER, "2", person="ann", reason="new")
    assert load_model(f"champion@{registry.folder}").sha256 == load_folder(bundles[0]).sha256
    assert load_model(Path(f"challenger@{registry.folder}")).sha256 == load_folder(bundles[1]).sha256
    assert load_model(f"3@{registry.folder}").sha256 == load_folder(bundles[2]).sha256
    with pytest.raises(StoreError, match=r"no model 'king'; it has challenger, champion, 1, 2, 3"):
        find_model(f"king@{registry.folder}")
    with pytest.raises(StoreError, match="is no registry of models"):
        find_model(f"champion@{registry.folder.parent}")


def test_the_viewer_lists_it_by_alias_and_takes_up_a_new_champion(registry: Registry) -> None:
    names = [entry.name for entry in list_models(registry.folder) if not entry.is_shipped]
    assert names == ["champion", "3", "2"]
    assert [entry.name for entry in list_models(registry.folder) if entry.is_champion] == ["champion"]
    before = model_named("champion", registry.folder)
    registry.point(CHAMPION, "2", person="ann", reason="better")
    assert model_named("champion", registry.folder).sha256 != before.sha256
    registry.point(CHALLENGER, "2", person="ann", reason="judged")
    assert [one.name for one in list_models(registry.folder) if not one.is_shipped] == [
        "challenger",
        "champion",
        "3",
        "1",
    ]
    assert model_named("champion", registry.folder).sha256 == model_named("challenger", registry.folder).sha256
    beside = [entry.name for entry in list_models(registry.folder.parent) if not entry.is_shipped]
    assert "champion@models of ward 3" in beside


def test_nothing_that_cannot_be_loaded_becomes_champion(registry: Registry) -> None:
    for number in "23":
        (registry.folder_of(registry.version(number)) / WEIGHTS).write_bytes(b"spoilt")
        with pytest.raises(StoreError, match="altered"):
            registry.point(CHAMPION, number, person="ann", reason="better")
    assert registry.aliases() == {CHAMPION: 1}
    with pytest.raises(InputError, match="an alias is a word"):
        registry.point("../x", "1", person="ann", reason="")


def test_a_champion_missing_from_the_disk_is_a_sentence_and_can_be_added_again(
    registry: Registry, bundles: list[Path]
) -> None:
    place = registry.folder_of(registry.version(CHAMPION))
    place.rename(place.with_name("away"))
    with pytest.raises(StoreError, match=r"version 1 .* is missing from the registry"):
        registry.load(CHAMPION)
    assert registry.add(bundles[0]).number == 1
    assert registry.load(CHAMPION).sha256 == load_folder(bundles[0]).sha256


def test_a_registry_of_a_newer_version_is_left_alone(registry: Registry) -> None:
    connection = sqlite3.connect(registry.folder / INDEX)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    for act in (registry.versions, lambda: registry.roll_back(CHAMPION, person="a", reason="")):
        with pytest.raises(StoreError, match="newer medseg"):
            act()


def test_history_cannot_be_rewritten(registry: Registry) -> None:
    connection = sqlite3.connect(registry.folder / INDEX)
    for statement in ("UPDATE moves SET number = 2", "DELETE FROM moves", "DELETE FROM versions"):
        with pytest.raises(sqlite3.IntegrityError, match="immutable"):
            connection.execute(statement)
    connection.close()


def test_from_one_registry_to_another(registry: Registry, tmp_path: Path) -> None:
    archive = tmp_path / "out" / "model.zip"
    export_version(registry, "2", archive)
    again = archive.read_bytes()
    export_version(registry, "2", archive)
    assert archive.read_bytes() == again
    other = Registry(tmp_path / "other")
    assert import_model(other, archive).sha256 == registry.version("2").sha256
    assert load_model(f"1@{other.folder}").sha256 == registry.version("2").sha256


def test_an_ensemble_is_a_model_too(tmp_path: Path, bundles: list[Path], registry: Registry) -> None:
    members = {f"fold_{n}": load_folder(place) for n, place in enumerate(bundles)}
    save_ensemble(tmp_path / "five", members)  # type: ignore[arg-type]
    archive = tmp_path / "five.zip"
    registry.point(CHAMPION, str(registry.add(tmp_path / "five").number), person="ann", reason="five")
    export_version(registry, CHAMPION, archive)
    assert import_model(Registry(tmp_path / "other"), archive).sha256 == registry.version(CHAMPION).sha256


@pytest.mark.parametrize("name", ["../evil", "/evil", "a\\..\\evil"])
def test_an_archive_that_reaches_out_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(InputError, match="outside the model's folder"):
        import_model(Registry(tmp_path / "r"), tmp_path / "bad.zip")


def test_what_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_bytes(b"text")
    with pytest.raises(InputError, match="cannot be unpacked"):
        import_model(Registry(tmp_path / "r"), tmp_path / "text.zip")
    with pytest.raises(InputError, match="there is no model"):
        import_model(Registry(tmp_path / "r"), tmp_path / "none.zip")


PROMOTE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from medseg.models.registry.registry import Registry
registry, places = Registry(Path(sys.argv[1])), [Path(place) for place in sys.argv[2:]]
for n in itertools.count():
    version = registry.add(places[n % len(places)])
    registry.point("champion", str(version.number), person="loop", reason=str(n))
    print(n, flush=True)
"""


def test_killed_while_promoting_the_champion_is_always_whole(registry: Registry, bundles: list[Path]) -> None:
    """What it said was promoted stays promoted."""
    arguments = [sys.executable, "-c", PROMOTE_FOR_EVER, str(registry.folder), *map(str, bundles)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGKILL)
    moves = [move for move in registry.history(CHAMPION) if move.person == "loop"]
    assert int(said[-1]) <= int(moves[-1].reason)
    assert registry.load(CHAMPION).sha256 == registry.version(str(moves[-1].number)).sha256
