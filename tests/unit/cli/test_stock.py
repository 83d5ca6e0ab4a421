from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pytest

from dsmt_nnunet.cli import predict, stock, train


def typed(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line that nnU-Net's entry point sees."""
    seen: list[str] = []
    monkeypatch.setattr(stock, "best_device", lambda: "mps")
    assert stock.run_stock("nnUNetv2_train", lambda: seen.extend(sys.argv), arguments) == 0
    return seen


def test_the_device_is_chosen_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(["501", "0"], monkeypatch) == ["nnUNetv2_train", "501", "0", "-device", "mps"]


@pytest.mark.parametrize("arguments", [["-device", "cpu"], ["-device=cpu"], ["-h"], ["--help"]])
def test_a_given_device_and_help_are_left_alone(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(arguments, monkeypatch) == ["nnUNetv2_train", *arguments]


def test_the_command_line_is_restored_after_an_error() -> None:
    before = sys.argv
    with pytest.raises(ZeroDivisionError):
        stock.run_stock("x", lambda: 1 // 0, ["-device", "cpu"])
    assert sys.argv is before


@pytest.mark.parametrize("module", [train, predict])
@pytest.mark.parametrize(
    "words", [["-i", "in", "-o", "out", "--continue_prediction"], ["501", "3d_fullres", "0", "--c"], ["-h"], []]
)
def test_every_word_is_passed_on_to_nnunet(module: object, words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    name = module.__name__.rsplit(".", 1)[1]
    module.add_parser(parser.add_subparsers(dest="command"))
    assert parser.parse_args([name, *words]).arguments == words
