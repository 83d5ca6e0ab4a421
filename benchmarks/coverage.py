"""How often the intervals hold the truth and how often the tests reject where there is nothing to find."""

from __future__ import annotations

import argparse
import csv
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from dsmt_nnunet.statistics.calibration.logistic import logistic_calibration
from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray
from dsmt_nnunet.statistics.clusters.bootstrap import bootstrap_estimate
from dsmt_nnunet.statistics.clusters.ratio import clustered_mean, clustered_proportion
from dsmt_nnunet.statistics.decisions.clustered_pairs import clustered_pairs
from dsmt_nnunet.statistics.ordinal.weighted import quadratic_kappa
from dsmt_nnunet.statistics.readers.seeds import compare_over_seeds
from dsmt_nnunet.statistics.resampling import Resampler
from dsmt_nnunet.statistics.roc.clustered import clustered_auc_interval, clustered_paired_comparison
from dsmt_nnunet.statistics.roc.comparison import paired_comparison
from dsmt_nnunet.statistics.roc.fixed_specificity import sensitivity_at_specificity
from dsmt_nnunet.statistics.roc.fold_comparison import mean_fold_auc, paired_fold_comparison
from dsmt_nnunet.statistics.roc.interval import delong_interval

TABLE = Path(__file__).resolve().parents[1] / "docs" / "results" / "coverage.csv"
SPECIFICITY = 0.8
GRADES = np.array([-0.4, 0.6])
"""Cuts of the latent truth, and of the score, into three grades."""


@dataclass(frozen=True)
class Scenario:
    """Cases are made of latent normals; patients share `icc` of the variance of each."""

    name: str
    n_patients: int
    per_patient: int
    auc: float = 0.8
    prevalence: float = 0.5
    icc: float = 0.5
    balanced: bool = False


SCENARIOS = (
    Scenario("independent", 200, 1),
    Scenario("60 x 3", 60, 3),
    Scenario("40 x 6", 40, 6),
    Scenario("n = 30 + 30", 60, 1, balanced=True),
    Scenario("AUC 0.95", 120, 1, auc=0.95),
    Scenario("prevalence 5 %", 400, 1, prevalence=0.05),
)


@dataclass(frozen=True)
class Cases:
    """One draw: two equally good scores a case, and what stands for three seeds of either."""

    patients: IntArray
    labels: BoolArray
    scores: FloatArray
    seeds: FloatArray
    grades: IntArray
    graded: IntArray


@dataclass(frozen=True)
class Outcome:
    """Whether an interval held the truth, and whether a true null was rejected; None where there is no such thing."""

    name: str
    covered: bool | None
    rejected: bool | None


def draw(scenario: Scenario, rng: np.random.Generator) -> Cases:
    """Labels and scores with the scenario's AUC between patients."""
    n_cases = scenario.n_patients * scenario.per_patient
    patients = np.repeat(np.arange(scenario.n_patients), scenario.per_patient)
    share = scenario.icc if scenario.per_patient > 1 else 0.0

    def latent(rows: int) -> FloatArray:
        shared = rng.normal(size=(rows, scenario.n_patients))[:, patients]
        return np.asarray(math.sqrt(share) * shared + math.sqrt(1 - share) * rng.normal(size=(rows, n_cases)))

    truth = latent(1)[0]
    labels = truth > norm.ppf(1 - scenario.prevalence)
    if scenario.balanced:
        labels = np.arange(n_cases) % 2 == 0
    shift = _shift(scenario)
    common, own = latent(1), latent(2)
    scores = math.sqrt(0.5) * common + math.sqrt(0.5) * own + shift * labels
    each_seed = rng.normal(0, 0.15, size=(2, 3, 1)) * labels + 0.4 * rng.normal(size=(2, 3, n_cases))
    grades = np.searchsorted(GRADES, truth)
    graded = np.searchsorted(GRADES, (truth + common[0]) / math.sqrt(2))
    return Cases(patients, labels, scores, scores[:, None] + each_seed, grades, graded)


def judged(scenario: Scenario, cases: Cases, true_kappa: float, n_resamples: int, seed: int) -> Iterator[Outcome]:
    """All intervals and tests on one draw; every test's null is true."""
    labels, patients, scores = cases.labels, cases.patients, cases.scores
    shift = _shift(scenario)
    for name, auc in (
        ("AUC, logit and t, patients", clustered_auc_interval(labels, scores[0], patients)),
        ("AUC, DeLong logit, cases", delong_interval(labels, scores[0])),
    ):
        yield Outcome(name, auc.lower <= scenario.auc <= auc.upper, None)
    paired = clustered_paired_comparison(labels, scores[0], scores[1], patients)
    yield Outcome("difference of AUCs, Obuchowski t, patients", _holds(paired.ci, 0), paired.p_value < 0.05)
    plain = paired_comparison(labels, scores[0], scores[1])
    yield Outcome("difference of AUCs, DeLong, cases", _holds(plain.ci, 0), plain.p_value < 0.05)
    called = scores >= shift / 2
    found = clustered_proportion(called[0][labels], patients[labels])
    yield Outcome("sensitivity, Rao-Scott Wilson", _holds(found.ci, float(norm.cdf(shift / 2))), None)
    pairs = clustered_pairs(called[0] == labels, called[1] == labels, patients)
    yield Outcome("difference of accuracies, ratio t", _holds(pairs.ci, 0), pairs.p_value < 0.05)
    yield Outcome("difference of accuracies, Durkalski", None, pairs.durkalski_p < 0.05)
    fixed = sensitivity_at_specificity(labels, scores[0], SPECIFICITY, patients, n_resamples=n_resamples, seed=seed)
    reached = float(norm.cdf(shift - norm.ppf(SPECIFICITY)))
    yield Outcome("sensitivity at specificity 0.8, BTII", _holds(fixed.ci, reached), None)
    prevalence = 0.5 if scenario.balanced else scenario.prevalence
    probs = expit(logit(prevalence) + shift * scores - shift**2 / 2)
    fit = logistic_calibration(labels, probs[0], clusters=patients)
    yield Outcome("calibration slope, sandwich", _holds(fit.slope_ci, 1), None)
    yield Outcome("calibration intercept, sandwich", _holds(fit.intercept_ci, 0), None)
    losses = (probs - labels) ** 2
    brier = clustered_mean(losses[0] - losses[1], patients)
    yield Outcome("difference of Brier scores, t", _holds(brier.ci, 0), brier.p_value < 0.05)
    units = Resampler.create(np.zeros(len(labels)), [str(k) for k in patients], n_resamples, seed, stratified=False)
    kappa = bootstrap_estimate(lambda w: quadratic_kappa(cases.grades, cases.graded, 3, w), units)
    yield Outcome("quadratic kappa, BCa of patients", _holds(kappa.ci, true_kappa), None)
    over = compare_over_seeds(labels, cases.seeds[0], cases.seeds[1], patients)
    yield Outcome("difference over 3 seeds, seeds and cases random", _holds(over.ci, 0), over.p_value < 0.05)
    yield Outcome("difference over 3 seeds, seeds fixed", None, over.p_fixed_seeds < 0.05)
    yield from _folds(labels, patients, np.random.default_rng(seed))


def _folds(labels: BoolArray, patients: IntArray, rng: np.random.Generator) -> Iterator[Outcome]:
    """Five folds of patients; two least-squares models of five columns each that say nothing."""
    folds = rng.permutation(int(patients.max()) + 1)[patients] % 5
    scores = np.zeros((2, len(labels)))
    for score in scores:
        columns = np.c_[np.ones(len(labels)), rng.normal(size=(len(labels), 5))]
        for fold in range(5):
            inside = folds == fold
            score[inside] = columns[inside] @ np.linalg.lstsq(columns[~inside], labels[~inside] * 1.0, rcond=None)[0]
    mean = mean_fold_auc(labels, scores[0], folds)
    yield Outcome("mean AUC of 5 folds, corrected t", _holds(mean.ci, 0.5), mean.p_value < 0.05)
    pair = paired_fold_comparison(labels, scores[0], scores[1], folds)
    yield Outcome("difference within 5 folds, corrected t", _holds(pair.ci, 0), pair.p_value < 0.05)


def measure(n_draws: int, n_resamples: int) -> Iterator[dict[str, object]]:
    """Rows of the table, scenario by scenario."""
    true_kappa = _true_kappa()
    for scenario in SCENARIOS:
        outcomes: dict[str, list[Outcome]] = {}
        for seed in range(n_draws):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cases = draw(scenario, np.random.default_rng(seed))
                for outcome in judged(scenario, cases, true_kappa, n_resamples, seed):
                    outcomes.setdefault(outcome.name, []).append(outcome)
        for name, results in outcomes.items():
            covered = [item.covered for item in results if item.covered is not None]
            rejected = [item.rejected for item in results if item.rejected is not None]
            yield {
                "scenario": scenario.name,
                "what": name,
                "coverage": f"{np.mean(covered):.3f}" if covered else "",
                "type_1_error": f"{np.mean(rejected):.3f}" if rejected else "",
                "draws": n_draws,
                "standard_error": f"{math.sqrt(0.05 * 0.95 / n_draws):.3f}",
                "resamples": n_resamples,
            }


def main(arguments: list[str] | None = None) -> None:
    """Writes docs/results/coverage.csv."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks coverage", description=__doc__)
    parser.add_argument("--draws", type=int, default=2000, help="of each scenario")
    parser.add_argument("--resamples", type=int, default=500, help="of each bootstrap")
    parser.add_argument("--output", type=Path, default=TABLE)
    args = parser.parse_args(arguments)
    rows: list[dict[str, object]] = []
    for row in measure(args.draws, args.resamples):
        rows.append(row)
        print("  ".join(str(value) for value in row.values()), flush=True)
        with args.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _shift(scenario: Scenario) -> float:
    return math.sqrt(2) * float(norm.ppf(scenario.auc))


def _true_kappa() -> float:
    """Of very many cases; the grades do not depend on the scenario's labels."""
    cases = draw(Scenario("many", 400_000, 1), np.random.default_rng(0))
    return float(quadratic_kappa(cases.grades, cases.graded, 3, np.ones((1, len(cases.grades)), dtype=np.int64))[0])


def _holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


if __name__ == "__main__":
    main()
