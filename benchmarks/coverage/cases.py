"""Made cases of known truth: patients with several nodules, scores, seeds, readers, grades and classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from dsmt_nnunet.statistics.checks import BoolArray, FloatArray, IntArray

GRADES = np.array([-0.4, 0.6])
"""Cuts of the latent truth, and of the score, into three grades."""
GRADE_WIDTH = 0.6
"""Of a grade of a rounded score, in standard deviations."""
CLASSES = np.array([-0.5, 0.5])
"""Cuts of another latent truth into three classes without an order."""
N_READERS = 5
READER_SPREAD = 0.3
SEED_SPREAD = 0.15
"""Standard deviations of what readers, and seeds, add to the distance of the classes."""
NOISE = 0.4
"""Of a seed's or a reader's own noise beside that of the cases."""


@dataclass(frozen=True)
class Scenario:
    """Cases are made of latent normals; patients share `icc` of the variance of each.

    Attributes:
        n_patients: of whom each has `per_patient` cases, or as many as `sizes` says in turn.
        auc: of a score before it is rounded.
        prevalence: share of positive cases; with `balanced` exactly half are.
        icc: share of the variance that the cases of a patient have in common.
        one_class: whether all cases of a patient are of one class.
        graded: whether scores are rounded to six grades.
        is_hard: whether cases are fewer, or less alike, than in most studies.
    """

    name: str
    n_patients: int
    per_patient: int
    auc: float = 0.8
    prevalence: float = 0.5
    icc: float = 0.5
    balanced: bool = False
    sizes: tuple[int, ...] = ()
    one_class: bool = False
    graded: bool = False
    is_hard: bool = False

    @property
    def patients(self) -> IntArray:
        """Patient of each case, shape (N,)."""
        return np.repeat(np.arange(self.n_patients), np.resize(self.sizes or (self.per_patient,), self.n_patients))

    @property
    def shift(self) -> float:
        """Distance of the classes in standard deviations of a score."""
        return math.sqrt(2) * float(norm.ppf(self.auc))

    @property
    def share(self) -> float:
        """Of the variance, within patients."""
        return self.icc if self.per_patient > 1 or self.sizes else 0.0

    @property
    def positives(self) -> float:
        """Share of positive cases."""
        return 0.5 if self.balanced else self.prevalence

    @property
    def cuts(self) -> FloatArray:
        """Between the grades of a score; none where it is not rounded."""
        steps = np.arange(-2.0, 3.0) if self.graded else np.empty(0)
        return np.asarray(self.shift / 2 + GRADE_WIDTH * steps, dtype=np.float64)

    @property
    def score_auc(self) -> float:
        """AUC of a score as it is given."""
        if not self.graded:
            return self.auc
        positive, negative = _shares(self.cuts - self.shift), _shares(self.cuts)
        return float(positive @ (np.cumsum(negative) - negative / 2))


UNEQUAL = (1,) * 10 + (2,) * 4 + (4,) * 3 + (10,) * 2 + (30,)
"""Cases of twenty patients, of whom one has 30 of 80."""
SCENARIOS = (
    Scenario("independent", 200, 1),
    Scenario("60 x 3", 60, 3),
    Scenario("40 x 6", 40, 6),
    Scenario("n = 30 + 30", 60, 1, balanced=True),
    Scenario("AUC 0.95", 120, 1, auc=0.95),
    Scenario("prevalence 5 %", 400, 1, prevalence=0.05),
    Scenario("15 patients", 15, 1, is_hard=True),
    Scenario("20 x 4", 20, 4, is_hard=True),
    Scenario("40 unequal", 40, 0, sizes=UNEQUAL, is_hard=True),
    Scenario("60 x 3, one class", 60, 3, one_class=True, is_hard=True),
    Scenario("60 x 3, six grades", 60, 3, graded=True, is_hard=True),
)


@dataclass(frozen=True)
class Cases:
    """One draw of N cases; every null that is tested on them is true.

    Attributes:
        patients, labels: shape (N,).
        scores: three equally good ones, shape (3, N).
        probs: right probabilities of the scores, shape (3, N).
        seeds: two equally good procedures with three seeds each, shape (2, 3, N).
        ratings: of readers who differ in skill, shape (R, N).
        model: as good as the mean of all readers, shape (N,).
        grades, graded: true and decided grade, shape (N,); graded_score ranks them.
        classes: true class, shape (N,).
        class_probs: shape (N, 3).
    """

    patients: IntArray
    labels: BoolArray
    scores: FloatArray
    probs: FloatArray
    seeds: FloatArray
    ratings: FloatArray
    model: FloatArray
    grades: IntArray
    graded: IntArray
    graded_score: FloatArray
    classes: IntArray
    class_probs: FloatArray


def draw(scenario: Scenario, rng: np.random.Generator) -> Cases:
    """Labels and scores with the scenario's AUC between patients."""
    patients = scenario.patients
    n_cases = len(patients)

    def latent(rows: int) -> FloatArray:
        return shared_normals(scenario, patients, rows, rng)

    truth = rng.normal(size=scenario.n_patients)[patients] if scenario.one_class else latent(1)[0]
    labels = truth > norm.ppf(1 - scenario.prevalence)
    if scenario.balanced:
        labels = np.arange(n_cases) % 2 == 0
    common, own = latent(1), latent(3)
    scores = math.sqrt(0.5) * common + math.sqrt(0.5) * own + scenario.shift * labels
    skill = rng.normal(0, SEED_SPREAD, size=(2, 3, 1)) * labels
    seeds = scores[:2, None] + skill + NOISE * rng.normal(size=(2, 3, n_cases))
    apart = scenario.shift + rng.normal(0, READER_SPREAD, size=(N_READERS, 1))
    ratings = math.sqrt(0.5) * common + math.sqrt(0.5) * latent(N_READERS) + apart * labels
    ratings += NOISE * rng.normal(size=ratings.shape)
    model = scores[2] - scenario.shift * labels + math.sqrt(2) * norm.ppf(mean_reader_auc(scenario)) * labels
    ordered = (truth + common[0]) / math.sqrt(2)
    classes = np.searchsorted(CLASSES, latent(1)[0])
    evidence = latent(3).T + scenario.shift * np.eye(3)[classes]
    if scenario.graded:
        grades = np.searchsorted(scenario.cuts, scores)
        ratio = _shares(scenario.cuts - scenario.shift) / _shares(scenario.cuts)
        scores, probs = grades.astype(np.float64), expit(logit(scenario.positives) + np.log(ratio[grades]))
    else:
        probs = expit(logit(scenario.positives) + scenario.shift * scores - scenario.shift**2 / 2)
    softened = np.exp(scenario.shift * (evidence - evidence.max(axis=1, keepdims=True)))
    return Cases(
        patients,
        labels,
        scores,
        probs,
        seeds,
        ratings,
        model,
        np.searchsorted(GRADES, truth),
        np.searchsorted(GRADES, ordered),
        ordered,
        classes,
        softened / softened.sum(axis=1, keepdims=True),
    )


def _shares(cuts: FloatArray) -> FloatArray:
    """Of a standard normal between the cuts."""
    return np.diff(norm.cdf(np.r_[-np.inf, cuts, np.inf]))


def shared_normals(scenario: Scenario, patients: IntArray, rows: int, rng: np.random.Generator) -> FloatArray:
    """Standard normals of which patients share a part, shape (rows, N)."""
    shared = rng.normal(size=(rows, scenario.n_patients))[:, patients]
    alone = rng.normal(size=(rows, len(patients)))
    return np.asarray(math.sqrt(scenario.share) * shared + math.sqrt(1 - scenario.share) * alone)


def many_cases(scenario: Scenario) -> Cases:
    """Very many patients of one case each, for figures without a formula."""
    many = replace(scenario, n_patients=400_000, per_patient=1, sizes=(), one_class=False)
    return draw(many, np.random.default_rng(0))


def mean_reader_auc(scenario: Scenario) -> float:
    """Mean AUC of all readers that there could be."""
    return _mean_auc(scenario, READER_SPREAD)


def mean_seed_auc(scenario: Scenario) -> float:
    """Mean AUC of all seeds that there could be."""
    return _mean_auc(scenario, SEED_SPREAD)


def _mean_auc(scenario: Scenario, spread: float) -> float:
    # Phi((shift + e) / s) over normal e is Phi(shift / sqrt(s^2 + sd(e)^2)).
    return float(norm.cdf(scenario.shift / math.sqrt(2 + 2 * NOISE**2 + spread**2)))
