"""Work that the viewer gives to processes of its own: scans to segment, through a durable queue."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from medseg.core.errors import InputError, MedsegError
from medseg.jobs.job import JobRecord
from medseg.workflows.results.open_study import StudyEntry, source_of
from medseg.workflows.segmenting.segment_on_request import Requests, result_folder


def _without_place(record: JobRecord) -> str | None:
    """Why a job failed, with the name of its scan in place of where that lies on the server."""
    source = Path(str(record.job.arguments["source"]))
    return None if record.reason is None else record.reason.replace(str(source), source.name)


class Work:
    """The requests of one folder of studies, worked off while there are any. Safe to use from several threads."""

    def __init__(self, folder: Path, results: Path, models: Path | None) -> None:
        self.requests = Requests(folder)
        self.models = models
        self._results = results
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def segment(self, entry: StudyEntry, model: str) -> str:
        """Ask for a study's scan to be segmented with a model by its name; the id of the request.

        Raises StoreError where there is no such model, InputError where it takes more than one scan.
        """
        from medseg.workflows.models.list_models import model_named

        chosen = model_named(model, self.models)
        if len(chosen.channels) > 1:
            raise InputError(
                f"{model} takes the {len(chosen.channels)} channels {', '.join(chosen.channels)}, and a study here "
                "is one scan. Run it with `medseg segment` and name each channel."
            )
        source = entry.path if entry.report is None else source_of(entry, entry.report)
        output = result_folder(self._results, source, model)
        job_id = self.requests.submit(source, chosen.path, chosen.sha256, output)
        self.wake()
        return job_id

    def wake(self) -> None:
        """See to it that somebody works, if there is work."""
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and self.requests.are_open():
                self._thread = threading.Thread(target=self._run, name="segmentation requests", daemon=True)
                self._thread.start()

    def told(self) -> list[dict[str, Any]]:
        """Every request as JSON-ready values, the newest first."""
        self.wake()
        return [
            {
                "id": record.job.id,
                "source": Path(str(record.job.arguments["source"])).name,
                "model": Path(str(record.job.arguments["model"])).name,
                "output": Path(str(record.job.arguments["output"])).name,
                "state": "failed" if record.state == "quarantined" else record.state,
                "reason": _without_place(record),
                "result": record.result,
                "submitted_s": record.submitted_s,
                "settled_s": record.settled_s,
                "progress": progress.model_dump()
                if record.state == "running" and (progress := self.requests.progress(record.job.id))
                else None,
            }
            for record in self.requests.records()
        ]

    def _has_work(self) -> bool:
        """Whether a request is open. Where none is, whoever asks next needs a thread of their own: this one ends."""
        with self._lock:
            is_open = self.requests.are_open()
            if not is_open:
                self._thread = None
            return is_open

    def _run(self) -> None:
        try:
            engine = self.requests.engine()
            try:
                while self._has_work():
                    engine.run()
            finally:
                engine.close()
        except MedsegError as error:
            self.requests.set_aside(str(error))
        except Exception as error:
            self.requests.set_aside(f"an error in medseg, please report it: {type(error).__name__}")
            raise
