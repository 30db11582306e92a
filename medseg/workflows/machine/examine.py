"""examine_machine: everything medseg uses of a machine, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from medseg.core.errors import InputError, MedsegError
from medseg.core.extras import require_extra

State = Literal["fine", "optional", "missing"]
"""There; not there, and only some users need it; not there, and medseg does not work without it."""

SETTINGS = "medseg.toml"
LEAST_FREE_GB = 5.0
LEAST_MEMORY_GB = 8.0
ARCHIVE_TIMEOUT_S = 5.0

PROGRAMS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "chromium": (("chromium", "chromium-browser", "google-chrome"), "tests of the viewer", "apt-get install chromium"),
    "Orthanc": (("Orthanc",), "tests with a real archive", "apt-get install orthanc"),
    "dcmtk": (("storescu",), "tests with a real sender", "apt-get install dcmtk"),
}
"""Programs beside Python: the names they may have, what they are for, and what installs them."""

CODECS = {"JPEG": "JPEG8", "JPEG-LS": "JPEGLS", "JPEG 2000": "JPEG2K", "JPEG XL": "JPEGXL"}
"""Compressions of DICOM, by the name of the codec in imagecodecs; RLE is decoded by medseg itself."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `mend` is what to do where it is not fine, else empty."""

    group: str
    name: str
    state: State
    found: str
    mend: str = ""


def examine_machine(folder: Path = Path()) -> tuple[Check, ...]:
    """Every check, in the order they are shown; `folder` is where results would go and medseg.toml may lie.

    Raises InputError where there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give the folder that results will lie in.")
    looks: tuple[Callable[[], Iterator[Check]], ...] = (
        _machine,
        _accelerator,
        _codecs,
        lambda: _disk(folder),
        _packages,
        _extras,
        _programs,
        lambda: _archive(folder / SETTINGS),
    )
    return tuple(check for look in looks for check in look())


def _machine() -> Iterator[Check]:
    from medseg.jobs.cores import usable_cores

    yield Check(
        "machine", "system", "fine", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    yield Check("machine", "cores", "fine", f"{usable_cores()} of {os.cpu_count()}")
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    is_enough = memory_gb >= LEAST_MEMORY_GB
    mend = f"from {LEAST_MEMORY_GB:.0f} GB on large scans and trainings fit; `--forecast` says what one needs"
    yield Check(
        "machine", "memory", "fine" if is_enough else "optional", f"{memory_gb:.1f} GB", "" if is_enough else mend
    )


def _accelerator() -> Iterator[Check]:
    import torch

    from medseg.models.inference.device import choose_device, has_fast_bfloat16

    device = choose_device()
    if device.type == "cuda":
        held = torch.cuda.get_device_properties(device)
        yield Check("network", "GPU", "fine", f"{held.name}, {held.total_memory / 1e9:.0f} GB")
    else:
        built = f"torch {torch.__version__}" + (" without CUDA" if torch.version.cuda is None else "")
        yield Check("network", "GPU", "optional", f"none, {built}", "medseg runs on the cores; a CUDA GPU is faster")
    if has_fast_bfloat16(device):
        yield Check("network", "bfloat16", "fine", f"in hardware, on the {device.type}")
    else:
        yield Check("network", "bfloat16", "optional", "not in hardware", "networks run in float32, about half as fast")


def _codecs() -> Iterator[Check]:
    import imagecodecs

    for name, codec in CODECS.items():
        if getattr(imagecodecs, codec).available:
            yield Check("codecs", name, "fine", "decoded")
        else:
            yield Check(
                "codecs", name, "missing", "not in this imagecodecs", "pip install --force-reinstall imagecodecs"
            )


def _disk(folder: Path) -> Iterator[Check]:
    place = folder.resolve()
    free_gb = shutil.disk_usage(place).free / 1e9
    is_writable = os.access(place, os.W_OK)
    if not is_writable:
        yield Check(
            "disk", "results", "missing", f"{place} cannot be written", "name another folder, or change its rights"
        )
    elif free_gb < LEAST_FREE_GB:
        yield Check(
            "disk", "results", "optional", f"{free_gb:.1f} GB free in {place}", "make room before a large batch"
        )
    else:
        yield Check("disk", "results", "fine", f"{free_gb:.0f} GB free in {place}")


def _packages() -> Iterator[Check]:
    lacking = [name for name in _required("") if _installed(name) is None]
    if lacking:
        yield Check("packages", "required", "missing", f"without {', '.join(lacking)}", "pip install medseg")
    else:
        yield Check("packages", "required", "fine", f"all {len(_required(''))}")


def _extras() -> Iterator[Check]:
    for extra in _extra_names():
        lacking = [name for name in _required(extra) if _installed(name) is None]
        if lacking:
            yield Check("extras", extra, "optional", f"without {', '.join(lacking)}", f"pip install 'medseg[{extra}]'")
        else:
            yield Check("extras", extra, "fine", "installed")


def _programs() -> Iterator[Check]:
    for name, (commands, purpose, install) in PROGRAMS.items():
        path = next(filter(None, map(shutil.which, commands)), None)
        if path:
            yield Check("programs", name, "fine", path)
        else:
            yield Check("programs", name, "optional", f"not found; for {purpose}", install)


def _archive(file: Path) -> Iterator[Check]:
    """Whether the archive of medseg.toml answers and lets us in; nothing where none is named."""
    from medseg.settings.sources import read_settings

    if not file.is_file():
        return
    try:
        archive = read_settings(file, os.environ).settings.archive
    except InputError as error:
        yield Check(
            "archive", SETTINGS, "missing", str(error), f"mend it; `medseg config check --config {file}` looks again"
        )
        return
    if archive is None:
        return
    try:
        require_extra("asking an archive", "network", ("dicomweb_client", "requests"))
    except MedsegError as error:
        yield Check("archive", "DICOMweb", "missing", str(error), "pip install 'medseg[network]'")
        return
    try:
        from medseg.exchange.dicom.network.web.archive import WebArchive

        with WebArchive(archive.model_copy(update={"tries": 1, "timeout_s": ARCHIVE_TIMEOUT_S})) as asked:
            next(asked.studies(most=1), None)
    except MedsegError as error:
        yield Check("archive", "DICOMweb", "missing", str(error), f"start the archive, or mend [archive] in {file}")
    else:
        yield Check("archive", "DICOMweb", "fine", f"{archive.url} answers")


def _required(extra: str) -> list[str]:
    """Names of the packages that medseg, or one extra of it, asks for on this system; its own extras are opened up."""
    names: list[str] = []
    for line in requires("medseg") or []:
        requirement, _, marker = line.partition(";")
        found = re.search(r"""extra == ["']([\w-]+)["']""", marker)
        other = re.search(r"""platform_system == ["'](\w+)["']""", marker)
        if (found[1] if found else "") != extra or (other and other[1] != platform.system()):
            continue
        own = re.match(r"medseg\[([^]]+)\]", requirement)
        inner = [name for part in own[1].split(",") for name in _required(part)] if own else []
        names += inner or [re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]]
    return names


def _extra_names() -> list[str]:
    found = re.findall(r"""extra == ["']([\w-]+)["']""", " ".join(requires("medseg") or []))
    return sorted(set(found))


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
