"""Who may come in, as an access file says."""

from pathlib import Path

import pytest

from apps.viewer.access.accounts import Access, read_access
from apps.viewer.access.roles import User
from apps.viewer.launch import launch_viewer
from medseg.core.errors import InputError

AUTH = """
[auth]
redirect_uri = "http://127.0.0.1:8501/oauth2callback"
cookie_secret = "0123456789012345678901234567890123456789"
client_id = "viewer"
client_secret = "secret"
server_metadata_url = "http://127.0.0.1:9/.well-known/openid-configuration"
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "access.toml").write_text(text)
    return tmp_path / "access.toml"


def test_roles_are_by_address_and_strangers_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("authlib", reason="pip install 'medseg[login]'")
    access = read_access(written(tmp_path, f'[roles]\n"Jane@Hospital.example" = "reviewer"\n{AUTH}'))
    assert access.user({"email": "jane@hospital.EXAMPLE"}) == User("jane@hospital.example", "reviewer")
    assert access.user({"email": "john@hospital.example"}) is None
    assert access.user({}) is None
    assert access.user({"email": "jane@hospital.example", "email_verified": False}) is None


def test_a_default_role_lets_everybody_in_as_that() -> None:
    access = Access(default_role="reader", auth={})
    assert access.user({"email": "john@hospital.example"}) == User("john@hospital.example", "reader")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x =", "no TOML"),
        ("[auth]\n", "lacks redirect_uri"),
        (f'[roles]\n"a@b" = "boss"\n{AUTH}', "cannot be used"),
        (AUTH.replace("0123456789" * 4, "short"), "too short"),
        (f"idle_minutes = 0\n{AUTH}", "cannot be used"),
        (
            AUTH.replace("http://127.0.0.1:8501", "viewer.hospital.example"),
            r"must be such as https://.*/oauth2callback",
        ),
        (AUTH.replace("http://127.0.0.1:8501/", "https://viewer.hospital.example/medseg/"), "must be such as"),
        (AUTH.replace("http://127.0.0.1:8501", "http://["), "must be such as"),
    ],
)
def test_what_is_no_access_file_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    pytest.importorskip("authlib", reason="pip install 'medseg[login]'")
    with pytest.raises(InputError, match=sentence):
        read_access(written(tmp_path, text))


def test_others_are_not_served_without_asking_who_they_are(result_folder: Path) -> None:
    with pytest.raises(InputError, match="nobody would be asked"):
        launch_viewer(result_folder, address="0.0.0.0", may_open_browser=False)
