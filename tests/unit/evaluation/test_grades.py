from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import somersd
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, roc_auc_score

from dsmt_nnunet.evaluation.crossval import CrossvalInputs, evaluate_crossval
from dsmt_nnunet.evaluation.files import read_metrics
from dsmt_nnunet.evaluation.grades import median_grades
from dsmt_nnunet.evaluation.joined_nodules import JoinedNodule
from dsmt_nnunet.evaluation.predicted import PredictionInputs, evaluate_predictions
from dsmt_nnunet.evaluation.settings import EvaluationSettings
from dsmt_nnunet.evaluation.task_cases import TaskCases, TaskOptions
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.predictions.results import CasePrediction, NodulePrediction, TaskPrediction, write_case
from dsmt_nnunet.records import jsonable
from dsmt_nnunet.report.cards import cards_of
from dsmt_nnunet.report.folder import read_evaluation
from dsmt_nnunet.report.grade_tables import grade_tables
from dsmt_nnunet.report.panel import panels_of
from dsmt_nnunet.tasks import ClassificationSchema, Question, Task
from tests.unit.evaluation.cohort import rows_of

TASK = Task("vote", ("1", "2", "3", "4"), True, Question("benign", "malignant", "3", ("2",)))
SCHEMA = ClassificationSchema((TASK,), "vote")
N = 80
RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 4, N)
PROBS = RNG.dirichlet((1, 1, 1, 1), N) * 0.6 + 0.4 * np.eye(4)[np.clip(TRUTH + RNG.integers(-1, 2, N), 0, 3)]
MEAN, MEDIAN = PROBS @ np.arange(4), median_grades(PROBS)
SETTINGS = EvaluationSettings(n_resamples=200)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    nodules = [
        Nodule(f"c{k:02d}", "1", f"p{k // 2}", (0.0, 0.0, 0.0), 9.0, {"vote": TASK.classes[grade]})
        for k, grade in enumerate(TRUTH)
    ]
    NoduleTable(tuple(nodules)).write(tmp_path / "nodules.csv", SCHEMA)
    return tmp_path / "nodules.csv"


def write(folder: Path, number: int) -> None:
    probs = dict(zip(TASK.classes, PROBS[number].tolist(), strict=True))
    pair = TASK.binary_probabilities(PROBS[number])
    answers = {"benign": float(pair[0]), "malignant": float(pair[1])}
    answer = TaskPrediction(probs, {}, "malignant" if pair[1] >= 0.5 else "benign", 0.5, answers)
    nodule = NodulePrediction("1", (0.0, 0.0, 0.0), 9.0, 380.0, {"vote": answer})
    folder.mkdir(parents=True, exist_ok=True)
    write_case(CasePrediction(f"c{number:02d}", SCHEMA, (nodule,)), folder / f"c{number:02d}.json")


def test_grades_are_measured_as_grades(truth: Path, tmp_path: Path) -> None:
    for number in range(N):
        write(tmp_path / "pred", number)
    metrics = evaluate_predictions(PredictionInputs(tmp_path / "pred", truth), tmp_path / "out", SETTINGS)
    task = metrics.tasks["vote"]
    grades = task.grades
    assert (grades.n, task.n) == (N, int((TRUTH != 1).sum())), "the undecided grade is graded, not asked about"
    assert grades.quadratic_kappa == pytest.approx(cohen_kappa_score(TRUTH, MEDIAN, weights="quadratic"))
    assert grades.mean_absolute_error == pytest.approx(mean_absolute_error(TRUTH, MEDIAN))
    assert grades.c_index == pytest.approx((somersd(TRUTH, MEAN).statistic + 1) / 2)
    assert [item.auc for item in grades.auc_at_cuts] == pytest.approx(
        [roc_auc_score(cut <= TRUTH, MEAN) for cut in (1, 2, 3)]
    )
    assert {item.auc_method for item in grades.auc_at_cuts} == {"obuchowski-logit-t"}
    for name in ("quadratic_kappa", "c_index", "mean_absolute_error", "accuracy"):
        lower, upper = getattr(grades, f"{name}_ci")
        assert lower < getattr(grades, name) < upper, name
    assert np.array(grades.confusion_matrix).sum(axis=1).tolist() == np.bincount(TRUTH).tolist()
    assert jsonable(read_metrics(tmp_path / "out")) == json.loads((tmp_path / "out" / "metrics.json").read_text())
    row = rows_of(tmp_path / "out" / "joined.csv")[3]
    assert [float(row[f"vote_prob_{name}"]) for name in TASK.classes] == pytest.approx(PROBS[3].tolist())
    assert float(row["vote_prob"]) == pytest.approx(float(TASK.binary_probabilities(PROBS[3])[1]))
    first, counts = grade_tables(grades, "95%")
    assert first.rows[1][1].startswith(f"{grades.quadratic_kappa:.3f} (")
    assert len(counts.rows) == 4


def test_the_page_judges_grades_by_the_answer_to_their_question(truth: Path, tmp_path: Path) -> None:
    for number in range(N):
        write(tmp_path / "pred", number)
    evaluate_predictions(PredictionInputs(tmp_path / "pred", truth), tmp_path / "out", SETTINGS)
    evaluation = read_evaluation(tmp_path / "out")
    probability = np.array([TASK.binary_probabilities(probs)[1] for probs in PROBS])
    outcomes = np.where(TRUTH == 1, "unknown", np.where((probability >= 0.5) == (TRUTH >= 2), "right", "wrong"))
    answers = {int(card.case_id[1:]): card.answers[0] for card in cards_of(evaluation, "card")}
    assert [answers[number].outcome for number in range(N)] == outcomes.tolist()
    words = ("benign (1)", "2, undecided", "malignant (3)", "malignant (4)")
    assert [answers[number].truth_in_words for number in range(N)] == [words[grade] for grade in TRUTH]
    (panel,) = panels_of(evaluation)
    assert panel.classes == ("benign", "malignant")
    assert panel.series[0].y_true.tolist() == (TRUTH[TRUTH != 1] >= 2).tolist()
    table = tmp_path / "out" / "joined.csv"
    table.write_text(table.read_text().replace("vote_grade", "vote_other"))
    with pytest.raises(ValueError, match="of an earlier release has grades where the answers to vote should stand"):
        read_evaluation(tmp_path / "out")


def test_order_is_judged_within_folds(truth: Path, tmp_path: Path) -> None:
    folds = np.arange(N) // 2 % 4
    for number in range(N):
        write(tmp_path / "model" / f"fold_{folds[number]}" / "validation", number)
    metrics = evaluate_crossval(CrossvalInputs(tmp_path / "model", truth), tmp_path / "out", SETTINGS)
    grades = metrics.tasks["vote"].grades
    within = [(somersd(TRUTH[folds == fold], MEAN[folds == fold]).statistic + 1) / 2 for fold in range(4)]
    assert grades.c_index == pytest.approx(np.mean(within))
    cut = [roc_auc_score(TRUTH[folds == fold] >= 2, MEAN[folds == fold]) for fold in range(4)]
    assert grades.auc_at_cuts[1].auc == pytest.approx(np.mean(cut))
    assert grades.quadratic_kappa == pytest.approx(cohen_kappa_score(TRUTH, MEDIAN, weights="quadratic"))


def test_readers_of_grades_stand_beside_the_model(truth: Path, tmp_path: Path) -> None:
    table = NoduleTable.read(truth, SCHEMA)
    ratings = np.clip(TRUTH + np.random.default_rng(5).integers(-2, 3, N), 0, 3)
    read = [replace(item, extra={"r": TASK.classes[rated]}) for item, rated in zip(table.nodules, ratings, strict=True)]
    NoduleTable(tuple(read)).write(truth, SCHEMA)
    for number in range(N):
        write(tmp_path / "pred", number)
    inputs = PredictionInputs(tmp_path / "pred", truth, options=TaskOptions(readers={"": ("r",)}))
    metrics = evaluate_predictions(inputs, tmp_path / "out", SETTINGS)
    reader = metrics.tasks["vote"].grades.readers["r"]
    kappa = {item.measure: item for item in reader.model_minus_reader}["quadratic kappa"]
    assert kappa.values[1] == pytest.approx(cohen_kappa_score(TRUTH, ratings, weights="quadratic"))
    assert kappa.p_value_holm is not None
    assert kappa.p_value_holm >= kappa.p_value
    (family,) = [item for item in metrics.multiplicity if item.name == "readers of grades and classes"]
    assert family.n_tests == 3
    assert metrics.tasks["vote"].readers["r"].kind == "ordinal", "the question is asked of the reader too"
    assert jsonable(read_metrics(tmp_path / "out")) == json.loads((tmp_path / "out" / "metrics.json").read_text())
    *_, beside = grade_tables(metrics.tasks["vote"].grades, "95%", metrics.multiplicity)
    assert [row[0] for row in beside.rows] == [f"r ({N}), {item.measure}" for item in reader.model_minus_reader]


@pytest.mark.parametrize(
    ("ratings", "values"),
    [(("AIS", "", "IAC"), (1, np.nan, 3)), (("low", "high", ""), (0, 1, np.nan)), (("2", "4", "1"), (2, 4, 1))],
)
def test_a_reader_of_the_question_may_rate_by_grade(ratings: tuple[str, ...], values: tuple[float, ...]) -> None:
    task = Task("t", ("AAH", "AIS", "MIA", "IAC"), True, Question("low", "high", "MIA"))
    answer = TaskPrediction(dict.fromkeys(task.classes, 0.25), {}, "high", 0.5, {"low": 0.4, "high": 0.6})
    predicted = NodulePrediction("1", (0.0, 0.0, 0.0), 9.0, 380.0, {"t": answer})
    joined = [
        JoinedNodule(f"c{k}", Nodule(f"c{k}", "1", f"p{k}", (0, 0, 0), 9.0, {"t": "AIS"}, extra={"r": text}), predicted)
        for k, text in enumerate(ratings)
    ]
    cases = TaskCases.of(joined, task)
    table = cases.score_table(TaskOptions(readers={"t": ("r",)}), [cases.file_decisions()])
    np.testing.assert_array_equal(table.readers["r"], values)


def test_the_median_grade_by_hand() -> None:
    probs = np.array([[0.5, 0.5, 0.0], [0.49, 0.01, 0.5], [0.1, 0.3, 0.6], [0.2, 0.4, 0.4]])
    assert median_grades(probs).tolist() == [0, 1, 2, 1]
