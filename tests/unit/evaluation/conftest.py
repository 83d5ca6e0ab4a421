"""Fixtures of the evaluation tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def only_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dsmt` with `evaluate` alone, so that no other command is imported."""
    monkeypatch.setattr("dsmt_nnunet.cli.main.COMMANDS", ("evaluate",))
