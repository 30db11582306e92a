"""The service's log: lines of JSON, without a word of any patient.

What medseg itself logs are events of a closed list with fields that are hashes, counts and reasons cleared of
identifiers. Of other libraries' messages only the library and the level are told: they name addresses, and so studies.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from enum import StrEnum

from medseg.core.errors import InputError
from medseg.exchange.dicom.identifiers import without_identifiers
from medseg.settings.model import Log

LOGGER = "medseg.service"
_WITHHELD = "message withheld: another library's"


class Event(StrEnum):
    """What is logged."""

    STARTED = "service started"
    STOPPING = "service stops"
    STOPPED = "service stopped"
    ARCHIVE = "archive"
    SPOOL = "spool"
    LISTENER = "listener"
    QUEUED = "series queued"
    FETCHED = "series fetched"
    SEGMENTED = "series segmented"
    STORED = "results stored"
    UNCONFIRMED = "results taken without a word that they are kept"
    SETTLED = "job settled"
    POSTPONED = "job postponed"
    FAILED = "job failed"
    DIED = "process died"
    RESTARTED = "process started"
    REMOVED = "results removed"
    RELEASED = "released by hand"


def service_log(event: Event, level: int = logging.INFO, **fields: str | float | None) -> None:
    """Log an event; texts among its fields are cleared of UIDs, and the caller clears them of names."""
    logging.getLogger(LOGGER).log(level, str(event), extra={"fields": fields})


def log_to(settings: Log) -> None:
    """Send the log of this process where the settings say. Raises InputError where the file cannot be written."""
    try:
        handler = logging.FileHandler(settings.file) if settings.file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise InputError(f"the log {settings.file} cannot be written: {error.strerror}. Name another file.") from error
    handler.setFormatter(_JsonLines())
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one.formatter, _JsonLines)]:
        old.close()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("medseg").setLevel(settings.level.upper())
    sys.excepthook = _log_exception


class _JsonLines(logging.Formatter):
    """One record a line."""

    def format(self, record: logging.LogRecord) -> str:
        is_ours = record.name == LOGGER
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if is_ours else _WITHHELD,
            "process": record.process,
        }
        if not is_ours:
            line["library"] = record.name
        fields = getattr(record, "fields", {}) if is_ours else {}
        for name, value in fields.items():
            line[name] = without_identifiers(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[1] is not None:
            line["trace"] = trace_of(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def trace_of(error: BaseException) -> str:
    """Kind and place of an error, innermost first, without its words: they may name what it was about."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))])


def _log_exception(kind: type[BaseException], error: BaseException, _: object) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    service_log(Event.DIED, logging.ERROR, trace=trace_of(error))
