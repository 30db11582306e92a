"""medseg.toml, environment and flags: what wins, where it came from, and what a mistake is told."""

from pathlib import Path

import pytest

from medseg.core.errors import InputError
from medseg.settings.sources import Loaded, read_settings

SOME = """
[archive]
url = "http://archive:8042/dicom-web"
user = "medseg"
password_file = "secret"
poll_s = 5

[folders]
work = "/data/work"

[[destinations]]
kind = "dimse"
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104

[[routes]]
name = "liver"
model = "models/liver"
match = { modality = "CT", body_parts = ["abdomen", "liver"] }
destinations = ["archive", "pacs"]
"""


def written(folder: Path, text: str) -> Path:
    (folder / "medseg.toml").write_text(text)
    return folder / "medseg.toml"


def source(loaded: Loaded, name: str) -> tuple[str, str]:
    (found,) = [(value, told) for key, value, told in loaded.rows() if key == name]
    return found


class TestPrecedence:
    def test_flag_then_environment_then_file_then_default(self, tmp_path: Path) -> None:
        environment = {
            "MEDSEG_ARCHIVE_POLL_S": "7",
            "MEDSEG_JOBS_WORKERS": "3",
            "MEDSEG_TEST_DATA": "/elsewhere",
            "HOME": "/root",
        }
        loaded = read_settings(written(tmp_path, SOME), environment, ["jobs.workers=2", "retention.images=true"])
        assert source(loaded, "archive.poll_s") == ("7.0", "MEDSEG_ARCHIVE_POLL_S")
        assert source(loaded, "jobs.workers") == ("2", "--set jobs.workers")
        assert source(loaded, "archive.user") == ("medseg", "medseg.toml")
        assert source(loaded, "archive.settle_s") == ("60.0", "default")
        assert source(loaded, "retention.images") == ("true", "--set retention.images")
        assert source(loaded, "routes[1].match.body_parts") == ("[abdomen, liver]", "medseg.toml")
        assert source(loaded, "metrics.port") == ("9464", "default")

    def test_without_a_file_there_are_defaults(self) -> None:
        assert read_settings().settings.jobs.workers == 1
        archive = read_settings(environment={"MEDSEG_ARCHIVE_URL": "https://a/dicom-web"}).settings.archive
        assert archive is not None
        assert archive.url == "https://a/dicom-web"

    def test_lists_are_written_as_in_toml(self) -> None:
        senders = '[{ae_title = "CT1", addresses = ["10.1.2.3"]}]'
        listener = read_settings(environment={"MEDSEG_LISTENER_SENDERS": senders}).settings.listener
        assert listener is not None
        assert [str(sender.ae_title) for sender in listener.senders] == ["CT1"]

    def test_paths_are_relative_to_the_file_and_models_where_they_lie_there(self, tmp_path: Path) -> None:
        (tmp_path / "models" / "liver").mkdir(parents=True)
        text = SOME + '\n[[routes]]\nname = "other"\nmodel = "hippocampus_mr"\nmatch = { modality = "MR" }\n'
        text += '\n[[routes]]\nname = "best"\nmodel = "champion@models"\nmatch = { modality = "MR" }\n'
        settings = read_settings(written(tmp_path, text)).settings
        assert settings.archive is not None
        assert settings.archive.password_file == tmp_path / "secret"
        assert settings.folders.work == Path("/data/work")
        assert [route.model for route in settings.routes] == [
            str(tmp_path / "models" / "liver"),
            "hippocampus_mr",
            f"champion@{tmp_path / 'models'}",
        ]


class TestSecrets:
    def test_do_not_belong_into_the_file(self, tmp_path: Path) -> None:
        text = SOME.replace('password_file = "secret"', 'password = "tops3cret"')
        with pytest.raises(InputError, match="MEDSEG_ARCHIVE_PASSWORD") as refused:
            read_settings(written(tmp_path, text))
        assert "tops3cret" not in str(refused.value)

    def test_are_never_shown(self, tmp_path: Path) -> None:
        text = SOME.replace('password_file = "secret"\n', "")
        loaded = read_settings(written(tmp_path, text), {"MEDSEG_ARCHIVE_PASSWORD": "tops3cret"})
        assert source(loaded, "archive.password") == ("***", "MEDSEG_ARCHIVE_PASSWORD")
        assert "tops3cret" not in repr(loaded)
        with pytest.raises(InputError) as refused:
            read_settings(written(tmp_path, SOME), {"MEDSEG_ARCHIVE_PASSWORD": "tops3cret"})
        assert "not both" in str(refused.value)
        assert "tops3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        pytest.param("[archiv]\nurl = 'x'\n", "archiv is not known. Did you mean archive?", id="section"),
        pytest.param("[jobs]\nworker = 1\n", "jobs.worker is not known. Did you mean workers?", id="key"),
        pytest.param("[jobs]\nxyz = 1\n", "There are: device, failures", id="far key"),
        pytest.param("[jobs]\nworkers = 0\n", "jobs.workers: Input should be greater than or equal to 1", id="value"),
        pytest.param(SOME.replace("body_parts", "bodyparts"), "Did you mean body_parts?", id="nested key"),
        pytest.param(SOME.replace('"pacs"]', '"pax"]'), "destination pax, and there is none; there are: archive, pacs",
                     id="destination"),
        pytest.param(SOME + SOME[SOME.index("[[routes]]") :], "the name liver is used more than once", id="twice"),
        pytest.param(SOME.replace('modality = "CT"', 'modality = "XX"'), "routes.0.match.modality", id="modality"),
        pytest.param(SOME.replace("body_parts =", "station = '(', body_parts ="), "no regular expression", id="words"),
        pytest.param("[jobs\n", "is not TOML", id="no toml"),
        pytest.param(SOME.replace('"dimse"', '"fax"'), "destinations.0", id="kind"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_how_to_mend_it(text: str, mend: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_settings(written(tmp_path, text))
    assert mend in str(refused.value)
    assert "medseg.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("flag", "mend"),
    [("jobs.workers", "takes SECTION.NAME=VALUE"), ("jobs.workers=many", "--set jobs.workers: jobs.workers"),
     ("jobs.x=[1", "no list or table of TOML")],
    ids=["no value", "no number", "no list"],
)  # fmt: skip
def test_a_flag_that_cannot_be(flag: str, mend: str) -> None:
    with pytest.raises(InputError) as refused:
        read_settings(flags=[flag])
    assert mend in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_settings(tmp_path / "medseg.toml")
