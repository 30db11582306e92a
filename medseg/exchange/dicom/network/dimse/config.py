"""Who talks to whom, and how much the listener takes: what medseg.toml says of DIMSE."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, StringConstraints

AeTitle = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=16, pattern=r"^[ -\[\]-~]+$")
]
"""An application entity title (PS3.5 6.2, VR AE): 1 to 16 printable ASCII signs, no backslash."""

OWN_TITLE = "MEDSEG"
PORT = 11112
"""The port that IANA registers for DICOM without privileges (PS3.8 9.1.1)."""


class Settings(BaseModel):
    """What a file says: nothing is changed afterwards, and a misspelt name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsFiles(Settings):
    """PEM files for DICOM over TLS (PS3.15 B.12).

    `certificate` and `key` are our own; `authorities` are those that must have signed the other side's. A listener
    with `authorities` asks every sender for a certificate.
    """

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None


class DimseNode(Settings):
    """Another application entity, such as the archive, and where it listens."""

    ae_title: AeTitle
    host: str
    port: int = Field(ge=1, le=65535)
    tls: TlsFiles | None = None


class ClientSettings(Settings):
    """Who we say we are, and how long we wait: for a connection, for each answer, and between tries.

    A node that does not answer is tried `tries` times, with pauses that double from `pause_s`.
    """

    ae_title: AeTitle = OWN_TITLE
    timeout_s: float = Field(default=30.0, gt=0)
    tries: int = Field(default=4, ge=1, le=20)
    pause_s: float = Field(default=1.0, ge=0)
    commitment_s: float = Field(default=60.0, ge=0)


class AllowedSender(Settings):
    """An application entity that may send to us, from these addresses ("10.1.2.3", "10.1.0.0/16") alone."""

    ae_title: AeTitle
    addresses: tuple[IPvAnyNetwork, ...] = Field(min_length=1)

    def is_at(self, address: str) -> bool:
        """Whether an IP address is one of this sender's."""
        place = ip_address(address.partition("%")[0])
        if isinstance(place, IPv6Address) and place.ipv4_mapped is not None:
            place = place.ipv4_mapped
        return any(place in network for network in self.addresses)


class SpoolLimits(Settings):
    """When the listener answers "out of resources" (0xA700) rather than to fill the disk."""

    most_mb: int = Field(default=50_000, ge=1)
    least_free_mb: int = Field(default=2_000, ge=0)
    most_object_mb: int = Field(default=4_000, ge=1)


class ListenerConfig(Settings):
    """The C-STORE listener: its address, whom it hears, and how much of everything it takes.

    `first_word_s` is how long a connection may say nothing at first, `silence_s` how long one message part may take
    and how long an association may be idle. `most_memory_mb` is a limit that the system enforces on the process.
    """

    spool: Path
    senders: tuple[AllowedSender, ...] = Field(min_length=1)
    ae_title: AeTitle = OWN_TITLE
    host: str = "127.0.0.1"
    port: int = Field(default=PORT, ge=0, le=65535)
    tls: TlsFiles | None = None
    limits: SpoolLimits = SpoolLimits()
    most_associations: int = Field(default=10, ge=1)
    most_connections: int = Field(default=100, ge=1)
    most_pdu_kb: int = Field(default=128, ge=4, le=1024)
    most_memory_mb: int = Field(default=1024, ge=256)
    first_word_s: float = Field(default=5.0, gt=0)
    silence_s: float = Field(default=30.0, gt=0)

    def senders_at(self, address: str) -> tuple[AllowedSender, ...]:
        """Who may speak from an address; empty where nobody may."""
        return tuple(sender for sender in self.senders if sender.is_at(address))
