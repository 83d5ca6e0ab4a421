"""A study asks trained folds about preprocessed cases; nnUNetv2_predict must say the same of the scans."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

from dsmt_nnunet.planners.preprocessing import preprocess_test_cases
from dsmt_nnunet.predictions.results import read_folder
from dsmt_nnunet.study import answers as study_answers
from dsmt_nnunet.study.answers import UnseenCases, answer, mean_dice
from tests.e2e.conftest import Workspace

TOLERANCE = 0.02


def test_a_study_hears_what_prediction_says(
    trained: Workspace, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", trained.variables["nnUNet_extTrainer"])
    fold = trained.model("DSMTTrainerShort", "DSMTPlansXS") / "fold_0"
    folder = preprocess_test_cases(trained.raw, trained.preprocessed, "DSMTPlansXS")
    cases = tuple(sorted(path.stem for path in folder.glob("*.pkl")))
    assert len(cases) == 3
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    preprocess_test_cases(trained.raw, trained.preprocessed, "DSMTPlansXS")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before, "what is there is kept"
    unseen = UnseenCases(folder, trained.raw / "nodulesTs.csv", cases)
    answer(fold, "checkpoint_final.pth", unseen, tmp_path / "answers", "cpu")

    for asked, predicted in zip(read_folder(tmp_path / "answers"), read_folder(given), strict=True):
        assert asked.case_id == predicted.case_id
        for one, other in zip(asked.nodules, predicted.nodules, strict=True):
            assert one.nodule_id == other.nodule_id
            for name in asked.schema.task_names:
                assert one.tasks[name].probabilities == pytest.approx(other.tasks[name].probabilities, abs=TOLERANCE)


def test_the_dice_is_that_of_the_case(trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", trained.variables["nnUNet_extTrainer"])
    folder = preprocess_test_cases(trained.raw, trained.preprocessed, "DSMTPlansXS")
    cases = tuple(sorted(path.stem for path in folder.glob("*.pkl")))
    dataset = infer_dataset_class(str(folder))(str(folder), list(cases))
    # The first mask is right, the second is half of it, the third is empty.
    masks = [np.asarray(dataset.load_case(case)[1][0]) > 0 for case in cases]
    masks[1][: int(np.argwhere(masks[1])[:, 0].mean())] = False
    masks[2][:] = False
    logits = iter([np.stack([~mask, mask]).astype(np.float32) for mask in masks])
    monkeypatch.setattr(study_answers, "paste_patches", lambda outputs, shape: next(logits))
    fold = trained.model("DSMTTrainerShort", "DSMTPlansXS") / "fold_0"
    unseen = UnseenCases(folder, trained.raw / "nodulesTs.csv", cases)
    answer(fold, "checkpoint_final.pth", unseen, tmp_path, "cpu")
    with (tmp_path / "dice.csv").open() as stream:
        dice = {row["case_id"]: float(row["dice"]) for row in csv.DictReader(stream)}
    assert dice[cases[0]] == 1.0
    assert 0.4 < dice[cases[1]] < 0.9
    assert dice[cases[2]] == 0.0
    assert mean_dice([tmp_path], frozenset(cases[:2])) == pytest.approx((1.0 + dice[cases[1]]) / 2)
