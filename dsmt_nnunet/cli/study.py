"""`dsmt study`: baselines and ablations on one phantom cohort, with the same folds, seeds, budget and augmentation."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.cli.demo import give_positions, resolved
from dsmt_nnunet.cli.env import FOLDERS, environment
from dsmt_nnunet.cli.stock import best_device
from dsmt_nnunet.tasks import NODULE_TABLE_NAME

DATASET_ID = 510
DATASET = f"Dataset{DATASET_ID}_Phantom"
TRAINERS = (
    "DSMTTrainer",
    "DSMTTrainerSingleTask",
    "DSMTTrainerNoContext",
    "DSMTTrainerNoSegmentation",
    "DSMTTrainerNoSigns",
    "DSMTTrainerJointOnly",
    "DSMTTrainerAveragePooling",
    "DSMTTrainerDenseNet",
)
PRESETS = {"XS": "DSMTPlannerXS", "": "DSMTPlanner"}
JOINT = "@joint"
"""Suffix of a row: predicted with checkpoint_joint.pth, before fine-tuning."""


def add_parser(subparsers: Any) -> None:
    """Adds `study`."""
    parser = subparsers.add_parser(
        "study",
        help="compare DSMT with baselines and ablations on phantoms",
        description="Trains every trainer with every seed on one phantom cohort, predicts unseen internal and external "
        "phantoms, and writes one row a run (runs.csv) and all scores (scores.csv). What is done is not done again.",
    )
    parser.add_argument("-o", dest="out", type=Path, default=Path("study"), help="folder (default: study)")
    parser.add_argument("--trainers", nargs="+", default=list(TRAINERS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="XS", help="'' for the standard preset")
    parser.add_argument("--cases", type=int, default=320, help="training cases")
    parser.add_argument("--test-cases", type=int, default=400, help="unseen cases of the same protocols")
    parser.add_argument("--external-cases", type=int, default=200, help="unseen cases of another protocol")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """`dsmt study`."""
    from dsmt_nnunet.evaluation.study_tables import Run, write_study

    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    study = _Study(out, args.preset)
    study.prepare(args.cases, args.test_cases, args.external_cases)
    runs: list[Run] = []
    for seed in args.seeds:
        for trainer in args.trainers:
            runs += study.train_and_predict(trainer, seed)
            write_study(study.raw, runs, out)
    print(f"\n{out / 'runs.csv'} and {out / 'scores.csv'} are complete. Compare with, for example:")
    scores = " ".join(f"--score {trainer}" for trainer in args.trainers)
    print(f"dsmt evaluate table {out / 'scores.csv'} --truth truth {scores} --group cohort -o {out / 'metrics'}")
    print(NOT_A_MEDICAL_DEVICE)
    return 0


class _Study:
    def __init__(self, out: Path, preset: str) -> None:
        self.out, self.preset = out, preset
        self.raw = out / "nnUNet_raw" / DATASET
        self.plans = f"DSMTPlans{preset}"
        self.device = best_device()
        self.processes = str(min(8, os.cpu_count() or 1))

    def variables(self, seed: int | None = None) -> dict[str, str]:
        folders = {name: str(self.out / name) for name in FOLDERS}
        variables = {**os.environ, **environment(self.out), **folders}
        variables["nnUNet_def_n_proc"] = self.processes
        variables["nnUNet_n_proc_DA"] = "1" if self.processes in ("1", "2") else self.processes
        if seed is not None:
            variables["nnUNet_results"] = str(self.out / "nnUNet_results" / f"seed_{seed}")
            variables["dsmt_seed"] = str(seed)
        for name in FOLDERS:
            Path(variables[name]).mkdir(parents=True, exist_ok=True)
        return variables

    def prepare(self, cases: int, test_cases: int, external_cases: int) -> None:
        """Phantoms and plans, once."""
        if not self.raw.is_dir():
            self.call(
                f"dsmt convert phantom -d {DATASET_ID} --cases {cases} --test-cases {test_cases} "
                f"--external-cases {external_cases} --seed 1 -np {self.processes}"
            )
        give_positions(self.raw / "nodulesTs.csv", self.raw / "imagesTs" / NODULE_TABLE_NAME)
        if not (self.out / "nnUNet_preprocessed" / DATASET / "splits_final.json").is_file():
            self.call(f"dsmt plan -d {DATASET_ID} -pl {PRESETS[self.preset]} -np {self.processes}")

    def train_and_predict(self, trainer: str, seed: int) -> list[Any]:
        """The runs of one training: its final checkpoint, and for DSMTTrainer the joint one too."""
        from dsmt_nnunet.evaluation.study_tables import Run

        name = f"{trainer}__{self.plans}__3d_fullres"
        fold = self.out / "nnUNet_results" / f"seed_{seed}" / DATASET / name / "fold_0"
        minutes = memory_gb = float("nan")
        if not (fold / "validation" / "summary.json").is_file():
            resume = " --c" if (fold / "checkpoint_latest.pth").is_file() else ""
            command = f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr {trainer} -p {self.plans} -device {self.device}"
            minutes, memory_gb = self.call(command + resume, seed)
        checkpoints = {trainer: "checkpoint_final.pth"}
        if trainer == "DSMTTrainer":
            checkpoints[f"{trainer}{JOINT}"] = "checkpoint_joint.pth"
        runs = []
        for label, checkpoint in checkpoints.items():
            predictions = self.out / "predictions" / f"seed_{seed}" / label
            if not (predictions / "classification.csv").is_file():
                self.call(
                    f"nnUNetv2_predict -i {shlex.quote(str(self.raw / 'imagesTs'))} "
                    f"-o {shlex.quote(str(predictions))} -d {DATASET_ID} -c 3d_fullres -f 0 -tr {trainer} "
                    f"-p {self.plans} -chk {checkpoint} -device {self.device} -npp 1 -nps 1",
                    seed,
                )
            runs.append(Run(label, seed, predictions, fold / checkpoint, minutes, memory_gb))
        return runs

    def call(self, command: str, seed: int | None = None) -> tuple[float, float]:
        """Runs a command to its end; wall time in minutes and peak memory of its largest process in GB.

        Raises:
            OSError: it failed.
        """
        print(f"\n[seed {seed}] {command}" if seed is not None else f"\n{command}", flush=True)
        start = time.monotonic()
        process = subprocess.Popen(resolved(command), env=self.variables(seed))
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise OSError(f"this command failed, run 'dsmt study' again to continue: {command}")
        unit = 2**30 if sys.platform == "darwin" else 2**20
        return (time.monotonic() - start) / 60, usage.ru_maxrss / unit
