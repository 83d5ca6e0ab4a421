from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import StratifiedGroupKFold

from dsmt_nnunet.dataloading.splits import SPLIT_SEED, check_fold, grouped_splits
from dsmt_nnunet.nodules import EmptyCase, Nodule, NoduleTable
from tests.unit.small_plans import SCHEMA

NEGATIVE, POSITIVE = SCHEMA.primary.classes


def table(labels: Sequence[str | None], cases_per_patient: int = 1) -> NoduleTable:
    return NoduleTable(
        tuple(
            Nodule(f"case{i:03d}", "1", f"patient{i // cases_per_patient}", (0, 0, 0), labels={"invasiveness": label})
            for i, label in enumerate(labels)
        )
    )


def cases(nodules: NoduleTable) -> list[str]:
    return [nodule.case_id for nodule in nodules.nodules]


def test_no_patient_is_on_both_sides_and_each_case_is_validated_once() -> None:
    nodules = table([NEGATIVE, POSITIVE, NEGATIVE] * 14, cases_per_patient=3)
    patient_of = nodules.patient_of_case()
    splits = grouped_splits(nodules, cases(nodules), SCHEMA)
    assert len(splits) == 5
    for split in splits:
        assert not {patient_of[c] for c in split["train"]} & {patient_of[c] for c in split["val"]}
        assert sorted(split["train"] + split["val"]) == cases(nodules)
    assert sorted(case for split in splits for case in split["val"]) == cases(nodules)


def test_the_classes_are_in_proportion_within_one_case() -> None:
    nodules = table([POSITIVE] * 11 + [NEGATIVE] * 29)
    label_of = {nodule.case_id: nodule.labels["invasiveness"] for nodule in nodules.nodules}
    for split in grouped_splits(nodules, cases(nodules), SCHEMA):
        positives = sum(label_of[case] == POSITIVE for case in split["val"])
        assert abs(positives - 11 / 5) <= 1
        assert abs(len(split["val"]) - 8) <= 1


def test_unknown_and_mixed_cases_are_strata_of_their_own() -> None:
    labels = [None] * 10 + [POSITIVE] * 10 + [NEGATIVE] * 10
    second = [
        Nodule(f"case{i:03d}", "2", f"patient{i}", (0, 0, 0), labels={"invasiveness": NEGATIVE}) for i in range(10, 15)
    ]
    nodules = NoduleTable(table(labels).nodules + tuple(second))
    for split in grouped_splits(nodules, sorted(set(cases(nodules))), SCHEMA):
        numbers = np.array([int(case[-3:]) for case in split["val"]])
        assert [np.sum((numbers >= low) & (numbers < high)) for low, high in ((0, 10), (10, 15), (15, 20))] == [2, 1, 1]


def test_the_order_of_cases_and_a_second_call_change_nothing() -> None:
    nodules = table([POSITIVE, NEGATIVE] * 9)
    first = grouped_splits(nodules, cases(nodules), SCHEMA)
    assert grouped_splits(nodules, cases(nodules)[::-1], SCHEMA) == first


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_cases_without_a_nodule_take_part() -> None:
    nodules = table([POSITIVE, NEGATIVE] * 5)
    splits = grouped_splits(nodules, [*cases(nodules), "empty1", "empty2"], SCHEMA)
    assert sorted(case for split in splits for case in split["val"])[-2:] == ["empty1", "empty2"]
    named = NoduleTable(nodules.nodules, (EmptyCase("empty1", nodules.nodules[0].patient_id), EmptyCase("empty2", "q")))
    for split in grouped_splits(named, [*cases(nodules), "empty1", "empty2"], SCHEMA):
        assert ("empty1" in split["val"]) == (nodules.nodules[0].case_id in split["val"])


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize(
    ("labels", "folds"),
    [
        ([NEGATIVE, POSITIVE], 2),
        ([NEGATIVE, POSITIVE, None], 3),
        ([NEGATIVE, NEGATIVE, POSITIVE, POSITIVE], 2),
        ([NEGATIVE] * 4 + [POSITIVE] * 4, 4),
        ([NEGATIVE] * 5 + [POSITIVE], 5),
        ([NEGATIVE] * 3, 3),
    ],
)
def test_few_patients_give_few_folds(labels: list[str | None], folds: int) -> None:
    nodules = table(labels)
    splits = grouped_splits(nodules, cases(nodules), SCHEMA)
    assert len(splits) == folds
    assert all(split["train"] and split["val"] for split in splits)


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("seed", range(30))
def test_any_small_cohort_can_be_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = [[NEGATIVE, POSITIVE, None][i] for i in rng.integers(0, 3, size=rng.integers(4, 14))]
    nodules = table(labels, cases_per_patient=int(rng.integers(1, 3)))
    splits = grouped_splits(nodules, cases(nodules), SCHEMA)
    assert 2 <= len(splits) <= 5
    assert all(split["train"] and split["val"] for split in splits)


def test_a_single_patient_cannot_be_split() -> None:
    nodules = table([POSITIVE, NEGATIVE, NEGATIVE], cases_per_patient=3)
    with pytest.raises(ValueError, match="at least two patients; the 3 cases belong to 1"):
        grouped_splits(nodules, cases(nodules), SCHEMA)


@pytest.mark.parametrize("fold", [-1, 2, 6])
def test_a_fold_that_is_not_there_is_refused(fold: int) -> None:
    nodules = table([NEGATIVE, POSITIVE] * 6)
    splits = grouped_splits(nodules, cases(nodules), SCHEMA, folds=2)
    check_fold(splits, 1, nodules, SCHEMA, cases(nodules))
    with pytest.raises(ValueError, match="folds 0 to 1"):
        check_fold(splits, fold, nodules, SCHEMA, cases(nodules))


def test_a_fold_that_names_other_cases_is_refused() -> None:
    nodules = table([NEGATIVE, POSITIVE] * 4)
    splits = grouped_splits(nodules, cases(nodules), SCHEMA, folds=2)
    splits[0]["train"].append("case999")
    check_fold(splits, 1, nodules, SCHEMA, cases(nodules))
    with pytest.raises(ValueError, match="names 1 cases that were not preprocessed: case999"):
        check_fold(splits, 0, nodules, SCHEMA, cases(nodules))


def test_cases_on_neither_side_are_told(caplog: pytest.LogCaptureFixture) -> None:
    nodules = table([NEGATIVE, POSITIVE] * 4)
    splits = grouped_splits(nodules, cases(nodules), SCHEMA, folds=2)
    check_fold(splits, 0, nodules, SCHEMA, cases(nodules))
    assert not caplog.messages
    left_out = splits[0]["train"].pop()
    check_fold(splits, 0, nodules, SCHEMA, cases(nodules))
    (told,) = caplog.messages
    assert told.startswith("1 of 8 cases stand on neither side of fold 0 of splits_final.json, neither learnt")
    assert f": {left_out}. " in told


def test_a_patient_on_both_sides_is_refused_in_any_spelling() -> None:
    rows = [("a", "P1", NEGATIVE), ("b", "p1 ", POSITIVE), ("c", "x", NEGATIVE), ("d", "y", POSITIVE)]
    nodules = NoduleTable(
        tuple(Nodule(c, "1", patient, (0, 0, 0), labels={"invasiveness": label}) for c, patient, label in rows)
    )
    with pytest.raises(ValueError, match="1 patients in training and in validation"):
        check_fold([{"train": ["a", "c", "d"], "val": ["b"]}], 0, nodules, SCHEMA, cases(nodules))
    for split in grouped_splits(nodules, cases(nodules), SCHEMA):
        assert ("a" in split["train"]) == ("b" in split["train"])


def test_a_fold_of_one_class_is_refused() -> None:
    nodules = table([NEGATIVE, NEGATIVE, POSITIVE, None])
    with pytest.raises(ValueError, match=r"two classes .* train on all cases with fold 'all'"):
        check_fold(
            [{"train": ["case000", "case001", "case003"], "val": ["case002"]}], 0, nodules, SCHEMA, cases(nodules)
        )


@pytest.mark.parametrize("patients", [1, 2])
def test_the_folds_are_those_of_a_scikit_learn_that_shuffles_rightly(patients: int) -> None:
    if tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8):
        pytest.skip("this release of scikit-learn does not stratify where it shuffles")
    nodules = table([POSITIVE, NEGATIVE, NEGATIVE] * 12, cases_per_patient=patients)
    names = cases(nodules)
    strata = [nodule.labels["invasiveness"] for nodule in nodules.nodules]
    groups = [nodule.patient_id for nodule in nodules.nodules]
    splitter = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=SPLIT_SEED)
    expected = [[names[i] for i in validation] for _, validation in splitter.split(names, strata, groups)]
    assert [split["val"] for split in grouped_splits(nodules, names, SCHEMA)] == expected
