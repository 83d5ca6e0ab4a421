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
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from dsmt_nnunet.environment import FOLDERS, best_device, resolved, variables_of_children, worker_processes
from dsmt_nnunet.file_stamps import note_files, note_fits
from dsmt_nnunet.study.records import StudyIdentity, read_identity, write_identity
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME

DATASET_ID = 510
DATASET = f"Dataset{DATASET_ID}_Phantom"
PRESETS = {"XS": ("DSMTPlannerXS", "DSMTPlansXS"), "standard": ("DSMTPlanner", "DSMTPlans")}
"""Planner and plans."""
DENSENET = "DSMTTrainerDenseNet"
NO_COVARIATES = "DSMTTrainerNoCovariates"
FINAL_CHECKPOINT, JOINT_CHECKPOINT = "checkpoint_final.pth", "checkpoint_joint.pth"
TRAINED_ON_NAME = "trained_on.json"
"""Names the files that a fold was trained on, by content."""
JOINT = "@joint"
"""Suffix of a row: DSMTTrainer before fine-tuning."""


def in_parallel(study: Trainings, wanted: Sequence[tuple[str, int]]) -> Generator[list[Any], None, None]:
    """The runs of each trainer and seed as they end. After a failure none is begun, and those under way end first."""
    failed = threading.Event()

    def runs(trainer: str, seed: int) -> list[Any]:
        # Asked here, in the worker: it may take up the next training before the pool can be told of a failure.
        if failed.is_set():
            return []
        try:
            return study.runs(trainer, seed)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(study.jobs) as pool:
        futures = [pool.submit(runs, trainer, seed) for trainer, seed in wanted]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            failed.set()
            raise


def possible(trainers: Sequence[str], has_covariates: bool = False) -> list[str]:
    """The trainers without the one that lacks its library, which is named, or that leaves out what is not there."""
    if not has_covariates:
        trainers = [trainer for trainer in trainers if trainer != NO_COVARIATES]
    if DENSENET in trainers and importlib.util.find_spec("monai") is None:
        print(f"{DENSENET} is left out: MONAI is not installed (pip install 'dsmt-nnunet[study]').")
        return [trainer for trainer in trainers if trainer != DENSENET]
    return list(trainers)


class Trainings(ABC):
    """Trainings of one data set, each in a results folder of its seed."""

    own_folders: Sequence[str] = FOLDERS
    """Those of nnU-Net's folders that lie in the study's folder."""

    def __init__(self, out: Path, preset: str, jobs: int | None, dataset: str) -> None:
        self.out, self.dataset = out, dataset
        self.planner, self.plans = PRESETS[preset]
        self.device = best_device()
        self.jobs = jobs or (worker_processes() if self.device == "cpu" else 1)
        folders = {**os.environ, **{name: str(out / name) for name in self.own_folders}}
        self.raw = Path(folders["nnUNet_raw"]) / dataset
        self.preprocessed = Path(folders["nnUNet_preprocessed"]) / dataset
        self.threads = max(1, (os.cpu_count() or 1) // self.jobs)
        """Of each training on a CPU: more than there are cores wait for one another."""
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
        """The `UnseenCases` on which a temperature can be chosen, where they are not what is asked about."""
        return None

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

    def folds(self) -> Sequence[int]:
        """Those that are trained."""
        return (0,)

    def fold_folder(self, trainer: str, seed: int, fold: int) -> Path:
        model = f"{trainer}__{self.plans}__3d_fullres"
        return self.out / "nnUNet_results" / f"seed_{seed}" / self.dataset / model / f"fold_{fold}"

    def splits(self) -> list[Mapping[str, list[str]]]:
        """nnU-Net's folds."""
        folds: list[Mapping[str, list[str]]] = json.loads((self.preprocessed / "splits_final.json").read_text())
        return folds

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
        checkpoints = {trainer: FINAL_CHECKPOINT}
        if trainer == "DSMTTrainer":
            checkpoints[f"{trainer}{JOINT}"] = JOINT_CHECKPOINT
        runs = []
        for label, checkpoint in checkpoints.items():
            answers = tuple(self.answers(label, seed, fold, checkpoint, self.unseen(fold)) for fold in self.folds())
            validation = self.validation()
            calibrated_on = (
                () if validation is None else (self.answers(label, seed, 0, checkpoint, validation, "_validation"),)
            )
            runs.append(Run(label, seed, answers, trained[0][0] / checkpoint, minutes, memory_gb, calibrated_on))
        return runs

    def train(self, trainer: str, seed: int, fold: int) -> tuple[Path, float, float]:
        """Folder of a trained fold; minutes and peak memory in GB, NaN where this call did not see all of it."""
        folder = self.fold_folder(trainer, seed, fold)
        note = folder / TRAINED_ON_NAME
        if (folder / FINAL_CHECKPOINT).is_file():
            if note.is_file() and not note_fits(note, self._learnt_from()):
                raise ValueError(
                    f"{folder} was trained on other folds, plans or nodules than there are now. Name another folder "
                    f"with -o, or remove it to have it trained anew."
                )
            return folder, math.nan, math.nan
        begun = (folder / "checkpoint_latest.pth").is_file()
        command = f"nnUNetv2_train {self.dataset} 3d_fullres {fold} -tr {trainer} -p {self.plans}"
        minutes, memory_gb = self.call(f"{command} -device {self.device}{' --c' if begun else ''}", seed)
        note_files(note, self._learnt_from())
        return (folder, math.nan, math.nan) if begun else (folder, minutes, memory_gb)

    def _learnt_from(self) -> list[Path]:
        """Files that a training rests on, beside the images."""
        names = [self.preprocessed / "splits_final.json", self.preprocessed / f"{self.plans}.json"]
        return [path for path in (*names, self.raw / NODULE_TABLE_NAME, self.raw / "dataset.json") if path.is_file()]

    def answers(self, label: str, seed: int, fold: int, checkpoint: str, cases: Any, suffix: str = "") -> Path:
        """Folder of the predictions of a trained fold for some cases; made unless they are there, of these files."""
        folder = self.out / "predictions" / f"seed_{seed}" / label / f"fold_{fold}{suffix}"
        import torch

        from dsmt_nnunet.study.answers import answers

        with self._one_at_a_time:
            torch.set_num_threads(self.threads)
            trained = self.fold_folder(label.removesuffix(JOINT), seed, fold)
            answers(trained, checkpoint, cases, folder, self.device)
        return folder

    def call(self, command: str, seed: int | None = None) -> tuple[float, float]:
        """Runs a command to its end; wall time in minutes and peak memory of its largest process in GB.

        Where several trainings run together, what they print is left to nnU-Net's log files.

        Raises:
            OSError: it failed.
        """
        print(f"\n[seed {seed}] {command}" if seed is not None else f"\n{command}", flush=True)
        start = time.monotonic()
        quiet = subprocess.DEVNULL if seed is not None and self.jobs > 1 else None
        process = subprocess.Popen(resolved(command), env=self.variables(seed), stdout=quiet)
        _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise OSError(f"this command failed, run 'dsmt study' again to continue: {command}")
        unit = 2**30 if sys.platform == "darwin" else 2**20
        return (time.monotonic() - start) / 60, usage.ru_maxrss / unit


class PhantomTrainings(Trainings):
    """Trained on fold 0 of a phantom cohort, asked about its unseen cases."""

    def __init__(self, out: Path, preset: str, jobs: int | None, cohort: Mapping[str, int]) -> None:
        super().__init__(out, preset, jobs, DATASET)
        self.cohort = cohort

    def identity(self) -> StudyIdentity:
        return StudyIdentity(
            dataset=self.dataset,
            plans=self.plans,
            cases=self.cohort["cases"],
            test_cases=self.cohort["test_cases"],
            external_cases=self.cohort["external_cases"],
            seed=self.cohort["seed"],
        )

    def make_ready(self) -> None:
        """Phantoms, plans and preprocessed cases, once."""
        if not self.raw.is_dir():
            self.call(
                f"dsmt convert phantom -d {DATASET_ID} --cases {self.cohort['cases']} "
                f"--test-cases {self.cohort['test_cases']} --external-cases {self.cohort['external_cases']} "
                f"--seed {self.cohort['seed']} -np {worker_processes()}"
            )
        if not (self.preprocessed / "splits_final.json").is_file():
            self.call(f"dsmt plan -d {DATASET_ID} -pl {self.planner} -np {worker_processes()}")
        from dsmt_nnunet.planners.preprocessing import preprocess_test_cases

        self.test_folder = preprocess_test_cases(self.raw, self.preprocessed, self.plans, worker_processes())

    def question(self) -> Any:
        from dsmt_nnunet.study.tables import Question

        return Question.of_test_cases(self.raw, self.splits())

    def unseen(self, fold: int) -> Any:
        from dsmt_nnunet.study.answers import UnseenCases

        cases = sorted(path.stem for path in self.test_folder.glob("*.pkl"))
        return UnseenCases(self.test_folder, self.raw / TEST_NODULE_TABLE_NAME, tuple(cases))

    def validation(self) -> Any:
        return self.training_cases(self.splits()[0]["val"])


class CrossValidation(Trainings):
    """Trained on each fold of a data set of the user's own, asked about the cases that the fold left out."""

    own_folders = ("nnUNet_results",)

    def __init__(self, out: Path, preset: str, jobs: int | None, dataset: str, folds: Sequence[int] | None) -> None:
        from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

        name = maybe_convert_to_dataset_name(int(dataset) if dataset.isdigit() else dataset)
        super().__init__(out, preset, jobs, name)
        self.asked_folds = folds

    def identity(self) -> StudyIdentity:
        return StudyIdentity(dataset=self.dataset, plans=self.plans, folds=tuple(self.folds()))

    def make_ready(self) -> None:
        """Nothing is made: the data are the user's.

        Raises:
            FileNotFoundError: there are no such plans, or no folds.
        """
        for file in (self.preprocessed / f"{self.plans}.json", self.preprocessed / "splits_final.json"):
            if not file.is_file():
                presets = ", ".join(f"--preset {name} for {plans}" for name, (_, plans) in PRESETS.items())
                there = sorted(path.stem for path in self.preprocessed.glob("*Plans*.json"))
                raise FileNotFoundError(
                    f"{self.dataset} has no {file.name}. Run first: dsmt plan -d {self.dataset} -pl {self.planner}. "
                    f"Or choose the plans that are there, {there or 'none'} ({presets})."
                )

    def folds(self) -> Sequence[int]:
        """Those asked for, or all.

        Raises:
            ValueError: there is no such fold.
        """
        self.make_ready()
        there = range(len(self.splits()))
        asked = tuple(there if self.asked_folds is None else self.asked_folds)
        unknown = sorted(set(asked) - set(there))
        if unknown:
            raise ValueError(f"{self.dataset} has the folds 0 to {len(there) - 1}, not {unknown}.")
        return asked

    def question(self) -> Any:
        from dsmt_nnunet.study.tables import Question

        folds = self.splits()
        return Question.of_folds(self.raw, [folds[fold] for fold in self.folds()])

    def unseen(self, fold: int) -> Any:
        return self.training_cases(self.splits()[fold]["val"])
