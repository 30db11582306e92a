"""WebArchiveConfig: where an archive answers DICOMweb, how to sign in, and how patient and how trusting to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from medseg.core.errors import InputError


def _web_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give the address of the DICOMweb service, such as https://archive:8042/dicom-web")
    if parts.username is not None or parts.password is not None:
        raise ValueError("names and passwords do not belong into an address: use user and password_file")
    if parts.query or parts.fragment:
        raise ValueError("the address ends with the path of the service, such as /dicom-web")
    return url.rstrip("/")


class WebArchiveConfig(BaseModel):
    """An archive that speaks DICOMweb.

    Signing in is by `user` with a password, or by a bearer `token`; a secret lies in a file of its own, or is handed
    in. Each request is tried `tries` times, with pauses that double from `pause_s`, a random part of them left out so
    that many clients do not come back at once. `timeout_s` is how long to wait for a connection and for each next byte,
    `longest_s` how long one object may take in all. A series above `most_instances` or `most_gb` is not fetched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(_web_address)]
    user: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    proxy: str | None = None
    timeout_s: float = Field(default=20.0, gt=0, le=600)
    longest_s: float = Field(default=600.0, gt=0)
    tries: int = Field(default=4, ge=1, le=20)
    pause_s: float = Field(default=0.5, ge=0)
    most_instances: int = Field(default=4000, ge=1)
    most_gb: float = Field(default=8.0, gt=0)

    @model_validator(mode="after")
    def _one_way_to_sign_in(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password_file or a password, not both")
        has_password = self.password is not None or self.password_file is not None
        if has_password != (self.user is not None):
            raise ValueError("user and its password (password_file) belong together; one of them is missing")
        if has_password and (self.token is not None or self.token_file is not None):
            raise ValueError("sign in with user and password or with a token, not both")
        if self.token is not None and self.token_file is not None:
            raise ValueError("give token_file or a token, not both")
        if self.client_key is not None and self.client_certificate is None:
            raise ValueError("client_key needs client_certificate")
        return self

    def credentials(self) -> tuple[str, str] | str | None:
        """User and password, or a token, or None; secrets in files are read now, so that they can be changed.

        Raises InputError where a file cannot be read or is empty.
        """
        if self.user is not None:
            return self.user, _secret(self.password, self.password_file)
        if self.token is not None or self.token_file is not None:
            return _secret(self.token, self.token_file)
        return None


def _secret(value: SecretStr | None, file: Path | None) -> str:
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return ""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the secret in {file} cannot be read ({type(error).__name__}). Check path and rights."
        ) from None
    if not secret:
        raise InputError(f"{file} is empty; it should hold the password or token alone")
    return secret
