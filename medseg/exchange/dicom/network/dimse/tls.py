"""TLS for DIMSE (PS3.15 B.12, BCP 195): contexts of the standard library from the files that the settings name."""

from __future__ import annotations

import ssl

from medseg.core.errors import InputError
from medseg.exchange.dicom.network.dimse.config import TlsFiles


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """What the listener shows, and asks for where `authorities` are given. Raises InputError for unusable files."""
    if files.certificate is None:
        raise InputError("the listener's tls needs a certificate and a key: name the two PEM files.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, files)
    if files.authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """What a client asks of the other side: a certificate for its name by `authorities`, or the system's.

    Raises InputError for unusable files.
    """
    context = ssl.create_default_context()
    if files.authorities is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, files)
    return context


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
        if files.authorities is not None:
            context.load_verify_locations(files.authorities)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(str(path) for path in (files.certificate, files.key, files.authorities) if path is not None)
        raise InputError(
            f"the TLS files {names} cannot be used ({error.strerror or type(error).__name__}). Name a certificate and "
            "the key that belongs to it, as PEM files that this user may read."
        ) from error
