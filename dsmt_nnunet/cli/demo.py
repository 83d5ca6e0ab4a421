"""`dsmt demo`: the main job on the phantom cohort, every step the command a user would type."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.cli.arguments import folder_to_write
from dsmt_nnunet.cli.commands import Commands, commands_with
from dsmt_nnunet.environment import FOLDERS, best_device, variables_of_children, worker_processes
from dsmt_nnunet.files import write_text
from dsmt_nnunet.shipped_models import model_place
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, POSITION_COLUMNS
from dsmt_nnunet.training.environment import SEED_VARIABLE, VALIDATION_VARIABLE

DATASET_ID = 500
DATASET = f"Dataset{DATASET_ID}_Phantom"
SHORT_TRAINER = "DSMTTrainer_5epochs"
"""Enough for phantoms, from weights that know nodules; real nodules want the whole budget."""
LONGER_TRAINER, TIMES_LONGER = "DSMTTrainer_10epochs", 2.0
"""Where there is time for it, and how much longer it takes."""
AT_MOST_S = 340.0
"""A demo in float32 may take six minutes, and estimates err."""
START = "lidc-xs"
"""The model that comes with the package, whose weights a short training starts from."""
MEASURED_CASES = 86
"""So many phantoms the seconds of the steps below were measured with."""
EXPLAINED_CASES = 1
"""So few because maps of one nodule take seconds on a CPU."""


@dataclass(frozen=True)
class Step:
    """One command of the demo.

    Attributes:
        does: in words what it does.
        command: as a user would type it.
        seconds: what it takes on two cores that multiply bfloat16 in hardware; what is left is estimated from that, and
            from how much longer or shorter the steps before it took here.
    """

    does: str
    command: str
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What a step took: seconds by the clock, and seconds of processors that its processes used themselves."""

    does: str
    seconds: float
    cpu_seconds: float


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="run the main job on phantoms, from images to a report",
        description="Makes a phantom cohort, plans, trains, predicts, evaluates and writes a report.",
    )
    parser.add_argument("-o", dest="out", type=folder_to_write, default=Path("demo"), help="folder (default: demo)")
    parser.add_argument("--cases", type=int, default=56, help="training cases")
    parser.add_argument("--test-cases", type=int, default=20, help="unseen cases of the same protocols")
    parser.add_argument("--external-cases", type=int, default=10, help="unseen cases of another protocol")
    parser.add_argument("--full", action="store_true", help="train from nothing, as long as the preset plans")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """`dsmt demo`."""
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    variables = variables_of_children(out)
    for name in FOLDERS:
        shutil.rmtree(out / name / DATASET, ignore_errors=True)
    raw = out / "nnUNet_raw" / DATASET
    device = best_device()
    shutil.rmtree(out / "predictions", ignore_errors=True)
    # Nothing that follows reads the validation of whole scans, which takes a CPU some 15 s a case.
    variables[VALIDATION_VARIABLE] = "off"
    # The same demo every time, as far as the machine allows.
    variables.setdefault(SEED_VARIABLE, "0")
    trainer = "DSMTTrainer" if args.full else SHORT_TRAINER
    steps = steps_of(args, out, device, trainer)
    longer = steps_of(args, out, device, LONGER_TRAINER) if not args.full and in_float32(device) else None
    with commands_with(variables, device) as commands:
        costs = run_steps(steps, commands, raw, longer)
    if costs is None:
        return 1
    print(cost_table(costs))
    print(f"\nDone in {sum(cost.seconds for cost in costs):.0f} s. Open {out / 'report.html'}\n{NOT_A_MEDICAL_DEVICE}")
    return 0


def steps_of(args: argparse.Namespace, out: Path, device: str, trainer: str) -> list[Step]:
    """The commands, in their order.

    Args:
        args: of the command line.
        out: folder of everything.
        device: that trains and predicts.
        trainer: whose name says for how many epochs.
    """
    from dsmt_nnunet.dataset_conversion.phantom.cohort import case_name

    raw, processes = out / "nnUNet_raw" / DATASET, worker_processes()
    predictions, metrics, report = out / "predictions", out / "metrics", out / "report.html"
    start = "" if args.full else f" -pretrained_weights {_quoted(model_place(START))}"
    model = f"-d {DATASET_ID} -c 3d_fullres -f 0 -tr {trainer} -p DSMTPlansXS -device {device}"
    size = (args.cases + args.test_cases + args.external_cases) / MEASURED_CASES
    explained = " ".join(case_name("test", index) for index in range(min(EXPLAINED_CASES, args.test_cases)))
    return [
        Step(
            "make phantoms",
            f"dsmt convert phantom -d {DATASET_ID} --cases {args.cases} --test-cases {args.test_cases} "
            f"--external-cases {args.external_cases} --seed 1 -np {processes}",
            35 * size,
        ),
        Step("plan and preprocess", f"dsmt plan -d {DATASET_ID} -pl DSMTPlannerXS -np {processes}", 27 * size),
        Step(
            "train",
            f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr {trainer} -p DSMTPlansXS -device {device}{start}",
            training_seconds(trainer, device),
        ),
        # In one process: each further one would import torch for a handful of small regions.
        Step(
            "predict",
            f"nnUNetv2_predict -i {_quoted(raw / 'imagesTs')} -o {_quoted(predictions)} {model} -npp 0 -nps 0",
            16 * size,
        ),
        Step(
            "explain",
            f"dsmt explain -i {_quoted(raw / 'imagesTs')} -o {_quoted(predictions)} {model} --cases {explained}",
            6,
        ),
        Step(
            "evaluate",
            f"dsmt evaluate predictions {_quoted(predictions)} --truth {_quoted(raw / 'nodulesTs.csv')} "
            f"--labels {_quoted(raw / 'labelsTs')} --group cohort -o {_quoted(metrics)}",
            1,
        ),
        Step(
            "write the page",
            f"dsmt report {_quoted(metrics)} -o {_quoted(report)} --images {_quoted(raw / 'imagesTs')} "
            f"--labels {_quoted(raw / 'labelsTs')} --predictions {_quoted(predictions)}",
            11 * size,
        ),
    ]


def run_steps(
    steps: Sequence[Step], commands: Commands, raw: Path, longer: Sequence[Step] | None = None
) -> list[Cost] | None:
    """Runs the steps one after the other, and says what each took.

    Args:
        steps: what is to be done.
        commands: runs their commands.
        raw: folder of the raw data set, in which the positions are given before prediction.
        longer: the same steps with a longer training, which are done where the pace before it leaves the time.

    Returns:
        One cost a step; None where a command failed, which is told.
    """
    names = ", ".join(step.does for step in steps)
    print(f"{len(steps)} steps: {names}. About {in_words(seconds_left(steps, []))} on two cores, most of it training.")
    costs: list[Cost] = []
    for number in range(1, len(steps) + 1):
        if longer is not None and steps[number - 1].does == "train":
            steps = with_time_for(steps, longer, costs)
        step = steps[number - 1]
        if step.command.startswith("nnUNetv2_predict"):
            give_positions(raw / "nodulesTs.csv", raw / "imagesTs" / NODULE_TABLE_NAME)
        elapsed = sum(cost.seconds for cost in costs)
        left = f"after {elapsed:.0f} s, about {in_words(seconds_left(steps, costs))} left"
        print(f"\n[{number}/{len(steps)} {step.does}, {left}] {step.command}", flush=True)
        start = time.monotonic()
        ended = commands.run(step.command)
        if ended.status != 0:
            print(f"dsmt demo: this command ended with status {ended.status}: {step.command}", file=sys.stderr)
            return None
        costs.append(Cost(step.does, time.monotonic() - start, ended.cpu_seconds))
    return costs


def with_time_for(steps: Sequence[Step], longer: Sequence[Step], costs: Sequence[Cost]) -> Sequence[Step]:
    """The steps with the longer training where all is done within `AT_MOST_S` at the pace so far; says why."""
    seconds = sum(cost.seconds for cost in costs) + seconds_left(longer, costs)
    taken = seconds <= AT_MOST_S
    print(
        f"\nIn float32 a short training learns less; with {LONGER_TRAINER} this demo would take about "
        f"{in_words(seconds)}, of {in_words(AT_MOST_S)} that it may: it trains {'longer' if taken else 'as short'}."
    )
    return longer if taken else steps


def in_float32(device: str) -> bool:
    """Whether training on a device runs in float32, for want of bfloat16 or because the user says so."""
    import torch

    from dsmt_nnunet.architecture.precision import Precision

    return device == "cpu" and not Precision.choose(torch.device(device)).use_bf16


def training_seconds(trainer: str, device: str) -> float:
    """What training takes on two cores; on other devices nothing better is known."""
    longer = {SHORT_TRAINER: 1.0, LONGER_TRAINER: TIMES_LONGER}.get(trainer, 4.0)
    return 59 * longer * (1.6 if in_float32(device) else 1.0)


def seconds_left(steps: Sequence[Step], costs: Sequence[Cost]) -> float:
    """Of the steps that have no cost yet, at the pace of those that have one."""
    expected = sum(step.seconds for step in steps[: len(costs)])
    pace = sum(cost.seconds for cost in costs) / expected if expected else 1.0
    return pace * sum(step.seconds for step in steps[len(costs) :])


def in_words(seconds: float) -> str:
    """Such as "40 s" or "3 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def cost_table(costs: Sequence[Cost]) -> str:
    """One line a step: seconds by the clock and of the processors."""
    lines = [f"{cost.does:<20} {cost.seconds:8.0f} s {cost.cpu_seconds:8.0f} s" for cost in costs]
    return "\n".join(["", f"{'step':<20} {'clock':>10} {'processors':>10}", *lines])


def give_positions(truth: Path, table: Path) -> None:
    """Where the nodules are, and nothing else: as a radiologist would who has seen them."""
    from dsmt_nnunet.csv_table import read_csv

    columns = ("case_id", "nodule_id", *POSITION_COLUMNS)
    lines = [",".join(columns), *(",".join(row.get(name) for name in columns) for row in read_csv(truth).rows)]
    write_text(table, "\n".join(lines) + "\n")
    print(f"\nPositions of the nodules: {table}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
