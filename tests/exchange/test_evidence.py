"""Every command that docs/dicom_evidence.md names is there."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_what_the_page_names_can_be_run() -> None:
    page = (REPOSITORY / "docs" / "dicom_evidence.md").read_text(encoding="utf-8")
    named = re.findall(r"((?:tests|benchmarks)/[\w/]+\.py)(?:::(\w+))?", page)
    assert len(named) > 14
    for path, test in named:
        source = (REPOSITORY / path).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in source, (path, test)
