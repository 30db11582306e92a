"""Tries an installed wheel, as `make package` calls it: `python try_wheel.py` with the Python of an empty environment.

A made scan is segmented with a model that comes along, in the folder it is called in; the checkout is not on the path.
"""

import subprocess
import sys
from pathlib import Path

import medseg

MEDSEG = Path(sys.executable).with_name("medseg")


def call(*words: str) -> str:
    """What a command writes to stdout; its end must be good."""
    done = subprocess.run([MEDSEG, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"medseg {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Raises SystemExit where something is missing."""
    import numpy as np

    from medseg.core.geometry import Geometry
    from medseg.exchange.nifti import write_nifti

    if Path(sys.prefix) not in Path(medseg.__file__).parents:
        raise SystemExit(f"this is not the installed medseg but {medseg.__file__}")
    grid = Geometry.from_spacing((36, 50, 36), (1.0, 1.0, 1.0))
    write_nifti(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid, Path("scan.nii.gz"))
    print(call("--version"), end="")
    print(call("segment", "scan.nii.gz", "--model", "hippocampus_mr", "--output", "result"), end="")
    missing = [
        name for name in ("report.json", "segmentation.nii.gz", "findings.csv") if not Path("result", name).is_file()
    ]
    if missing:
        raise SystemExit(f"the result lacks {missing}")
    refused = subprocess.run([MEDSEG, "view", "result"], capture_output=True, text=True, check=False)
    if refused.returncode != 2 or "pip install 'medseg[viewer]'" not in refused.stderr:
        raise SystemExit(f"without the extra viewer, `medseg view` says:\n{refused.stderr}")
    print("the wheel works")


main()
