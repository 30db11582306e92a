"""The SLURM scripts: sound for bash, and shares that together are the list, each scan once. Stand-ins play SLURM."""

import os
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


def run(script: Path, folder: Path, *arguments: str, **slurm: str) -> subprocess.CompletedProcess[str]:
    """Run a script with a `medseg` that says what it was asked to do."""
    stand_in = folder / "bin" / "medseg"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text('#!/bin/bash\necho "medseg $*"\nexit 3\n')
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{stand_in.parent}:{os.environ['PATH']}", **slurm}
    return subprocess.run(["bash", str(script), *arguments], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("script", sorted(DEPLOY.glob("*.sbatch")), ids=lambda path: path.name)
def test_bash_and_sbatch_can_read_it(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    directives = [number for number, line in enumerate(lines) if line.startswith("#SBATCH --")]
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert directives
    assert directives[-1] < first_command, "sbatch reads no directive after the first command"


def test_the_tasks_of_an_array_share_the_list(tmp_path: Path) -> None:
    scans = [f"/data/in/scan {n}.nii.gz" for n in range(7)]
    (tmp_path / "scans.txt").write_text("\n".join(scans[:3]) + "\n\n" + "\n".join(scans[3:]) + "\n")
    shares = []
    for task in (4, 5, 6):
        slurm = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_COUNT": "3"}
        arguments = (str(tmp_path / "scans.txt"), str(tmp_path / "out"), "model")
        ended = run(DEPLOY / "slurm_array.sbatch", tmp_path, *arguments, SLURM_CPUS_PER_TASK="8", **slurm)
        part = tmp_path / "out" / f"part_{task}"
        assert ended.stdout.strip() == f"medseg batch {part}.txt {part} --model model --workers 1 --threads 8"
        assert ended.returncode == 3, "the exit code of the batch is that of the task"
        shares.append(Path(f"{part}.txt").read_text().splitlines())
    assert sorted(scan for share in shares for scan in share) == scans
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_task_without_a_scan_ends_well(tmp_path: Path) -> None:
    (tmp_path / "scans.txt").write_text("/data/in/a.nii.gz\n")
    slurm = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2"}
    ended = run(
        DEPLOY / "slurm_array.sbatch", tmp_path, str(tmp_path / "scans.txt"), str(tmp_path / "out"), "m", **slurm
    )
    assert (ended.returncode, "medseg batch" in ended.stdout) == (0, False)
    assert "more tasks than scans" in ended.stdout
