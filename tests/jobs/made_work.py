"""Work for worker processes, which import it by name: jobs that write, fail, kill themselves, or take their time."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from medseg.core.atomic import whole_file
from medseg.core.errors import InputError
from medseg.jobs.engine import HopelessError, PostponedError, Run
from medseg.jobs.job import Job


@dataclass(frozen=True)
class Work:
    """Starts a worker; each start and each run leaves a line in a log, written in one piece."""

    log: Path
    fails_to_start: str = ""

    def __call__(self, threads: int) -> Run:
        if self.fails_to_start == "told":
            raise InputError("the model was altered")
        if self.fails_to_start == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        self.note(f"start {threads}")
        return self.run

    def note(self, line: str) -> None:
        with self.log.open("a") as log:
            log.write(f"{line}\n")

    def run(self, job: Job) -> JsonValue:
        self.note(f"run {job.arguments.get('n')}")
        seconds = job.arguments.get("seconds", 0.0)
        assert isinstance(seconds, float)
        time.sleep(seconds)
        gate = job.arguments.get("until")
        while isinstance(gate, str) and not Path(gate).exists():
            time.sleep(0.02)
        match job.workflow:
            case "write":
                with whole_file(self.log.parent / "out" / f"{job.arguments['n']}.txt") as unfinished:
                    unfinished.write_text("x" * 10_000)
            case "refuse":
                raise InputError("the scan has a gap of 10 mm")
            case "hopeless":
                raise HopelessError("the scan has one slice only")
            case "later" if not Path(str(job.arguments["when"])).exists():
                raise PostponedError("the archive does not answer")
            case "grow":
                _ = bytearray(2_000_000_000)
                time.sleep(60)
            case "break":
                raise ZeroDivisionError("a bug")
            case "exhaust":
                raise MemoryError
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(7)
            case "threads":
                return os.environ["OMP_NUM_THREADS"]
            case "pid":
                return os.getpid()
        return job.arguments.get("n")
