"""docs/service.md names every setting, its example can be read, and so can the settings of deploy/."""

import re
from pathlib import Path

import pytest

from medseg.settings.model import Settings
from medseg.settings.sources import _model_of, read_settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
AS_ARCHIVE = ("destinations",)
"""A section whose other keys are those of another."""

KEYS = [
    f"{section}.{name}"
    for section, field in Settings.model_fields.items()
    for name in (() if section in AS_ARCHIVE else (_model_of(field.annotation) or Settings).model_fields)
]


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_is_told(key: str) -> None:
    assert f"`{key}`" in TEXT


def test_no_setting_is_told_that_there_is_not() -> None:
    sections = "|".join(Settings.model_fields)
    told = set(re.findall(rf"^\| ((?:`(?:{sections})\.\w+`(?:, )?)+)", TEXT, re.MULTILINE))
    names = {name for row in told for name in re.findall(r"`([\w.]+)`", row)}
    assert names - set(KEYS) == {"destinations.kind", "destinations.name"}


def test_the_example_can_be_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "medseg.toml").write_text(example)
    (route,) = read_settings(tmp_path / "medseg.toml").settings.routes
    assert route.match.contrast == "venous"


def test_the_settings_for_deployment_can_be_read() -> None:
    assert read_settings(ROOT / "deploy" / "medseg.toml").settings.archive is not None
