from pathlib import Path

import pytest

from apps.batch.process_folder import USAGE, main


@pytest.mark.parametrize("arguments", [[], ["in", "out"], ["in", "out", "model", "more"]])
def test_other_than_three_arguments_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == USAGE


def test_what_cannot_be_begun_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "out"), str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert "none" in said
    assert said.count("\n") == 1
