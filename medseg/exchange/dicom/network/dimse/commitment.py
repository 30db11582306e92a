"""Storage commitment (PS3.4 J): what was asked of an archive, and the reports that come back, in a folder.

The report may come within the association that asked, or hours later in one that the archive opens: then the listener
hears it, another process than the sender. A report to which nobody asked is not kept.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from medseg.core.atomic import whole_file
from medseg.exchange.dicom.elements import items, text
from medseg.exchange.dicom.uids import name_from

_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Report:
    """What an archive says of a transaction: the instances it keeps, and those it does not with its reason code."""

    stored: tuple[str, ...]
    failed: Mapping[str, int]

    def keeps(self, instances: Sequence[str]) -> bool:
        """Whether it keeps all of these."""
        return set(instances) <= set(self.stored)


class CommitmentInbox:
    """Transactions that were asked for, and their reports, below a folder that sender and listener share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "commitments"

    def ask(self) -> str:
        """A new transaction UID, whose report will be kept."""
        transaction = f"2.25.{uuid.uuid4().int}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._asked(transaction).touch()
        return transaction

    def keep(self, information: Dataset) -> bool:
        """Keep a report (PS3.4 J.3.3); False where nobody asked for it."""
        transaction = text(information, "TransactionUID")
        if not self._asked(transaction).exists():
            return False
        with whole_file(self._report(transaction)) as unfinished:
            unfinished.write_text(json.dumps(_facts(information)))
        return True

    def wait(self, transaction: str, seconds: float, is_over: Callable[[], bool] = lambda: False) -> Report | None:
        """The report, waited for that long at most; None where none came. The transaction stays open until closed."""
        ends = time.monotonic() + seconds
        while True:
            report = self._read(transaction)
            if report is not None or time.monotonic() >= ends or is_over():
                return report
            time.sleep(_LOOK_AGAIN_S)

    def close(self, transaction: str) -> None:
        """Forget a transaction and its report."""
        self._asked(transaction).unlink(missing_ok=True)
        self._report(transaction).unlink(missing_ok=True)

    def _read(self, transaction: str) -> Report | None:
        try:
            facts = json.loads(self._report(transaction).read_text())
        except FileNotFoundError:
            return None
        return Report(tuple(facts["stored"]), facts["failed"])

    def _asked(self, transaction: str) -> Path:
        return self._folder / f"{name_from(transaction)}.asked"

    def _report(self, transaction: str) -> Path:
        return self._folder / f"{name_from(transaction)}.json"


def _facts(information: Dataset) -> dict[str, list[str] | dict[str, int]]:
    stored = [text(item, "ReferencedSOPInstanceUID") for item in items(information, "ReferencedSOPSequence")]
    failed = {
        text(item, "ReferencedSOPInstanceUID"): int(item.get("FailureReason") or 0)
        for item in items(information, "FailedSOPSequence")
    }
    return {"stored": stored, "failed": failed}
