"""What each part of the wide answer is worth on real nodules: it is fitted anew without the part, and asked again.

Under the masks that trained models predicted of nodules that they had not seen (`benchmarks.real_nodules`), in the same
folds: only the fit changes, so that each line takes seconds. Differences are of the mean AUC over the folds of all
models, with the corrected t over them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.real_nodules import Cohort, in_order, read
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.statistics.roc.delong import auc_score
from dsmt_nnunet.statistics.roc.fold_comparison import fold_aucs, paired_fold_comparison
from dsmt_nnunet.training.wide import fit_wide

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
GROUPS: Mapping[str, tuple[str, ...]] = {
    "size": ("diameter_mm", "feret_mm", "axis_", "log_volume"),
    "shape": (
        "sphericity",
        "surface_to_volume",
        "elongation",
        "flatness",
        "solidity",
        "radius_variation",
        "roughness",
        "off_centre",
        "lobulation",
    ),
    "density": ("hu_mean", "hu_sd", "hu_p", "hu_skewness", "hu_kurtosis", "share_", "log_mass", "log_solid_volume"),
    "margin": ("hu_core", "hu_rim", "rim_minus_core", "edge_"),
    "surroundings": ("around_",),
    "spicules": ("spicule_",),
    "texture": ("log_1mm", "log_2mm", "log_3mm", "local_sd"),
}
"""Group -> how the names of its descriptors begin; every descriptor but `empty` belongs to one."""


@dataclass(frozen=True)
class Change:
    """One way to fit otherwise.

    Attributes:
        columns: (D,), which are used; None for all.
        teaches: (N,), which nodules are learnt from; None for all.
        hard: 0-1 labels of the decided nodules in place of votes.
        penalty: factor of the penalties.
    """

    columns: BoolArray | None = None
    teaches: BoolArray | None = None
    hard: bool = False
    penalty: float = 1.0


@dataclass(frozen=True)
class Row:
    """One line of the table; the difference is that of the whole fit to this one.

    Attributes:
        part: what was changed.
        auc: mean over the folds of all models.
        pooled: mean over the models.
        difference, ci, p_value: of the mean over folds, of this one minus the whole fit.
    """

    part: str
    auc: float
    pooled: float
    difference: float
    ci: tuple[float, float]
    p_value: float


def group_of(name: str) -> str | None:
    """The group of a descriptor."""
    return next((group for group, starts in GROUPS.items() if name.startswith(starts)), None)


def out_of_fold(cohort: Cohort, change: Change) -> FloatArray:
    """(N,) scores of the wide part, each nodule's fitted on the other folds."""
    columns = np.ones(cohort.measured.shape[1], dtype=bool) if change.columns is None else change.columns
    covariates = int(columns[len(columns) - cohort.covariates :].sum())
    task, targets = cohort.task, cohort.targets
    if change.hard:
        task, positive = cohort.task.as_binary(), cohort.answers
        targets = np.stack([1 - positive, positive], axis=1)
    measured, penalties = cohort.measured[:, columns], change.penalty * cohort.penalties[columns]
    score = np.full(len(cohort.nodules), np.nan)
    for fold in np.unique(cohort.folds):
        held_out = cohort.folds == fold
        rows = ~held_out if change.teaches is None else ~held_out & change.teaches
        fit = fit_wide(measured[rows], targets[rows], task, penalties, covariates=covariates)
        score[held_out] = fit.scores(measured[held_out])[:, 0]
    return score


def changes(cohort: Cohort, names: Sequence[str], judged_mm: tuple[float, float]) -> dict[str, Change]:
    """What is tried: without each group, without covariates, other labels, fewer nodules, other penalties.

    Args:
        cohort: out of fold.
        names: (D - C,), of the descriptors.
        judged_mm: range of diameters of the judged nodules.
    """
    groups = np.array([group_of(name) or "" for name in names] + ["covariates"] * cohort.covariates)
    inside = (cohort.diameter_mm >= judged_mm[0]) & (cohort.diameter_mm <= judged_mm[1])
    found = {f"without {group}": Change(columns=groups != group) for group in (*GROUPS, "covariates")}
    found = {part: change for part, change in found.items() if not np.all(change.columns)}
    return {
        **found,
        "covariates alone": Change(columns=groups == "covariates"),
        "0-1 labels": Change(hard=True),
        "decided nodules alone": Change(teaches=~np.isnan(cohort.answers)),
        "nodules of the judged sizes alone": Change(teaches=inside),
        "a tenth of the penalty": Change(penalty=0.1),
        "ten times the penalty": Change(penalty=10.0),
    }


def table(
    cohorts: Sequence[Cohort], tried: Callable[[Cohort], Mapping[str, Change]], judged_mm: tuple[float, float]
) -> list[Row]:
    """A row a change, after that of the whole fit and that of the diameter.

    Args:
        cohorts: repeats of the cross-validation, of the same nodules.
        tried: changes of a repeat.
        judged_mm: range of diameters of the judged nodules.
    """
    ordered = [in_order(cohort) for cohort in cohorts]
    judged = ordered[0].judged(*judged_mm)
    known = ordered[0].answers[judged].astype(int)
    folds = np.stack([cohort.folds[judged] for cohort in ordered])

    def asked(scores: Sequence[FloatArray]) -> FloatArray:
        return np.stack([score[judged] for score in scores])

    whole = asked([out_of_fold(cohort, Change()) for cohort in ordered])
    others = {"the diameter": asked([cohort.diameter_mm for cohort in ordered])}
    of_each = [tried(cohort) for cohort in ordered]
    for part in of_each[0]:
        others[part] = asked([out_of_fold(own, change[part]) for own, change in zip(ordered, of_each, strict=True)])

    def row(part: str, scores: FloatArray) -> Row:
        mean = float(fold_aucs(known.astype(bool), scores[None], folds).values.mean())
        pooled = float(np.mean([auc_score(known, own) for own in scores]))
        if part == WHOLE:
            return Row(part, mean, pooled, 0.0, (math.nan, math.nan), math.nan)
        compared = paired_fold_comparison(known, scores, whole, folds)
        return Row(part, mean, pooled, compared.mean, compared.ci, compared.p_value)

    return [row(WHOLE, whole), *(row(part, scores) for part, scores in others.items())]


WHOLE = "all descriptors and covariates, votes"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wide_parts", description=__doc__)
    parser.add_argument("dataset", type=Path, help="the raw data set")
    parser.add_argument("models", type=Path, nargs="+", help="nnU-Net's model folders of the same nodules, other folds")
    parser.add_argument("--diameter-range", type=float, nargs=2, default=(8.0, 22.0), metavar=("MIN", "MAX"))
    parser.add_argument("-o", "--output", type=Path, help="CSV")
    args = parser.parse_args(arguments)
    plan = DSMTPlan.from_plans(json.loads((args.models[0] / "plans.json").read_text(encoding="utf-8")))
    judged_mm = (args.diameter_range[0], args.diameter_range[1])
    names = () if plan.wide is None else plan.wide.descriptors
    cohorts = [read(model, args.dataset) for model in args.models]
    rows = table(cohorts, lambda cohort: changes(cohort, names, judged_mm), judged_mm)
    lines = [
        {
            "part": row.part,
            "auc": f"{row.auc:.3f}",
            "pooled": f"{row.pooled:.3f}",
            "difference": f"{row.difference:+.3f}",
            "low": f"{row.ci[0]:.3f}",
            "high": f"{row.ci[1]:.3f}",
            "p": f"{row.p_value:.2g}",
        }
        for row in rows
    ]
    for line in lines:
        print(" | ".join(line.values()))
    if args.output:
        write_rows(args.output, [list(lines[0]), *(list(row.values()) for row in lines)])


if __name__ == "__main__":
    main()
