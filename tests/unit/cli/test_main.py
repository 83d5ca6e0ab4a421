from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsmt_nnunet import __version__
from dsmt_nnunet.cli import main as main_module
from dsmt_nnunet.cli.main import COMMANDS, main


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Makes `dsmt probe`, which does or raises what the list holds."""
    outcome: list[Any] = [None]
    module = ModuleType("dsmt_nnunet.cli.probe")

    def run(_: Any) -> Any:
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    module.add_parser = lambda subparsers: subparsers.add_parser("probe").set_defaults(run=run)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(main_module, "COMMANDS", ("probe",))
    return outcome


@pytest.mark.parametrize(("status", "expected"), [(None, 0), (0, 0), (3, 3)])
def test_the_exit_status_is_the_commands(command: list[Any], status: Any, expected: int) -> None:
    command[0] = status
    assert main(["probe"]) == expected


@pytest.mark.parametrize("error", [ValueError("no such class"), FileNotFoundError("no such file")])
def test_errors_of_the_input_are_one_message(
    command: list[Any], error: Exception, capsys: pytest.CaptureFixture
) -> None:
    command[0] = error
    assert main(["probe"]) == 2
    assert capsys.readouterr().err == f"dsmt probe: {error}\n"


def test_errors_of_the_program_are_not_hidden(command: list[Any]) -> None:
    command[0] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main(["probe"])


def test_every_command_has_its_module() -> None:
    folder = Path(main_module.__file__).parent
    assert [name for name in COMMANDS if not (folder / f"{name}.py").is_file()] == []


@pytest.mark.usefixtures("command")
def test_the_version_is_printed(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out
