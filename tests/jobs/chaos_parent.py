"""A batch that a test kills: submits its jobs, if they are not there yet, and works until all are done."""

import sys
from pathlib import Path

from made_work import Work

from medseg.jobs.cores import usable_cores
from medseg.jobs.job import Job
from medseg.jobs.local_engine import LocalEngineConfig
from medseg.jobs.queue import Limits

if __name__ == "__main__":
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    engine = LocalEngineConfig(workers=min(2, usable_cores()), threads=1).build(
        folder / "queue.sqlite", Work(folder / "log"), Limits(failures=1000, pause_s=0.001, lease_s=5.0)
    )
    engine.submit(Job(workflow="write", arguments={"n": n, "seconds": 0.1}) for n in range(count))
    engine.run()
    engine.close()
