from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dsmt_nnunet import shipped_models
from dsmt_nnunet.api.examples import example_model
from dsmt_nnunet.cli import predict, stock, train
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.inference.model_zip import export_model


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


@pytest.mark.parametrize(
    ("arguments", "given"),
    [(["-tr", "X"], True), (["-tr=X"], True), (["-t", "X"], True), (["501", "-p", "tr"], False), (["-d", "1"], False)],
)
def test_an_option_is_seen_in_every_form(arguments: list[str], given: bool) -> None:
    assert stock.is_given(arguments, "-tr") is given


def test_a_trainer_that_is_named_is_not_overruled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[list[str]] = []
    monkeypatch.setattr(train, "run_stock", lambda command, entry_point, arguments: seen.append(list(arguments)))
    for words in (["501", "-tr=X"], ["501"]):
        train.run(argparse.Namespace(arguments=words))
    assert seen == [["501", "-tr=X"], ["501", "-tr", "DSMTTrainer"]]


def test_a_model_that_could_run_code_is_refused_before_nnunet_reads_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = tmp_path / "nnUNet_results"
    folder = example_model(results / "Dataset501_A" / "DSMTTrainer__nnUNetPlans__3d_fullres")
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr("nnunetv2.utilities.file_path_utilities.get_output_folder", lambda *_: str(folder))
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["conv_op"] = "evil.Net"
    (folder / "plans.json").write_text(json.dumps(plans))
    seen: list[list[str]] = []
    monkeypatch.setattr(predict, "run_stock", lambda command, entry_point, arguments: seen.append(list(arguments)) or 0)
    words = ["-i", "in", "-o", "out", "-d", "501", "-c", "3d_fullres", "-part_id", "0", "-device", "cpu"]
    known = predict._model_options(words)
    assert (known.d, known.p) == ("501", "nnUNetPlans")
    assert main(["predict", *words]) == 2
    assert seen == []
    assert main(["predict", *words, "--trust"]) == 0
    assert seen == [[*words, "-tr", "DSMTTrainer"]]


@pytest.mark.parametrize("words", [["--x", "a", "501"], ["501", "--x=a"]])
def test_an_option_of_ours_is_taken_out(words: list[str]) -> None:
    assert stock.take_option(words, "--x") == ("a", ["501"])


@pytest.mark.parametrize("words", [["--x"], ["--x", "-d"], ["--x="], ["--x", "a", "--x=b"]])
def test_an_option_of_ours_has_one_value(words: list[str]) -> None:
    with pytest.raises(ValueError, match="--x"):
        stock.take_option(words, "--x")


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The zip file of a model that is said to come with the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped_models, "FOLDER", tmp_path)
    archive = tmp_path / "example-xs.zip"
    export_model(example_model(tmp_path / "Dataset000_Example" / "DSMTTrainer__nnUNetPlans__3d_fullres"), archive)
    return archive


def test_a_start_is_nnunets_pretrained_weights(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(train, "run_stock", lambda command, entry_point, arguments: seen.append(list(arguments)) or 0)
    assert main(["train", "501", "3d_fullres", "0", "--start", "example", "-p", "DSMTPlans"]) == 0
    words = ["501", "3d_fullres", "0", "-p", "DSMTPlans", "-tr", "DSMTTrainer"]
    assert seen == [[*words, "-pretrained_weights", str(shipped)]]
    assert "these patients is too good" in capsys.readouterr().out
    for more in (["--c"], ["-pretrained_weights", "x"], ["-pretrained_weights=x"]):
        assert main(["train", "501", "--start", "example", *more]) == 2
        assert "does not go with" in capsys.readouterr().err
    assert main(["train", "501", "--start", "lidc"]) == 2
    assert "Shipped: example-xs." in capsys.readouterr().err
    assert len(seen) == 1


def test_a_shipped_model_is_asked_without_a_data_set(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    seen: list[tuple[str, list[str], bool]] = []

    def run_stock(command: str, entry_point: object, arguments: Sequence[str]) -> int:
        seen.append((command, list(arguments), (Path(arguments[1]) / "fold_0" / "checkpoint_final.pth").is_file()))
        return 0

    monkeypatch.setattr(predict, "run_stock", run_stock)
    words = ["-i", "in", "-o", "out", "-device", "cpu"]
    assert main(["predict", "--model", "example-xs", *words]) == 0
    command, arguments, there = seen[0]
    assert command == "nnUNetv2_predict_from_modelfolder"
    assert arguments[2:] == [*words, "-f", "0"]
    assert there
    assert not Path(arguments[1]).exists()
    assert not (tmp_path / "nnUNet_results").exists()
    assert "Research use only" in capsys.readouterr().out
    for more in (["-d", "501"], ["-c", "3d_fullres"]):
        assert main(["predict", "--model", "example-xs", *words, *more]) == 2
    assert main(["predict", "--model", "example-xs", *words, "-f", "3"]) == 2
    assert "no checkpoint_final.pth of the folds ['3']" in capsys.readouterr().err
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-device", "gpu"], "got 'gpu'"),
        (["-step_size", "2"], "smaller or equal"),
        (["-o", __file__], "is a file; results go into a folder"),
    ],
)
def test_what_nnunet_would_refuse_by_an_assertion_is_one_sentence(
    shipped: Path, words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_stock(*_: object) -> int:
        raise AssertionError("step_size must be larger than 0 and smaller or equal to 1")

    monkeypatch.setattr(predict, "run_stock", run_stock)
    assert main(["predict", "--model", "example-xs", "-i", "in", "-o", "out", *words]) == 2
    assert told in capsys.readouterr().err
