"""`medseg serve` beside a real Orthanc, under faults: does every series end as one result, or set aside with a reason?

    python benchmarks/product/service_faults.py [--series 200] [--seed 0] [--times 3] [--minutes 9] [--picture PNG]

Small made MR series (12 slices of 36 x 50) are sent by dcmtk's storescu as a modality would, one half to the archive,
the other to the listener, some to both, some twice; two associations interleave theirs. Among them are series that
must not give a result: half a series in an association that breaks off, a series with a missing slice, and series
whose results the archive refuses. Meanwhile, at random moments: kill -9 of the worker, the listener, Orthanc and the
service with all its processes; Orthanc away for 10 s; a full spool; a wrong AE title; a PDU of 4 GiB; 60 silent
sockets.
The service is started again at once when it dies, as systemd would; Orthanc too, on its storage.

At the end every series is looked up: jobs by its UID in the queue, and what the archive holds of its study. Recovery is
from a fault until /health says ok and the listener answers an echo (after the archive's own absence: until it is back).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "exchange"))

from dicom_peers import MadeArchive, pdu, raw, sending, status_of
from free_port import free_port
from orthanc import Orthanc, storescu
from process_memory import memory_mb, processes_below
from pydicom import dcmread

from medseg.core.errors import MedsegError
from medseg.core.geometry import Geometry
from medseg.core.study import Series, Study
from medseg.core.volume import Volume
from medseg.exchange.dicom.network.dimse.client import echo
from medseg.exchange.dicom.network.dimse.config import ClientSettings, DimseNode
from medseg.exchange.dicom.network.dimse.receiving.received import ReceivedFolder, gap_of
from medseg.exchange.dicom.writing.series import write_series
from medseg.jobs.queue import Queue
from medseg.workflows.service.ledger import Ledger

GOOD = ("to the archive", "to the listener", "to both", "twice", "interleaved")
BAD = ("half", "with a gap", "refused")
MODALITY = ClientSettings(ae_title="MODALITY", timeout_s=2)
PATIENT_S = 90.0
"""How long a modality goes on trying to send."""

STAYS_WELL_S = 3.0
"""A process that was killed is missed within that time; health that stays is no old news."""

SETTINGS = """
[folders]
state = "{folder}/state"
work = "{folder}/work"
[jobs]
workers = 1
threads = 1
pause_s = 1
grace_s = 5
[archive]
url = "{url}"
poll_s = 1
settle_s = 3
look_back_days = 0
tries = 2
pause_s = 0.2
[listener]
spool = "{folder}/spool"
port = {port}
quiet_s = 3
patience_s = 25
[[listener.senders]]
ae_title = "MODALITY"
addresses = ["127.0.0.1"]
[listener.limits]
most_mb = 20
least_free_mb = 100
[dimse]
tries = 2
pause_s = 0.2
[[destinations]]
kind = "dimse"
name = "strict"
ae_title = "MADE"
host = "127.0.0.1"
port = {strict}
[[routes]]
name = "hippocampus"
model = "hippocampus_mr"
match = {{ modality = "MR", description = "^good" }}
takes = "every"
[[routes]]
name = "refused"
model = "hippocampus_mr"
match = {{ modality = "MR", description = "^refused" }}
takes = "every"
destinations = ["strict"]
[retention]
least_free_gb = 0.1
[metrics]
port = {health}
[log]
file = "{folder}/service.log"
"""


@dataclass(frozen=True)
class Sent:
    """One made series, how it is sent, and where its files lie."""

    kind: str
    folder: Path
    study_uid: str
    series_uid: str


@dataclass
class Site:
    """An archive, a strict one that takes no results, and the service, with what happened to them."""

    folder: Path
    archive: Orthanc
    strict_port: int
    listener_port: int = field(default_factory=free_port)
    health_port: int = field(default_factory=free_port)
    service: subprocess.Popen[bytes] | None = None
    is_over: bool = False
    starts: int = 0
    memory: list[tuple[float, float, float, float]] = field(default_factory=list)
    recovery_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def node(self) -> DimseNode:
        return DimseNode(ae_title="MEDSEG", host="127.0.0.1", port=self.listener_port)

    def keep_alive(self) -> None:
        """What systemd does: start the service again when it has died."""
        while not self.is_over:
            if self.service is None or self.service.poll() is not None:
                command = [sys.executable, "-m", "medseg.cli", "serve", "--config", str(self.folder / "medseg.toml")]
                with (self.folder / "stderr.log").open("ab") as log:
                    self.service = subprocess.Popen(command, stdout=log, stderr=log)
                self.starts += 1
            time.sleep(0.2)

    def sample_memory(self) -> None:
        begin = time.monotonic()
        while not self.is_over:
            shares = sorted(((is_listener(pid), memory_mb(pid)) for pid in self.processes()), key=lambda one: one[1])
            if shares:
                listening = sum(share for listens, share in shares if listens)
                total = sum(share for _, share in shares)
                self.memory.append((time.monotonic() - begin, total, shares[-1][1], listening))
            time.sleep(1.0)

    def processes(self) -> list[int]:
        """The service and everything below it."""
        if self.service is None or self.service.poll() is not None:
            return []
        return processes_below(self.service.pid)

    def is_well(self) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.health_port}/health", timeout=2, trust_env=False)
            echo(self.node, MODALITY)
        except (httpx.HTTPError, MedsegError):
            return False
        return answer.status_code == 200

    def recovered(self, fault: str, begin: float) -> None:
        """Wait until all is well again and stays so, and note how long that took."""
        since: float | None = None
        while not self.is_over and (since is None or time.monotonic() - since < STAYS_WELL_S):
            if not self.is_well():
                since = None
            elif since is None:
                since = time.monotonic()
            time.sleep(0.1)
        self.recovery_s.setdefault(fault, []).append((since or time.monotonic()) - begin)


def is_listener(pid: int) -> bool:
    try:
        return b"receiving.process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_worker(site: Site) -> None:
    pids = [pid for pid in site.processes()[1:] if not is_listener(pid)]
    if pids:
        kill(max(pids, key=memory_mb))


def kill_listener(site: Site) -> None:
    for pid in filter(is_listener, site.processes()):
        kill(pid)


def kill_service(site: Site) -> None:
    for pid in site.processes():
        kill(pid)


def kill_archive(site: Site) -> None:
    site.archive.kill()
    site.archive.start()


def refuse_for_ten_seconds(site: Site) -> None:
    site.archive.kill()
    time.sleep(10)
    site.archive.start()


def fill_spool(site: Site) -> None:
    filler = site.folder / "spool" / "filler"
    filler.write_bytes(b"\0" * (20 << 20))
    time.sleep(6)  # longer than the listener trusts what it counted
    filler.unlink()


def announce_4_gib(site: Site) -> None:
    with raw(site.listener_port) as connection:
        connection.sendall(pdu(0x01, b"\0" * 5000, length=0xFFFF_FFFF))
        time.sleep(1)


def be_silent(site: Site) -> None:
    sockets = [raw(site.listener_port) for _ in range(60)]
    try:
        echo(site.node, ClientSettings(ae_title="MODALITY", timeout_s=5))
    finally:
        for connection in sockets:
            connection.close()


def call_wrongly(site: Site) -> None:
    folder = next((site.folder / "in").iterdir())
    for names in ({"called": "OTHER"}, {"called": "MEDSEG", "calling": "STRANGER"}):
        assert storescu(folder, site.listener_port, **names).returncode != 0, names


FAULTS: dict[str, Callable[[Site], None]] = {
    "kill -9 worker": kill_worker,
    "kill -9 listener": kill_listener,
    "kill -9 Orthanc": kill_archive,
    "kill -9 whole service": kill_service,
    "Orthanc away for 10 s": refuse_for_ten_seconds,
    "full spool": fill_spool,
    "PDU of 4 GiB": announce_4_gib,
    "60 silent sockets": be_silent,
    "wrong AE title": call_wrongly,
}


def make(folder: Path, number: int, kind: str) -> Sent:
    noise = np.random.default_rng(number).normal(300, 60, (36, 50, 12))
    noise[8:28, 10:40, 3:10] += 250
    study = Study(patient_id=f"P{number}", date="20260101")
    volume = Volume(noise.astype(np.int16), Geometry.from_spacing(noise.shape, (1.0, 1.0, 3.0)), "arbitrary")
    description = "refused" if kind == "refused" else "good"
    files = write_series(volume, folder / f"{number:03}", Series(study, "MR", description=description))
    header = dcmread(files[0], stop_before_pixels=True)
    if kind == "with a gap":
        files[5].unlink()
    return Sent(kind, folder / f"{number:03}", str(header.StudyInstanceUID), str(header.SeriesInstanceUID))


def send(site: Site, one: Sent) -> None:
    """Send a series as a modality does: again and again until all of it was taken."""
    to_archive = (lambda: site.archive.dicom_port, "ORTHANC")
    to_listener = (lambda: site.listener_port, "MEDSEG")
    targets = {
        "to the archive": [to_archive],
        "to the listener": [to_listener],
        "to both": [to_archive, to_listener],
        "twice": [to_listener, to_archive, to_listener, to_archive],
        "with a gap": [to_archive],
        "refused": [to_listener],
    }
    if one.kind == "half":
        send_half(site, one)
        return
    for port, called in targets[one.kind]:
        until_taken(lambda p=port, c=called: storescu(one.folder, p(), called=c).returncode == 0, one)


def send_half(site: Site, one: Sent) -> None:
    def tried() -> bool:
        with sending(site.listener_port) as association:
            taken = [status_of(association, dcmread(file)) for file in sorted(one.folder.iterdir())[:6]]
            association.abort()
        return taken == [0] * 6

    until_taken(tried, one)


def send_interleaved(site: Site, first: Sent, second: Sent) -> None:
    def tried() -> bool:
        with sending(site.listener_port) as one, sending(site.listener_port) as other:
            pairs = zip(sorted(first.folder.iterdir()), sorted(second.folder.iterdir()), strict=True)
            answers = [(status_of(one, dcmread(a)), status_of(other, dcmread(b))) for a, b in pairs]
        return answers == [(0, 0)] * 12

    until_taken(tried, first)


def until_taken(tried: Callable[[], bool], one: Sent) -> None:
    ends = time.monotonic() + PATIENT_S
    while time.monotonic() < ends:
        with suppress(OSError, AssertionError, RuntimeError):
            if tried():
                return
        time.sleep(0.5)
    print(f"{one.kind}: the modality gave up", flush=True)


def kinds_of(count: int) -> list[str]:
    """Of 20: 6 to each, 2 to both, 1 twice, 2 interleaved, and one of each bad kind."""
    pattern = ["to the archive", "to the listener"] * 6 + ["to both", "to both", "twice", "interleaved", "interleaved"]
    pattern += list(BAD)
    return [pattern[number % len(pattern)] for number in range(count)]


def send_all(site: Site, series: list[Sent]) -> None:
    pairs = [one for one in series if one.kind == "interleaved"]
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        send_interleaved(site, first, second)
    for one in series:
        if one.kind != "interleaved":
            send(site, one)


def disturb(site: Site, moments: random.Random, sends: threading.Thread, times: int) -> None:
    """Every fault so many times in random order at random moments, while series are sent and treated."""
    plan = [name for name in FAULTS for _ in range(times)]
    moments.shuffle(plan)
    for name in plan:
        time.sleep(moments.uniform(1.0, 8.0))
        begin = time.monotonic()
        try:
            FAULTS[name](site)
        except (OSError, MedsegError) as error:
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        site.recovered(name, begin)
    sends.join()


def wait_for_the_end(site: Site, series: list[Sent], ends: float) -> None:
    """Until every good series has a settled job, every bad one is set aside, and nothing more moves; or time is up."""
    while time.monotonic() < ends:
        if all(verdict(site, one) != "unsettled" for one in series):
            return
        time.sleep(2)


def verdict(site: Site, one: Sent) -> str:
    """How a series ended, by queue, ledger and spool."""
    with Queue(site.folder / "state" / "queue.sqlite") as queue:
        states = [record.state for record in queue.records() if record.job.arguments.get("series") == one.series_uid]
    held = [noted.reason for noted in Ledger(site.folder / "state" / "ledger.sqlite").series("held")
            if noted.series_uid == one.series_uid]  # fmt: skip
    aside = [part.reason for part in ReceivedFolder(site.folder / "spool", gap_of).incomplete()
             if part.series_uid == one.series_uid]  # fmt: skip
    if "waiting" in states or "running" in states:
        return "unsettled"
    if "done" in states:
        return "done" if states.count("done") == 1 else "done twice"
    if "quarantined" in states or any(held) or any(aside):
        return "set aside"
    return "unsettled"


def results_of(archive: Orthanc, one: Sent) -> Counter[str]:
    """Instances of SEG and SR that the archive holds of a series' study."""
    found: Counter[str] = Counter()
    query = {"Level": "Series", "Query": {"StudyInstanceUID": one.study_uid}, "Expand": True}
    for series in archive.post("/tools/find", query):
        found[series["MainDicomTags"]["Modality"]] += len(series["Instances"])
    return found


def judge(site: Site, series: list[Sent]) -> bool:
    """Print what became of every kind; whether all is as it must be."""
    table: dict[str, Counter[str]] = {}
    for one in series:
        held = results_of(site.archive, one)
        ended = verdict(site, one)
        results = f"{held['SEG']} SEG {held['SR']} SR"
        table.setdefault(one.kind, Counter())[f"{ended}, {results}"] += 1
    right = {**dict.fromkeys(GOOD, "done, 1 SEG 1 SR"), **dict.fromkeys(BAD, "set aside, 0 SEG 0 SR")}
    print("| sent | series | ended as they must | otherwise |\n|---|---:|---:|---|")
    is_right = True
    for kind, counts in table.items():
        others = {ended: count for ended, count in counts.items() if ended != right[kind]}
        is_right &= not others
        print(f"| {kind} | {counts.total()} | {counts[right[kind]]} | {others or ''} |")
    return is_right


def draw(site: Site, picture: Path) -> None:
    seconds, total, largest, listening = np.array(site.memory).T
    figure, axes = plt.subplots(figsize=(8, 3.5), layout="constrained")
    for values, name in ((total, "service, all processes"), (largest, "largest process"), (listening, "listener")):
        axes.plot(seconds / 60, values / 1000, label=name, linewidth=1)
    axes.set(xlabel="minutes", ylabel="memory in GB", ylim=(0, None))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(picture, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--times", type=int, default=3, help="How often each fault.")
    parser.add_argument("--minutes", type=float, default=9.0, help="The longest run.")
    parser.add_argument("--picture", type=Path, help="Where to draw the memory over time.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, MadeArchive([0xA900] * 10_000) as strict:
        folder = Path(name)
        series = [make(folder / "in", number, kind) for number, kind in enumerate(kinds_of(options.series))]
        with Orthanc(folder / "orthanc") as archive:
            site = Site(folder, archive, strict.node.port)
            is_right = run(site, series, options)
        if options.picture:
            draw(site, options.picture)
    sys.exit(0 if is_right else 1)


def run(site: Site, series: list[Sent], options: argparse.Namespace) -> bool:
    begin = time.monotonic()
    places = {"folder": site.folder, "url": site.archive.dicomweb_url, "port": site.listener_port}
    text = SETTINGS.format(**places, strict=site.strict_port, health=site.health_port)
    (site.folder / "medseg.toml").write_text(text)
    for work in (site.keep_alive, site.sample_memory):
        threading.Thread(target=work, daemon=True).start()
    site.recovered("first start", time.monotonic())
    sends = threading.Thread(target=send_all, args=(site, series))
    sends.start()
    disturb(site, random.Random(options.seed), sends, options.times)
    wait_for_the_end(site, series, begin + 60 * options.minutes)
    took_s = time.monotonic() - begin
    is_right = judge(site, series)
    site.is_over = True
    if site.service is not None:
        site.service.terminate()
        site.service.wait(30)
    print(f"{len(series)} series, seed {options.seed}: {took_s:.0f} s; the service was started {site.starts} times")
    for fault, seconds in site.recovery_s.items():
        print(f"{fault}: {len(seconds)} times, well again after {max(seconds):.1f} s at most")
    thirds = np.array_split(np.array(site.memory), 3)
    for name, column in (("all processes", 1), ("largest", 2), ("listener", 3)):
        peaks = ", ".join(f"{part[:, column].max():.0f}" for part in thirds)
        print(f"memory, {name}: at most {peaks} MB in the three thirds of the run")
    return is_right


if __name__ == "__main__":
    main()
