"""What the service costs beyond `medseg batch`: the same series, the same model, one worker of one thread.

    python benchmarks/product/service_throughput.py [--cases 6] [--shape 96 128 96] [--processor]

The series are made MR scans. `medseg batch` reads them from a folder and writes mask, report and table. The service
fetches them from an Orthanc on this machine by DICOMweb, segments them, writes SEG and SR too, stores both and asks for
them until they are listed. Time of a case is from the first case's end to the last one's, over the cases between, so
that the start (loading torch and the model) counts for neither; steps are those that the service notes of each job.
With --processor the steps of one case are done one after the other in this process, as a worker does them after its
first case, and its processor seconds told: other work on the machine changes them little; the archive's own are not
among them. Two figures: beyond segmenting, as a batch does it, and beyond segmenting and writing the same objects.
"""

from __future__ import annotations

import argparse
import gc
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "exchange"))

from orthanc import Orthanc

from medseg.core.geometry import Geometry, Shape
from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.dicom.writing.series import write_series

if TYPE_CHECKING:
    from medseg.models.inference.ensemble import Model
    from medseg.models.inference.segmenter import NetworkSegmenter

MODEL = "hippocampus_mr"
FIRST_SHAPE = (36, 50, 38)
"""Of the case before, which loads what is loaded once."""
LONGEST_S = 560.0
SETTINGS = """
[folders]
state = "{folder}/state"
work = "{folder}/work"
[jobs]
workers = 1
threads = 1
[archive]
url = "{url}"
poll_s = 1
settle_s = 0
look_back_days = 0
[[routes]]
name = "hippocampus"
model = "hippocampus_mr"
match = {{ modality = "MR" }}
[retention]
least_free_gb = 0.1
[metrics]
port = 0
[log]
file = "{folder}/service.log"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 128, 96))
    parser.add_argument("--processor", action="store_true", help="The steps of one case, in processor seconds.")
    options = parser.parse_args()
    if options.processor:
        print_processor_seconds(tuple(options.shape))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(options.cases):
            write_case(folder / "in" / f"case_{number:02}", number, tuple(options.shape))
        batch_s = batch(folder, options.cases)
        service_s, steps = service(folder, options.cases)
    print(f"{options.cases} series of {' x '.join(map(str, options.shape))}, one worker of one thread")
    print(f"medseg batch {batch_s:.2f} s a case, medseg serve {service_s:.2f} s: {service_s / batch_s - 1:+.1%}")
    print("steps of the service, s a case: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in steps.items()))


def write_case(folder: Path, seed: int, shape: Shape) -> None:
    noise = np.random.default_rng(seed).normal(300, 60, shape)
    noise[8:28, 10:40, 10:30] += 250
    volume = Volume(noise.astype(np.int16), Geometry.from_spacing(shape, (1.0, 1.0, 1.0)), "arbitrary")
    write_series(volume, folder, Series(Study(patient_id=f"P{seed}", date="20260101"), "MR"))


def batch(folder: Path, cases: int) -> float:
    command = [sys.executable, "-m", "medseg.cli", "batch", str(folder / "in"), str(folder / "out"), "--model", MODEL]
    command += ["--device", "cpu", "--workers", "1", "--threads", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return pace(folder / "out" / "batch.sqlite", cases)


def service(folder: Path, cases: int) -> tuple[float, dict[str, float]]:
    with Orthanc(folder / "orthanc") as archive:
        archive.push(folder / "in")
        (folder / "medseg.toml").write_text(SETTINGS.format(folder=folder, url=archive.dicomweb_url))
        command = [sys.executable, "-m", "medseg.cli", "serve", "--config", str(folder / "medseg.toml")]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(folder / "state" / "queue.sqlite", cases)
        finally:
            running.terminate()
            running.wait(60)
        assert len(archive.objects("SEG")) == len(archive.objects("SR")) == cases
    return pace(folder / "state" / "queue.sqlite", cases), steps_of(folder / "state" / "queue.sqlite")


def print_processor_seconds(shape: Shape) -> None:
    import torch

    from medseg.models.inference.segmenter import NetworkSegmenter
    from medseg.models.store import find_model, load_model

    torch.set_num_threads(1)
    bundle = load_model(find_model(Path(MODEL)))
    segmenter = NetworkSegmenter.on(bundle, "cpu")
    with tempfile.TemporaryDirectory() as name, Orthanc(Path(name) / "orthanc") as orthanc:
        seconds_of_steps(orthanc, Path(name) / "first", 0, FIRST_SHAPE, bundle, segmenter)
        gc.collect()
        gc.freeze()  # as a worker does after its first job
        seconds = seconds_of_steps(orthanc, Path(name) / "case", 1, shape, bundle, segmenter)
    fetch, segment, write, store = seconds
    told = f"fetch {fetch:.2f}, segment {segment:.2f}, write SEG and SR {write:.2f}, store {store:.2f} processor s"
    print(f"{' x '.join(map(str, shape))}: {told}; beyond segmenting {(fetch + write + store) / segment:.1%}")
    print(f"beyond segmenting and writing SEG and SR {(fetch + store) / (segment + write):.1%}")


def seconds_of_steps(
    orthanc: Orthanc, folder: Path, seed: int, shape: Shape, bundle: Model, segmenter: NetworkSegmenter
) -> list[float]:
    """Processor seconds of fetching, segmenting, writing and storing one case, as a worker of the service does it."""
    from medseg.exchange.dicom.network.web.archive import StudyFilter, WebArchive
    from medseg.exchange.dicom.network.web.config import WebArchiveConfig
    from medseg.workflows.results.report_study import report_study
    from medseg.workflows.segmenting.segment_study import read_channels, segment_scans

    write_case(folder / "in", seed, shape)
    orthanc.push(folder / "in")
    (channel,) = bundle.spec.task.channels
    sources = {channel.name: folder / "images"}
    with WebArchive(WebArchiveConfig(url=orthanc.dicomweb_url)) as archive:
        (study,) = archive.studies(StudyFilter(patient_id=f"P{seed}"))
        marks = [time.process_time()]
        (series,) = archive.series(study.study_uid)
        archive.fetch_series(study.study_uid, series.series_uid, folder / "images")
        marks.append(time.process_time())
        scans = read_channels(sources, bundle.spec.task)
        segment_scans(scans, sources, bundle, segmenter, folder / "result")
        marks.append(time.process_time())
        report_study(folder / "result", ["dicom-seg", "dicom-sr"], folder / "objects", scan=scans[channel.name])
        marks.append(time.process_time())
        archive.store(sorted((folder / "objects").glob("*.dcm")))
        marks.append(time.process_time())
    return list(np.diff(marks))


def wait_for(database: Path, cases: int) -> None:
    ends = time.monotonic() + LONGEST_S
    while time.monotonic() < ends:
        if database.exists() and len(rows(database, "settled_s")) == cases:
            return
        time.sleep(1)
    raise TimeoutError(f"the service did not end {cases} jobs in {LONGEST_S:g} s")


def pace(database: Path, cases: int) -> float:
    """Seconds a case, without the first."""
    settled = sorted(moment for (moment,) in rows(database, "settled_s"))
    assert len(settled) == cases, f"{len(settled)} of {cases} were done"
    return float(settled[-1] - settled[0]) / (cases - 1)


def steps_of(database: Path) -> dict[str, float]:
    seconds = [json.loads(result)["seconds"] for (result,) in rows(database, "result")]
    return {name: float(np.mean([one[name] for one in seconds])) for name in seconds[0]}


def rows(database: Path, column: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database, timeout=30)) as opened:
        return opened.execute(f"SELECT {column} FROM jobs WHERE state = 'done'").fetchall()


if __name__ == "__main__":
    main()
