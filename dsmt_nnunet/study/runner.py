"""Trainings of one data set side by side, each in a results folder of its seed, and what they answer."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dsmt_nnunet.environment import (
    FOLDERS,
    best_device,
    die_with_parent,
    resolved,
    usable_cores,
    variables_of_children,
    worker_processes,
)
from dsmt_nnunet.file_stamps import note_files, note_fits
from dsmt_nnunet.predictions.table import CLASSIFICATION_TABLE_NAME
from dsmt_nnunet.study.command_job import alone
from dsmt_nnunet.study.records import (
    StudyIdentity,
    TrainingCost,
    read_cost,
    read_identity,
    write_cost,
    write_identity,
)
from dsmt_nnunet.tasks import NODULE_TABLE_NAME

PRESETS = {"XS": ("DSMTPlannerXS", "DSMTPlansXS"), "standard": ("DSMTPlanner", "DSMTPlans")}
"""Planner and plans."""
DENSENET = "DSMTTrainerDenseNet"
WITH_COVARIATES, NO_COVARIATES = "DSMTTrainer", "DSMTTrainerNoCovariates"
FINAL_CHECKPOINT, JOINT_CHECKPOINT = "checkpoint_final.pth", "checkpoint_joint.pth"
TRAINED_ON_NAME = "trained_on.json"
"""Names the files that a fold was trained on, by content."""
JOINT = "@joint"
"""Suffix of a row: DSMTTrainer before fine-tuning."""
VALIDATION_SUFFIX = "_validation"
JOBS_FOLDER = "jobs"


def possible(trainers: Sequence[str], has_covariates: bool = False) -> list[str]:
    """The trainers without the one that lacks its library, which is named, or that leaves out what is not there.

    Where there are covariates, DSMTTrainer is never alone: a study tells of it with and without them.
    """
    if not has_covariates:
        trainers = [trainer for trainer in trainers if trainer != NO_COVARIATES]
    elif WITH_COVARIATES in trainers and NO_COVARIATES not in trainers:
        print(f"{NO_COVARIATES} is added: the data set has covariates, and a study tells with and without them.")
        trainers = [*trainers, NO_COVARIATES]
    if DENSENET in trainers and importlib.util.find_spec("monai") is None:
        print(f"{DENSENET} is left out: MONAI is not installed (pip install 'dsmt-nnunet[study]').")
        return [trainer for trainer in trainers if trainer != DENSENET]
    return list(trainers)


def checkpoints_of(trainer: str) -> dict[str, str]:
    """Rows of a trainer, and the checkpoint of each that answers."""
    joint = {f"{trainer}{JOINT}": JOINT_CHECKPOINT} if trainer == "DSMTTrainer" else {}
    return {trainer: FINAL_CHECKPOINT, **joint}


def name_of(trainer: str, seed: int, fold: int) -> str:
    """Of the training, in files and messages."""
    return f"{trainer}_seed_{seed}_fold_{fold}"


class Trainings(ABC):
    """Trainings of one data set, each in a results folder of its seed."""

    own_folders: Sequence[str] = FOLDERS
    """Those of nnU-Net's folders that lie in the study's folder."""

    asks_validation = False
    """Whether fold 0 also answers about cases on which a temperature can be chosen."""

    def __init__(self, out: Path, preset: str, jobs: int | None, dataset: str) -> None:
        self.out, self.dataset = out, dataset
        self.planner, self.plans = PRESETS[preset]
        self.device = best_device()
        self.jobs = jobs or (worker_processes() if self.device == "cpu" else 1)
        folders = {**os.environ, **{name: str(out / name) for name in self.own_folders}}
        self.raw = Path(folders["nnUNet_raw"]) / dataset
        self.preprocessed = Path(folders["nnUNet_preprocessed"]) / dataset
        self.threads = max(1, usable_cores() // self.jobs)
        """Of each training on a CPU: more than there are cores wait for one another."""
        self.is_job = False
        """Whether this is one job of many: it is alone with its fold already, and prints into a log of its own."""
        self._one_at_a_time = threading.Lock()

    @abstractmethod
    def identity(self) -> StudyIdentity:
        """What must be the same when a study is continued."""

    @abstractmethod
    def make_ready(self) -> None:
        """Sees to raw and preprocessed data and plans."""

    def has_covariates(self) -> bool:
        """Whether the data set tells of its nodules more than the image."""
        path = self.raw / "dataset.json"
        return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8"))["classification"].get("covariates"))

    @abstractmethod
    def question(self) -> Any:
        """What the study asks of its runs."""

    @abstractmethod
    def unseen(self, fold: int) -> Any:
        """The `UnseenCases` that a fold is asked about."""

    def validation(self) -> Any:
        """The `UnseenCases` on which a temperature can be chosen: those that fold 0 left out."""
        return self.training_cases(self.splits()[0]["val"])

    def training_cases(self, case_ids: Sequence[str]) -> Any:
        """Some of the preprocessed cases of nnU-Net's folds."""
        from dsmt_nnunet.study.answers import UnseenCases

        plans = json.loads((self.preprocessed / f"{self.plans}.json").read_text(encoding="utf-8"))
        folder = self.preprocessed / plans["configurations"]["3d_fullres"]["data_identifier"]
        return UnseenCases(folder, self.raw / NODULE_TABLE_NAME, tuple(case_ids))

    def claim_folder(self) -> None:
        """Writes what the folder is for.

        Raises:
            ValueError: it is for another study.
        """
        wanted, there = self.identity(), read_identity(self.out)
        if there is None:
            write_identity(self.out, wanted)
        elif there != wanted:
            raise ValueError(f"{self.out} holds the study {there}; not {wanted}. Name another folder with -o.")

    def finished(self) -> list[tuple[str, int]]:
        """Trainer and seed of all trainings of this data set and preset that are complete, of earlier calls too."""
        found = []
        for model in sorted((self.out / "nnUNet_results").glob(f"seed_*/{self.dataset}/*__{self.plans}__3d_fullres")):
            trainer, seed = model.name.split("__")[0], int(model.parents[1].name.removeprefix("seed_"))
            if all((self.fold_folder(trainer, seed, fold) / FINAL_CHECKPOINT).is_file() for fold in self.folds()):
                found.append((trainer, seed))
        return found

    def centres(self) -> tuple[str, ...]:
        """Centre that each fold leaves out, of those that are trained; none where folds are no centres."""
        return ()

    def folds(self) -> Sequence[int]:
        """Those that are trained."""
        return (0,)

    def fold_folder(self, trainer: str, seed: int, fold: int) -> Path:
        model = f"{trainer}__{self.plans}__3d_fullres"
        return self.out / "nnUNet_results" / f"seed_{seed}" / self.dataset / model / f"fold_{fold}"

    def splits(self) -> list[dict[str, list[str]]]:
        """nnU-Net's folds."""
        from dsmt_nnunet.nnunet_files import read_splits

        return read_splits(self.preprocessed / "splits_final.json")

    def variables(self, seed: int | None = None) -> dict[str, str]:
        """Of the commands."""
        variables = variables_of_children(self.out, self.own_folders)
        if seed is not None:
            variables["nnUNet_results"] = str(self.out / "nnUNet_results" / f"seed_{seed}")
            variables["dsmt_seed"] = str(seed)
            variables["dsmt_validation"] = "off"
            if self.device == "cpu":
                variables["OMP_NUM_THREADS"] = str(self.threads)
                variables["nnUNet_n_proc_DA"] = "1"
        return variables

    def runs(self, trainer: str, seed: int) -> list[Any]:
        """Trains and asks as far as that has not been done: one run of all folds, its minutes their sum.

        DSMTTrainer has another one, of its checkpoints before fine-tuning.
        """
        from dsmt_nnunet.study.tables import Run

        trained = [self.train(trainer, seed, fold) for fold in self.folds()]
        minutes, memory_gb = sum(item[1] for item in trained), max(item[2] for item in trained)
        if math.isnan(minutes):
            memory_gb = math.nan
        asked = [self.ask(trainer, seed, fold) for fold in self.folds()]
        runs = []
        for label, checkpoint in checkpoints_of(trainer).items():
            answers = tuple(own[label][0] for own in asked)
            calibrated_on = asked[0][label][1:]
            runs.append(Run(label, seed, answers, trained[0][0] / checkpoint, minutes, memory_gb, calibrated_on))
        return runs

    def ask(self, trainer: str, seed: int, fold: int) -> dict[str, tuple[Path, ...]]:
        """Folders of answers of each row of a trained fold: of its unseen cases and, for fold 0, of the validation."""
        validation = self.validation() if fold == 0 and self.asks_validation else None
        found: dict[str, tuple[Path, ...]] = {}
        for label, checkpoint in checkpoints_of(trainer).items():
            found[label] = (self.answers(label, seed, fold, checkpoint, self.unseen(fold)),)
            if validation is not None:
                found[label] += (self.answers(label, seed, fold, checkpoint, validation, VALIDATION_SUFFIX),)
        return found

    def made_by(self, trainer: str, seed: int, fold: int) -> list[Path]:
        """Files that are there when a fold is trained and has answered."""
        suffixes = ("", VALIDATION_SUFFIX) if fold == 0 and self.asks_validation else ("",)
        answers = [
            self.answer_folder(label, seed, fold, suffix) / CLASSIFICATION_TABLE_NAME
            for label in checkpoints_of(trainer)
            for suffix in suffixes
        ]
        return [self.fold_folder(trainer, seed, fold) / FINAL_CHECKPOINT, *answers]

    def lock(self, trainer: str, seed: int, fold: int) -> Path:
        """File that is locked by whoever trains a fold."""
        return self.out / JOBS_FOLDER / f"{name_of(trainer, seed, fold)}.lock"

    def train(self, trainer: str, seed: int, fold: int) -> tuple[Path, float, float]:
        """Folder of a trained fold; minutes and peak memory in GB, NaN where no call saw it from beginning to end."""
        with nullcontext() if self.is_job else alone(self.lock(trainer, seed, fold)):
            return self._train(trainer, seed, fold)

    def _train(self, trainer: str, seed: int, fold: int) -> tuple[Path, float, float]:
        folder = self.fold_folder(trainer, seed, fold)
        note = folder / TRAINED_ON_NAME
        ended, begun = ((folder / name).is_file() for name in (FINAL_CHECKPOINT, "checkpoint_latest.pth"))
        if (ended or begun) and note.is_file() and not note_fits(note, self._learnt_from()):
            raise ValueError(
                f"{folder} was trained on other folds, plans or nodules than there are now. Name another folder with "
                f"-o, or remove it to have it trained anew."
            )
        if ended:
            cost = read_cost(folder)
            return folder, cost.minutes, cost.memory_gb
        if not begun:
            folder.mkdir(parents=True, exist_ok=True)
            note_files(note, self._learnt_from())  # before: a training that is killed goes on with these alone
        command = f"nnUNetv2_train {self.dataset} 3d_fullres {fold} -tr {trainer} -p {self.plans}"
        minutes, memory_gb = self.call(f"{command} -device {self.device}{' --c' if begun else ''}", seed)
        if begun:
            return folder, math.nan, math.nan
        write_cost(folder, TrainingCost(minutes=minutes, memory_gb=memory_gb))
        return folder, minutes, memory_gb

    def _learnt_from(self) -> list[Path]:
        """Files that a training rests on, beside the images."""
        names = [self.preprocessed / "splits_final.json", self.preprocessed / f"{self.plans}.json"]
        return [path for path in (*names, self.raw / NODULE_TABLE_NAME, self.raw / "dataset.json") if path.is_file()]

    def answers(self, label: str, seed: int, fold: int, checkpoint: str, cases: Any, suffix: str = "") -> Path:
        """Folder of the predictions of a trained fold for some cases; made unless they are there, of these files."""
        folder = self.answer_folder(label, seed, fold, suffix)
        import torch

        from dsmt_nnunet.study.answers import answers

        with self._one_at_a_time:
            torch.set_num_threads(self.threads)
            trained = self.fold_folder(label.removesuffix(JOINT), seed, fold)
            answers(trained, checkpoint, cases, folder, self.device)
        return folder

    def answer_folder(self, label: str, seed: int, fold: int, suffix: str = "") -> Path:
        return self.out / "predictions" / f"seed_{seed}" / label / f"fold_{fold}{suffix}"

    def call(self, command: str, seed: int | None = None) -> tuple[float, float]:
        """Runs a command to its end; wall time in minutes and peak memory of its largest process in GB.

        Where several trainings run together, what they print is left to nnU-Net's log files.

        Raises:
            OSError: it failed.
        """
        print(f"\n[seed {seed}] {command}" if seed is not None else f"\n{command}", flush=True)
        start = time.monotonic()
        quiet = subprocess.DEVNULL if seed is not None and self.jobs > 1 and not self.is_job else None
        process = subprocess.Popen(
            resolved(command), env=self.variables(seed), stdout=quiet, preexec_fn=die_with_parent
        )
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise OSError(f"this command failed, run 'dsmt study' again to continue: {command}")
        unit = 2**30 if sys.platform == "darwin" else 2**20
        return (time.monotonic() - start) / 60, usage.ru_maxrss / unit
