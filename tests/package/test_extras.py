"""Commands work without each extra, and say what to install where it is the extra that was asked for."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from medseg.core.geometry import Geometry
from medseg.exchange.nifti import write_nifti

MODULES = {
    "viewer": ("streamlit", "starlette", "itsdangerous"),
    "login": ("authlib",),
    "ray": ("ray",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("openvino",),
    "radiomics": ("mirp",),
    "network": ("dicomweb_client", "prometheus_client", "pynetdicom"),
    "docs": ("mkdocs", "material"),
    "dev": ("pytest", "hypothesis", "playwright", "ignite"),
}
"""What each extra is imported by."""

SCRIPT = """
import sys

class Hiding:
    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in found if spec is not None), None)

    def find_distributions(self, context):
        asked = (getattr(finder, "find_distributions", None) for finder in self.finders)
        return [one for find in asked if find for one in find(context)]

sys.meta_path[:] = [Hiding(list(sys.meta_path))]
from medseg.cli import main
for words in {commands!r}:
    sys.argv = ["medseg", *words]
    try:
        main()
    except SystemExit as ended:
        print("ended", ended.code or 0)
    else:
        print("ended", 0)
"""


def run_without(extras: list[str], commands: list[list[str]], folder: Path) -> tuple[list[int], str]:
    """Exit codes of commands in one process to which the modules of some extras are missing, and what it said."""
    blocked = {module for extra in extras for module in MODULES[extra]}
    script = SCRIPT.format(blocked=blocked, commands=commands)
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(code) for code in re.findall(r"^ended (\d+)$", done.stdout, re.MULTILINE)], done.stderr


PLAIN = [
    ["segment", "scan.nii.gz", "--model", "hippocampus_mr", "--output", "result"],
    ["report", "result", "--format", "pdf", "--format", "nrrd", "--output", "out"],
    ["inspect", "scan.nii.gz"],
    ["evaluate", *["result/segmentation.nii.gz"] * 2, "--task", "hippocampus_mr"],
]
WITH_EXTRA = {
    "viewer": ["view", "."],
    "ray": ["batch", ".", "batch", "--model", "hippocampus_mr", "--engine", "ray"],
    "mlflow": ["train", "scan.nii.gz", "--output", "run", "--tracker", "mlflow"],
    "onnx": ["export", "hippocampus_mr", "--to", "onnx", "--output", "out.onnx"],
    "openvino": ["segment", "scan.nii.gz", "--model", "hippocampus_mr", "--output", "other", "--device", "openvino"],
    "network": ["serve"],
    "radiomics": ["report", "result", "--format", "radiomics", "--output", "features"],
}


def test_without_any_extra_plain_commands_work_and_the_others_name_theirs(tmp_path: Path) -> None:
    grid = Geometry.from_spacing((36, 40, 36), (1.0, 1.0, 1.0))
    image = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    write_nifti(image, grid, tmp_path / "scan.nii.gz")
    codes, said = run_without(list(MODULES), [*PLAIN, *WITH_EXTRA.values()], tmp_path)
    assert codes == [0] * len(PLAIN) + [2] * len(WITH_EXTRA), said
    assert re.findall(r"pip install 'medseg\[(\w+)\]'", said) == list(WITH_EXTRA)
    assert (tmp_path / "out" / "report.pdf").is_file()
