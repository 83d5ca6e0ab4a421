from __future__ import annotations

import re

import pytest

from dsmt_nnunet.cli.main import main


def test_patients_needed_have_the_power(capsys: pytest.CaptureFixture[str]) -> None:
    options = "evaluate power --aucs 0.85 0.75 --nodules 2 --seeds 5 --seed-sd 0.01"
    assert main(options.split()) == 0
    needed = re.match(r"(\d+) patients .*5 seeds each: power (0\.8\d+)", capsys.readouterr().out)
    assert needed is not None
    assert main([*options.split(), "--patients", str(int(needed[1]) - 1)]) == 0
    assert "power 0.79" in capsys.readouterr().out


def test_what_cannot_be_reached_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "power", "--aucs", "0.8", "0.8"]) == 2
    assert "the difference is too small" in capsys.readouterr().err
