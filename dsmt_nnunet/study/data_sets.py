"""What a study trains on: a cohort of phantoms, or the folds of a data set of the user's own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsmt_nnunet.environment import worker_processes
from dsmt_nnunet.study.own_folds import centre_folds, link_preprocessed, seeded_folds
from dsmt_nnunet.study.records import StudyIdentity
from dsmt_nnunet.study.runner import PRESETS, Trainings
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, TEST_NODULE_TABLE_NAME, ClassificationSchema

DATASET_ID = 510
DATASET = f"Dataset{DATASET_ID}_Phantom"


class PhantomTrainings(Trainings):
    """Trained on fold 0 of a phantom cohort, asked about its unseen cases."""

    asks_validation = True

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


class CrossValidation(Trainings):
    """Trained on each fold of a data set of the user's own, asked about the cases that the fold left out."""

    own_folders: Sequence[str] = ("nnUNet_results",)

    def __init__(
        self,
        out: Path,
        preset: str,
        jobs: int | None,
        dataset: str,
        folds: Sequence[int] | None,
        by: str | None = None,
        fold_seed: int | None = None,
    ) -> None:
        from dsmt_nnunet.nnunet_folders import dataset_name

        name = dataset_name(dataset)
        self.by, self.fold_seed = by, fold_seed
        self.planned = Path(os.environ["nnUNet_preprocessed"]) / name
        """Of the user; with centres as folds or a seed the study has a folder of links to it, and folds of its own."""
        if by is not None or fold_seed is not None:
            self.own_folders = ("nnUNet_results", "nnUNet_preprocessed")
        super().__init__(out, preset, jobs, name)
        self.asked_folds = folds

    def identity(self) -> StudyIdentity:
        folds = tuple(self.folds())
        return StudyIdentity(dataset=self.dataset, plans=self.plans, folds=folds, by=self.by, fold_seed=self.fold_seed)

    def make_ready(self) -> None:
        """Nothing is made: the data are the user's.

        Raises:
            FileNotFoundError: there are no such plans, or no folds.
            ValueError: centres are to be the folds, and a case has none or several.
        """
        for file in (self.planned / f"{self.plans}.json", self.planned / "splits_final.json"):
            if not file.is_file():
                presets = ", ".join(f"--preset {name} for {plans}" for name, (_, plans) in PRESETS.items())
                there = sorted(path.stem for path in self.planned.glob("*Plans*.json"))
                raise FileNotFoundError(
                    f"{self.dataset} has no {file.name}. Run first: dsmt plan -d {self.dataset} -pl {self.planner}. "
                    f"Or choose the plans that are there, {there or 'none'} ({presets})."
                )
        if self.by is not None:
            link_preprocessed(self.planned, self.preprocessed, list(self._centre_folds(self.by).values()))
        elif self.fold_seed is not None:
            link_preprocessed(self.planned, self.preprocessed, self._seeded_folds(self.fold_seed))

    def centres(self) -> tuple[str, ...]:
        """Centre that each fold leaves out, of those that are trained; none where folds are no centres."""
        if self.by is None:
            return ()
        names = list(self._centre_folds(self.by))
        return tuple(names[fold] for fold in self.folds())

    def _centre_folds(self, column: str) -> dict[str, dict[str, list[str]]]:
        return centre_folds(self.raw / NODULE_TABLE_NAME, self._schema(), column, self._cases())

    def _seeded_folds(self, seed: int) -> list[dict[str, list[str]]]:
        return seeded_folds(self.raw / NODULE_TABLE_NAME, self._schema(), seed, self._cases())

    def _schema(self) -> ClassificationSchema:
        return ClassificationSchema.from_dataset_json(json.loads((self.raw / "dataset.json").read_text("utf-8")))

    def _cases(self) -> list[str]:
        from dsmt_nnunet.nnunet_files import read_splits

        there = read_splits(self.planned / "splits_final.json")
        return sorted({case for fold in there for side in ("train", "val") for case in fold[side]})

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
