"""The public names: pinned, present, and free until used."""

import subprocess
import sys

import pytest

import medseg


def test_every_public_name_is_there_and_lives_where_the_types_say() -> None:
    for name in medseg.__all__:
        value = getattr(medseg, name)
        assert value.__module__.startswith("medseg.")
        assert value.__name__ == name


def test_the_list_is_the_one_in_the_code_and_in_order() -> None:
    assert sorted(medseg.__all__) == medseg.__all__
    assert set(medseg._HOMES) == set(medseg.__all__)


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Volumes'"):
        _ = medseg.Volumes


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    """What `medseg --help` needs; torch, monai, itk, scipy and pydantic cost seconds and come when a command runs."""
    program = "import sys, medseg.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "monai", "itk", "scipy", "skimage", "pydantic", "nibabel", "pydicom", "numpy"} & set(loaded)
