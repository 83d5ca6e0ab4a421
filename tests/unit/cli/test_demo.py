from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dsmt_nnunet.cli import demo
from dsmt_nnunet.cli.commands import Ended
from dsmt_nnunet.cli.main import main

TRUTH = "case_id,nodule_id,x_mm,y_mm,z_mm,invasiveness\na,1,1.0,2.0,3.0,invasive\n"


class FakeCommands:
    """Stands in for what runs commands: notes them, leaves the test cases, and fails where told to."""

    def __init__(self, raw: Path) -> None:
        self.raw = raw
        self.fails_at = 0
        self.ran: list[list[str]] = []
        self.variables: dict[str, str] = {}

    @contextmanager
    def made(self, variables: dict[str, str], device: str) -> Iterator[FakeCommands]:
        self.variables = variables
        yield self

    def run(self, command: str) -> Ended:
        self.ran.append(shlex.split(command))
        (self.raw / "imagesTs").mkdir(parents=True, exist_ok=True)
        (self.raw / "nodulesTs.csv").write_text(TRUTH)
        return Ended(3 if len(self.ran) == self.fails_at else 0, 1.0)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCommands:
    fake = FakeCommands(tmp_path / "nnUNet_raw" / demo.DATASET)
    monkeypatch.setattr(demo, "commands_with", fake.made)
    monkeypatch.setattr(demo, "best_device", lambda: "cpu")
    return fake


def test_every_step_is_told_before_and_after(
    commands: FakeCommands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "-o", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("7 steps: make phantoms, plan and preprocess, train, predict, explain, evaluate, ")
    costs = printed[printed.index("processors") :]
    for name in ("make phantoms", "train", "write the page"):
        assert f" {name}, after " in printed
        assert name in costs
    assert [words[0] for words in commands.ran].count("nnUNetv2_train") == 1


def test_training_leaves_out_the_validation_that_nothing_reads(commands: FakeCommands, tmp_path: Path) -> None:
    main(["demo", "-o", str(tmp_path)])
    assert commands.variables["dsmt_validation"] == "off"
    assert not [word for words in commands.ran for word in words if "validation" in word]


@pytest.mark.parametrize(("wanted", "seed"), [(None, "0"), ("7", "7")])
def test_the_training_has_a_seed(
    commands: FakeCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str | None, seed: str
) -> None:
    monkeypatch.delenv("dsmt_seed", raising=False)
    if wanted is not None:
        monkeypatch.setenv("dsmt_seed", wanted)
    main(["demo", "-o", str(tmp_path)])
    assert commands.variables["dsmt_seed"] == seed


def test_prediction_is_told_where_the_nodules_are_and_not_what_they_are(commands: FakeCommands, tmp_path: Path) -> None:
    main(["demo", "-o", str(tmp_path)])
    given = (commands.raw / "imagesTs" / "nodules.csv").read_text()
    assert given == "case_id,nodule_id,x_mm,y_mm,z_mm\na,1,1.0,2.0,3.0\n"


def test_a_command_that_fails_ends_the_demo(
    commands: FakeCommands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.fails_at = 2
    assert main(["demo", "-o", str(tmp_path)]) == 1
    assert len(commands.ran) == 2
    told = capsys.readouterr()
    assert "ended with status 3: dsmt plan" in told.err
    assert "Done" not in told.out


@pytest.mark.parametrize(("options", "trainer"), [([], demo.SHORT_TRAINER), (["--full"], "DSMTTrainer")])
def test_the_short_demo_trains_for_fewer_epochs(
    commands: FakeCommands, tmp_path: Path, options: list[str], trainer: str
) -> None:
    main(["demo", "-o", str(tmp_path), *options])
    trained = next(words for words in commands.ran if words[0] == "nnUNetv2_train")
    assert trained[trained.index("-tr") + 1] == trainer
    assert ("-pretrained_weights" in trained) is not bool(options)
    for words in commands.ran:
        assert "-tr" not in words or words[words.index("-tr") + 1] == trainer


@pytest.mark.parametrize(
    ("took", "left"), [([], 60.0), ([20.0], 100.0), ([20.0, 20.0], 80.0), ([5.0, 10.0, 15.0], 0.0)]
)
def test_what_is_left_follows_the_pace_so_far(took: list[float], left: float) -> None:
    steps = [demo.Step("a", "a", 10.0), demo.Step("b", "b", 10.0), demo.Step("c", "c", 40.0)]
    assert demo.seconds_left(steps, [demo.Cost("", seconds, 1.0) for seconds in took]) == pytest.approx(left)


def test_float32_is_expected_to_train_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("dsmt_precision", "bf16")
    fast = demo.training_seconds(demo.SHORT_TRAINER, "cpu")
    monkeypatch.setenv("dsmt_precision", "fp32")
    assert demo.training_seconds(demo.SHORT_TRAINER, "cpu") > fast
    assert demo.training_seconds(demo.SHORT_TRAINER, "cuda") == fast
    assert demo.training_seconds(demo.LONGER_TRAINER, "cuda") > fast


@pytest.mark.parametrize(
    ("precision", "pace", "options", "trainer"),
    [
        ("fp32", 1.0, [], demo.LONGER_TRAINER),
        ("fp32", 3.0, [], demo.SHORT_TRAINER),
        ("fp32", 1.0, ["--full"], "DSMTTrainer"),
        ("bf16", 0.1, [], demo.SHORT_TRAINER),
    ],
)
def test_a_training_in_float32_is_longer_where_there_is_time(
    commands: FakeCommands,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: str,
    pace: float,
    options: list[str],
    trainer: str,
) -> None:
    monkeypatch.setenv("dsmt_precision", precision)
    # Each step takes what making phantoms and planning are expected to take on average, times the pace.
    monkeypatch.setattr(time, "monotonic", lambda: 31.0 * pace * len(commands.ran))
    assert main(["demo", "-o", str(tmp_path), *options]) == 0
    assert {words[words.index("-tr") + 1] for words in commands.ran if "-tr" in words} == {trainer}
    said = capsys.readouterr().out.partition("In float32 a short training learns less")
    assert bool(said[1]) is (precision == "fp32" and not options)
    assert ("it trains longer" in said[2]) is (trainer == demo.LONGER_TRAINER)
