"""What five folds say of real nodules, beside the ruler, and how the wide part learns from fewer of them.

Reads what training left: `fold_K/validation/CASE.json` of a model folder and the nodules of its data set. Judged are
the nodules whose answer is known and whose diameter lies in a range; all of them teach. A model without descriptors has
no wide part and no curve; what it and another one say together is asked with `--beside`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from dsmt_nnunet.covariates import encode
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.predictions.results import NodulePrediction, read_case
from dsmt_nnunet.statistics.calibration.logistic import logistic_calibration
from dsmt_nnunet.statistics.ordinal.weighted import c_index
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.statistics.roc.fold_comparison import fold_aucs, paired_fold_comparison
from dsmt_nnunet.tasks import Task
from dsmt_nnunet.training.wide import fit_wide

FloatArray = npt.NDArray[np.float64]
_SMALLEST = 1e-6


@dataclass(frozen=True)
class Cohort:
    """Out-of-fold answers to the primary task.

    Attributes:
        task: the primary task.
        nodules: (N,).
        folds: (N,), the fold that left a nodule out.
        score: (N,), log odds of the positive answer.
        measured: (N, D), descriptors under the predicted mask, then the columns of the covariates.
        penalties: (D,), of the plan.
        covariates: so many of the last columns are covariates.
        dice: (F,), of each fold's validation cases.
    """

    task: Task
    nodules: tuple[Nodule, ...]
    folds: npt.NDArray[np.int_]
    score: FloatArray
    measured: FloatArray
    penalties: FloatArray
    covariates: int
    dice: FloatArray

    @property
    def diameter_mm(self) -> FloatArray:
        return np.array([nodule.diameter_mm for nodule in self.nodules])

    @property
    def targets(self) -> FloatArray:
        """(N, K), NaN where not known."""
        unknown = (math.nan,) * len(self.task.classes)
        return np.array([nodule.target(self.task) or unknown for nodule in self.nodules])

    @property
    def answers(self) -> FloatArray:
        """(N,), 1 for the positive answer, 0 for the negative, NaN for neither."""
        names = self.task.as_binary().classes
        labels = [self.task.binary_label(nodule.labels.get(self.task.name)) for nodule in self.nodules]
        return np.array([math.nan if label is None else float(label == names[1]) for label in labels])

    def judged(self, smallest_mm: float, largest_mm: float) -> npt.NDArray[np.bool_]:
        """(N,), known answers within a range of diameters."""
        inside = (self.diameter_mm >= smallest_mm) & (self.diameter_mm <= largest_mm)
        return inside & ~np.isnan(self.answers)


def read(model: Path, dataset: Path) -> Cohort:
    """Reads the folds of a model folder that have been validated, and the raw data set's nodules.

    Raises:
        FileNotFoundError: no fold has been validated.
    """
    plan = DSMTPlan.from_plans(json.loads((model / "plans.json").read_text(encoding="utf-8")))
    names = () if plan.wide is None else plan.wide.descriptors
    of_case = NoduleTable.read(dataset / "nodules.csv", plan.schema).by_case()
    task, covariates = plan.schema.primary, plan.covariates
    nodules: list[Nodule] = []
    folds, scores, measured, dice = [], [], [], []
    for folder in sorted(model.glob("fold_*/validation")):
        number = int(folder.parent.name.removeprefix("fold_"))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        dice.append(summary["foreground_mean"]["Dice"])
        for path in sorted(folder.glob("*.json")):
            if path.stem not in of_case:
                continue
            predictions = {found.nodule_id: found for found in read_case(path).nodules}
            for nodule in of_case[path.stem]:
                prediction = predictions[nodule.nodule_id]
                nodules.append(nodule)
                folds.append(number)
                scores.append(_log_odds(prediction, task))
                columns = encode(covariates, nodule.covariates) if names else ()
                measured.append([*(prediction.descriptors[name] for name in names), *columns])
    if not nodules:
        raise FileNotFoundError(f"{model}: no fold has been validated. Train its folds with nnUNetv2_train.")
    return Cohort(
        task,
        tuple(nodules),
        np.array(folds),
        np.array(scores),
        np.array(measured),
        np.array(plan.wide_penalties if names else ()),
        len(plan.covariate_columns) if names else 0,
        np.array(dice),
    )


def _log_odds(prediction: NodulePrediction, task: Task) -> float:
    answer = prediction.tasks[task.name]
    positive = answer.answer_probabilities[task.as_binary().classes[1]]
    held = min(max(positive, _SMALLEST), 1 - _SMALLEST)
    return math.log(held / (1 - held))


def together(first: Cohort, second: Cohort) -> Cohort:
    """The first cohort with the mean of both scores, each in standard deviations: nothing of it is fitted.

    Raises:
        ValueError: they are not of the same nodules and folds.
    """
    keys = [
        [(nodule.case_id, nodule.nodule_id, fold) for nodule, fold in zip(own.nodules, own.folds.tolist(), strict=True)]
        for own in (first, second)
    ]
    if keys[0] != keys[1]:
        raise ValueError("Both models must have validated the same nodules in the same folds.")
    standardised = [(own.score - own.score.mean()) / own.score.std() for own in (first, second)]
    return replace(first, score=(standardised[0] + standardised[1]) / 2)


def describe(cohort: Cohort, judged: npt.NDArray[np.bool_]) -> list[str]:
    """Lines of Markdown: each fold, their mean, all nodules together, and the comparison with the diameter."""
    labels, score, ruler = cohort.answers, cohort.score, cohort.diameter_mm
    lines = ["| fold | judged (positive) | AUC DSMT | AUC diameter | Dice |", "|---|---|---|---|---|"]
    for fold, dice in zip(np.unique(cohort.folds), cohort.dice, strict=True):
        own = judged & (cohort.folds == fold)
        pair = (auc_score(labels[own], score[own]), auc_score(labels[own], ruler[own]))
        lines.append(f"| {fold} | {own.sum()} ({labels[own].sum():.0f}) | {pair[0]:.3f} | {pair[1]:.3f} | {dice:.3f} |")
    known, folds = labels[judged].astype(int), cohort.folds[judged]
    both = np.stack([score[judged], ruler[judged]])
    means = fold_aucs(known.astype(bool), both, folds).values.mean(axis=1)
    counts = f"{judged.sum()} ({known.sum()})"
    lines.append(f"| mean | {counts} | {means[0]:.3f} | {means[1]:.3f} | {cohort.dice.mean():.3f} |")
    pooled = [auc_score(known, own) for own in both]
    lines.append(f"| pooled | {counts} | {pooled[0]:.3f} | {pooled[1]:.3f} | |")
    compared = paired_fold_comparison(known, both[0], both[1], folds)
    lines.append(
        f"\nDifference of the means {compared.mean:+.3f} ({compared.ci[0]:.3f} to {compared.ci[1]:.3f}), corrected t "
        f"over folds p = {compared.p_value:.3g}."
    )
    return [*lines, *_of_all(cohort, judged)]


def _of_all(cohort: Cohort, judged: npt.NDArray[np.bool_]) -> list[str]:
    decided = ~np.isnan(cohort.answers)
    labels = cohort.answers
    aucs = [auc_score(labels[decided], own[decided]) for own in (cohort.score, cohort.diameter_mm)]
    grades = np.array([cohort.task.index(nodule.labels.get(cohort.task.name)) for nodule in cohort.nodules])
    votes = ~np.isnan(cohort.targets).any(axis=1)
    mean_grade = cohort.targets[votes] @ np.arange(cohort.targets.shape[1])
    graded = grades >= 0
    ones = np.ones((1, int(graded.sum())), dtype=np.int64)
    concordance = c_index(grades[graded], cohort.score[graded], ones)
    lines = [
        f"All {decided.sum()} decided: AUC {aucs[0]:.3f}, diameter {aucs[1]:.3f}. Spearman with the mean grade "
        f"{spearmanr(cohort.score[votes], mean_grade).statistic:.3f}, C-index {float(np.ravel(concordance)[0]):.3f}."
    ]
    for name, chosen in (("judged", judged), ("all decided", decided)):
        patients = [nodule.patient_id for nodule, taken in zip(cohort.nodules, chosen, strict=True) if taken]
        slope = logistic_calibration(
            labels[chosen].astype(int), 1 / (1 + np.exp(-cohort.score[chosen])), clusters=patients
        )
        lines.append(
            f"Calibration slope, {name}: {slope.slope:.2f} ({slope.slope_ci[0]:.2f} to {slope.slope_ci[1]:.2f})."
        )
    return lines


def describe_repeats(cohorts: Sequence[Cohort], smallest_mm: float, largest_mm: float) -> list[str]:
    """Lines of Markdown: each cross-validation of the same nodules, their mean, and the comparison over all folds.

    Raises:
        ValueError: they are not of the same nodules.
    """
    ordered = [in_order(cohort) for cohort in cohorts]
    keys = [[(nodule.case_id, nodule.nodule_id) for nodule in cohort.nodules] for cohort in ordered]
    if any(own != keys[0] for own in keys):
        raise ValueError("Repeats must have validated the same nodules.")
    judged = ordered[0].judged(smallest_mm, largest_mm)
    known = ordered[0].answers[judged].astype(int)
    score, ruler, folds = (
        np.stack([own[judged] for own in columns])
        for columns in zip(*((cohort.score, cohort.diameter_mm, cohort.folds) for cohort in ordered), strict=True)
    )
    lines = [
        "| cross-validation | AUC DSMT, mean of folds | pooled | AUC diameter, mean of folds | Dice |",
        "|---|---|---|---|---|",
    ]
    table = []
    for number, cohort in enumerate(ordered):
        own = np.stack([score[number], ruler[number]])
        means = fold_aucs(known.astype(bool), own, folds[number]).values.mean(axis=1)
        table.append([means[0], auc_score(known, score[number]), means[1], cohort.dice.mean()])
    rows = [(str(number + 1), row) for number, row in enumerate(table)] + [("mean", np.mean(table, axis=0))]
    lines += [f"| {name} | {' | '.join(f'{value:.3f}' for value in row)} |" for name, row in rows]
    compared = paired_fold_comparison(known, score, ruler, folds)
    averaged = [auc_score(known, score.mean(axis=0)), auc_score(known, ruler[0])]
    lines.append(
        f"\nDifference of the means {compared.mean:+.3f} ({compared.ci[0]:.3f} to {compared.ci[1]:.3f}), corrected t "
        f"over all folds p = {compared.p_value:.3g}. Mean of a nodule's log odds: pooled AUC {averaged[0]:.3f}, "
        f"diameter {averaged[1]:.3f}."
    )
    return lines


def in_order(cohort: Cohort) -> Cohort:
    """The same nodules by case and number, whichever fold left them out."""
    order = sorted(
        range(len(cohort.nodules)), key=lambda row: (cohort.nodules[row].case_id, cohort.nodules[row].nodule_id)
    )
    return replace(
        cohort,
        nodules=tuple(cohort.nodules[row] for row in order),
        folds=cohort.folds[order],
        score=cohort.score[order],
        measured=cohort.measured[order],
    )


@dataclass(frozen=True)
class Point:
    """The wide part, taught by so many nodules: mean over draws of the mean AUC over folds, and its spread."""

    nodules: int
    auc: float
    spread: float
    ruler: float


def learning_curve(
    cohort: Cohort, judged: npt.NDArray[np.bool_], sizes: Sequence[int], draws: int, seed: int = 0
) -> list[Point]:
    """Fits the wide part on nodules drawn by patient from the other folds, and asks the judged ones of each fold.

    Args:
        cohort: out of fold, whose descriptors are those of unseen nodules.
        judged: (N,).
        sizes: numbers of nodules; 0 for all.
        draws: of each size.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    known, folds = cohort.answers[judged].astype(bool), cohort.folds[judged]
    ruler = float(fold_aucs(known, cohort.diameter_mm[judged][None], folds).values.mean())
    points = []
    for size in sizes:
        aucs = []
        for _ in range(draws if size else 1):
            score = np.full(len(cohort.nodules), np.nan)
            for fold in np.unique(cohort.folds):
                rows = _drawn(cohort, np.flatnonzero(cohort.folds != fold), size, rng)
                fit = fit_wide(
                    cohort.measured[rows],
                    cohort.targets[rows],
                    cohort.task,
                    cohort.penalties,
                    covariates=cohort.covariates,
                )
                held_out = cohort.folds == fold
                score[held_out] = fit.scores(cohort.measured[held_out])[:, 0]
            aucs.append(float(fold_aucs(known, score[judged][None], folds).values.mean()))
        points.append(Point(size, float(np.mean(aucs)), float(np.std(aucs)), ruler))
    return points


def _drawn(cohort: Cohort, rows: npt.NDArray[np.int_], size: int, rng: np.random.Generator) -> npt.NDArray[np.int_]:
    """All of the rows, or about `size` of them: whole patients in random order."""
    if not size:
        return rows
    patients = np.array([cohort.nodules[row].patient_id for row in rows])
    place = {patient: rank for rank, patient in enumerate(rng.permutation(np.unique(patients)).tolist())}
    order = np.argsort([place[patient] for patient in patients], kind="stable")
    return rows[order[:size]]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_nodules", description=__doc__)
    parser.add_argument("model", type=Path, help="nnU-Net's model folder, such as DSMTTrainer__DSMTPlansXS__3d_fullres")
    parser.add_argument("dataset", type=Path, help="the raw data set")
    parser.add_argument("--diameter-range", type=float, nargs=2, default=(8.0, 22.0), metavar=("MIN", "MAX"))
    parser.add_argument("--sizes", type=int, nargs="*", default=[50, 100, 200, 0], help="of the curve; 0 for all")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--beside", type=Path, metavar="MODEL", help="another model of the same folds, asked with it")
    parser.add_argument("--repeats", type=Path, nargs="+", metavar="MODEL", help="models of other folds or seeds")
    parser.add_argument("-o", "--output", type=Path, help="CSV of the curve")
    args = parser.parse_args(arguments)
    cohort = read(args.model, args.dataset)
    judged = cohort.judged(*args.diameter_range)
    print("\n".join(describe(cohort, judged)))
    if args.beside:
        other = read(args.beside, args.dataset)
        for title, asked in ((args.beside.name, other), ("Mean of both", together(cohort, other))):
            print("\n".join((f"\n{title}", *describe(asked, judged))))
    if args.repeats:
        repeats = [cohort, *(read(model, args.dataset) for model in args.repeats)]
        print("\n".join(("", *describe_repeats(repeats, *args.diameter_range))))
    if not cohort.measured.shape[1] or not args.sizes:
        return
    points = learning_curve(cohort, judged, args.sizes, args.draws)
    rows = [
        {
            "nodules": point.nodules or "all",
            "auc": f"{point.auc:.3f}",
            "sd_over_draws": f"{point.spread:.3f}",
            "auc_diameter": f"{point.ruler:.3f}",
        }
        for point in points
    ]
    for row in rows:
        print(row)
    if args.output:
        write_rows(args.output, [list(rows[0]), *(list(row.values()) for row in rows)])


if __name__ == "__main__":
    main()
