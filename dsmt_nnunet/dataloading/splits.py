"""Folds that keep a patient together and the classes of the primary task in proportion."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from dsmt_nnunet.identifiers import same_person_key
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.tasks import ClassificationSchema

logger = logging.getLogger(__name__)
SPLIT_SEED = 12345


def grouped_splits(
    table: NoduleTable,
    case_ids: Sequence[str],
    schema: ClassificationSchema,
    folds: int = 5,
    seed: int = SPLIT_SEED,
) -> list[dict[str, list[str]]]:
    """Cross-validation folds in the form of nnU-Net's splits_final.json.

    A case is stratified by the primary labels of its nodules: the class (of grades, what they
    answer) if they agree, "several" if not, "unknown" if none is known, "no nodule" if it holds none.

    Args:
        table: the nodules.
        case_ids: all cases that were preprocessed; one that the table does not name is a patient of its own.
        schema: names the primary task.
        folds: how many, fewer if there are fewer patients, or fewer cases in the largest stratum.
        seed: of the order in which patients are dealt out.

    Raises:
        ValueError: fewer than two patients.
    """
    cases = sorted(case_ids)
    patient_of = table.patient_of_case()
    nodules_of = table.by_case()
    spelling: dict[str, str] = {}
    for patient in patient_of.values():
        spelling.setdefault(same_person_key(patient), patient)
    groups = [
        spelling[same_person_key(patient_of[case_id])] if case_id in patient_of else f"case {case_id}"
        for case_id in cases
    ]
    strata = [
        _stratum(
            [schema.primary.stratum(nodule.labels.get(schema.primary_task)) for nodule in nodules_of.get(case_id, ())]
        )
        for case_id in cases
    ]
    folds = min(folds, len(set(groups)))
    if folds < 2:
        raise ValueError(
            f"Cross-validation needs cases of at least two patients; the {len(cases)} cases belong to "
            f"{len(set(groups))}. Train with fold 'all', or add patients."
        )
    largest = max(Counter(strata).values())
    if largest < 2:  # nothing to stratify, which scikit-learn refuses
        strata, largest = ["any"] * len(cases), len(cases)
    folds = min(folds, largest)
    splitter = StratifiedGroupKFold(n_splits=folds)
    with warnings.catch_warnings():
        # A rare stratum ("several", "unknown") cannot be in every fold, and need not be.
        warnings.filterwarnings("ignore", message="The least populated class")
        parts = list(splitter.split(np.zeros(len(cases)), strata, _shuffled(groups, seed)))
    splits = [
        {"train": [cases[i] for i in train], "val": [cases[i] for i in validation]} for train, validation in parts
    ]
    if any(not split["val"] for split in splits):
        return grouped_splits(table, case_ids, schema, folds - 1, seed)
    return splits


def _shuffled(groups: Sequence[str], seed: int) -> npt.NDArray[np.int_]:
    """A number for each group, in random order, the same every time for a seed.

    scikit-learn before 1.8 does not stratify where it shuffles itself (its issue 32478); of groups that are numbered so
    it makes the folds that 1.8 makes by shuffling.
    """
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    order = np.arange(inverse.max() + 1)
    np.random.RandomState(seed).shuffle(order)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    numbers: npt.NDArray[np.int_] = place[inverse]
    return numbers


def check_fold(
    splits: Sequence[Mapping[str, Sequence[str]]],
    fold: int,
    table: NoduleTable,
    schema: ClassificationSchema,
    case_ids: Sequence[str],
) -> None:
    """Checks a fold of splits_final.json, whoever made the file.

    Args:
        splits: see `nnunet_files.read_splits`.
        fold: its number.
        table: the nodules.
        schema: names the primary task.
        case_ids: all cases that were preprocessed; of those that stand on neither side a warning tells.

    Raises:
        ValueError: there is no such fold (nnU-Net would split by case instead, patients on both sides), it names cases
            that are not there, a patient is on both sides, or the training cases show fewer than two classes of the
            primary task.
    """
    if not 0 <= fold < len(splits):
        raise ValueError(f"There is no fold {fold}: splits_final.json holds the folds 0 to {len(splits) - 1}.")
    if absent := sorted({name for side in ("train", "val") for name in splits[fold][side]} - set(case_ids)):
        raise ValueError(
            f"Fold {fold} of splits_final.json names {len(absent)} cases that were not preprocessed: "
            f"{', '.join(absent[:10])}. Correct the names, or run 'dsmt plan' with these cases in imagesTr."
        )
    if left_out := sorted(set(case_ids) - {name for side in ("train", "val") for name in splits[fold][side]}):
        logger.warning(
            "%d of %d cases stand on neither side of fold %d of splits_final.json, neither learnt from nor validated: "
            "%s. Was it made for other cases?",
            len(left_out),
            len(case_ids),
            fold,
            ", ".join(left_out[:10]),
        )
    check_patients(splits, fold, table)
    check_classes(splits, fold, table, schema)


def check_classes(
    splits: Sequence[Mapping[str, Sequence[str]]], fold: int, table: NoduleTable, schema: ClassificationSchema
) -> None:
    """
    Raises:
        ValueError: the training cases of a fold show fewer than two classes of the primary task.
    """
    training = set(splits[fold]["train"])
    labels = [nodule.labels.get(schema.primary_task) for nodule in table.nodules if nodule.case_id in training]
    counts = Counter(label for label in labels if label is not None)
    if len(counts) < 2:
        raise ValueError(
            f"The training cases of fold {fold} show {dict(counts) or 'no known class'} of {schema.primary_task}; two "
            f"classes are needed to learn from. Add cases of the class that is missing (folds are drawn the same way "
            f"every time, so that making them anew does not help), or train on all cases with fold 'all', which leaves "
            f"none to judge the model by."
        )


def check_patients(splits: Sequence[Mapping[str, Sequence[str]]], fold: int, table: NoduleTable) -> None:
    """
    Raises:
        ValueError: a patient is in training and in validation of a fold.
    """
    patient_of = {case: same_person_key(patient) for case, patient in table.patient_of_case().items()}
    sides = [{patient_of.get(case, f"case {case}") for case in splits[fold][side]} for side in ("train", "val")]
    if shared := sides[0] & sides[1]:
        raise ValueError(
            f"Fold {fold} has {len(shared)} patients in training and in validation. Were patient_ids changed after the "
            f"folds were made? Remove splits_final.json and train anew, all folds."
        )


def _stratum(labels: Sequence[str | None]) -> str:
    known = {label for label in labels if label is not None}
    if not known:
        return "unknown" if labels else "no nodule"
    return known.pop() if len(known) == 1 else "several"
