from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTNet, DSMTOutput
from dsmt_nnunet.covariates import Covariate, Covariates
from dsmt_nnunet.dataloading.context_volumes import ContextVolume
from dsmt_nnunet.descriptors import DESCRIPTORS
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.inference.classifier import (
    NoduleClassifier,
    NoduleOutput,
    answer,
    describe,
    mirrorings,
    volume_at_centre,
)
from dsmt_nnunet.plan_rules import wide_plan
from dsmt_nnunet.predictions.operating_point import OperatingPoint, TaskOperatingPoint
from dsmt_nnunet.predictions.results import DEEP_FEATURES, NodulePrediction
from tests.unit.small_plans import CONFIGURATION, small_plan, stock_plans

PATCH = (8, 12, 12)
PLAN = small_plan()
CPU = torch.device("cpu")


def network() -> DSMTNet:
    return build_network(PLAN, PlansManager(stock_plans()).get_configuration(CONFIGURATION), 1, 2, False)


def case() -> tuple[np.ndarray, ArrayGeometry, ContextVolume]:
    rng = np.random.default_rng(0)
    local = ArrayGeometry((1.0, 1.0, 1.0), (20, 20, 20), np.eye(3, 4))
    coarse = ArrayGeometry((2.0,) * 3, (10, 10, 10), np.eye(3, 4) / 2)
    context = ContextVolume(rng.uniform(-1, 1, size=(1, 10, 10, 10)).astype(np.float16), coarse, fill=(-1.0,))
    return rng.normal(size=(1, 20, 20, 20)).astype(np.float32), local, context


def classifier(networks: list[Any], mirror_axes: tuple[int, ...] = (), batch_size: int = 1) -> NoduleClassifier:
    return NoduleClassifier(networks, PLAN, PATCH, mirror_axes, CPU, batch_size)


def test_the_folds_answer_apart_and_segment_together() -> None:
    folds = [network(), network()]
    both = classifier(folds)(*case(), (9.0, 10.0, 11.0))
    single = [classifier([fold])(*case(), (9.0, 10.0, 11.0)) for fold in folds]
    assert both.start == single[0].start == (6, 5, 6)
    assert both.segmentation.shape == (2, *PATCH)
    np.testing.assert_allclose(both.segmentation, (single[0].segmentation + single[1].segmentation) / 2, atol=1e-5)
    for name in PLAN.schema.task_names:
        expected = np.concatenate([one.fold_probabilities[name] for one in single])
        np.testing.assert_allclose(both.fold_probabilities[name], expected, atol=1e-6)
        np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)


class Recorder(DSMTNet):
    """Says in the segmentation what it sees, and in the tasks nothing."""

    def __init__(self) -> None:
        whole = network()
        super().__init__(whole, whole.pooling, whole.context_encoder, whole.task_heads)
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor, context: torch.Tensor, wide: Any) -> DSMTOutput:
        self.seen.append((x, context))
        deep = [torch.zeros(len(x), 3), x[:, :, 0, 0, 0]]
        return DSMTOutput(torch.cat([x, -x], dim=1), self.answer(deep, wide), deep)


def test_mirrored_segmentations_are_flipped_back_and_both_scales_are_mirrored() -> None:
    recorder = Recorder()
    data, geometry, context = case()
    output = classifier([recorder], mirror_axes=(0, 2))(data, geometry, context, (9.0, 10.0, 11.0))
    np.testing.assert_allclose(output.segmentation[0], data[0, 6:14, 5:17, 6:18], atol=1e-6)
    plain, plain_context = recorder.seen[0]
    for (x, surroundings), axes in zip(recorder.seen, [(), (2,), (4,), (2, 4)], strict=True):
        torch.testing.assert_close(x, plain.flip(axes))
        torch.testing.assert_close(surroundings, plain_context.flip(axes))


def test_mirrorings_go_through_the_network_in_batches() -> None:
    whole, recorder = network(), Recorder()
    single = classifier([whole], (0, 1, 2))(*case(), (9.0, 10.0, 11.0))
    batched = classifier([whole], (0, 1, 2), batch_size=3)(*case(), (9.0, 10.0, 11.0))
    np.testing.assert_allclose(batched.segmentation, single.segmentation, atol=1e-5)
    for name in PLAN.schema.task_names:
        np.testing.assert_allclose(batched.fold_probabilities[name], single.fold_probabilities[name], atol=1e-6)
    classifier([recorder], (0, 1, 2), batch_size=3)(*case(), (9.0, 10.0, 11.0))
    assert [len(x) for x, _ in recorder.seen] == [3, 3, 2]


def test_mirrorings_are_all_combinations() -> None:
    assert mirrorings(()) == [()]
    assert mirrorings((0, 1)) == [(), (0,), (1,), (0, 1)]
    assert len(mirrorings((0, 1, 2))) == 8


def test_a_nodule_at_the_border_is_padded_with_air() -> None:
    recorder = Recorder()
    classifier([recorder])(*case(), (0.0, 0.0, 0.0))
    x, context = recorder.seen[0]
    assert x[0, 0, 0, 0, 0] == pytest.approx(PLAN.padding_value[0])
    assert context[0, 0, 0, 0, 0] == context.min()


def test_the_volume_is_that_of_the_nodule_at_the_position() -> None:
    segmentation = np.zeros((2, *PATCH), dtype=np.float32)
    segmentation[1, 3:6, 4:7, 4:7] = 1
    segmentation[1, 0, 0, 0] = 1
    segmentation[0] = 0.5
    output = NoduleOutput((10, 10, 10), segmentation, {})
    assert volume_at_centre(output, (14, 15, 15), (2.0, 1.0, 1.0)) == pytest.approx(27 * 2)
    segmentation[0] = 2.0
    assert volume_at_centre(output, (14, 15, 15), (2.0, 1.0, 1.0)) == 0


def test_an_empty_place_has_no_volume_however_near_the_next_nodule_is_to_the_central_region() -> None:
    segmentation = np.zeros((2, *PATCH), dtype=np.float32)
    segmentation[0], segmentation[1, 4, 4, 6:8] = 0.5, 1
    output = NoduleOutput((0, 0, 0), segmentation, {})
    assert volume_at_centre(output, (4, 4, 3.6), (1.0, 1.0, 2.0)) == pytest.approx(4)
    assert volume_at_centre(output, (4, 4, 3.4), (1.0, 1.0, 2.0)) == 0


FOLDS = {
    "texture": np.array([[0.2, 0.5, 0.3], [0.2, 0.3, 0.5], [0.1, 0.5, 0.4]]),
    "invasiveness": np.array([[0.7, 0.3], [0.5, 0.5], [0.6, 0.4]]),
}


def test_without_an_operating_point_the_threshold_is_a_half() -> None:
    answers = answer(FOLDS, PLAN, None)
    assert answers["invasiveness"].probabilities["invasive"] == pytest.approx(0.4)
    assert (answers["invasiveness"].decision, answers["invasiveness"].threshold) == ("non-invasive", 0.5)
    assert (answers["texture"].decision, answers["texture"].threshold) == ("part-solid", None)
    assert answers["invasiveness"].spread["invasive"] == pytest.approx(np.std([0.3, 0.5, 0.4]))


def test_the_decision_follows_the_threshold_and_each_fold_is_calibrated() -> None:
    point = OperatingPoint({"invasiveness": TaskOperatingPoint(temperature=2.0, threshold=0.42)})
    own = answer(FOLDS, PLAN, point)["invasiveness"]
    odds = [(0.3 / 0.7) ** 0.5, 1.0, (0.4 / 0.6) ** 0.5]
    assert own.probabilities["invasive"] == pytest.approx(np.mean([o / (1 + o) for o in odds]))
    assert (own.decision, own.threshold) == ("invasive", 0.42)


def test_a_probability_at_the_threshold_is_positive() -> None:
    half = {**FOLDS, "invasiveness": np.array([[0.5, 0.5]])}
    assert answer(half, PLAN, None)["invasiveness"].decision == "invasive"


def test_a_single_fold_has_no_spread() -> None:
    assert answer({name: folds[:1] for name, folds in FOLDS.items()}, PLAN, None)["texture"].spread == {}


def test_the_diameter_is_that_of_the_ball_of_the_same_volume() -> None:
    output = NoduleOutput((0, 0, 0), np.zeros((2, 1, 1, 1)), FOLDS)
    ball = describe(output, "1", (0, 0, 0), 4 / 3 * np.pi * 27, PLAN, None)
    assert ball.diameter_mm == pytest.approx(6)
    assert ball.tasks == answer(FOLDS, PLAN, None)
    assert np.isnan(describe(output, "1", (0, 0, 0), 0.0, PLAN, None).diameter_mm)


COVARIATES = (Covariate("age", "years"), Covariate("sex", categories=("female", "male")))


def test_folds_are_asked_about_what_is_measured_under_their_mean_mask() -> None:
    plan = replace(PLAN, wide=wide_plan(stock_plans(), stock_plans()["configurations"][CONFIGURATION]))
    configuration = PlansManager(stock_plans()).get_configuration(CONFIGURATION)
    folds = []
    for seed in range(3):
        torch.manual_seed(seed)
        folds.append(build_network(plan, configuration, 1, 2, False))
        for head in folds[-1].task_heads:
            assert head.wide is not None
            head.wide.weight.normal_(std=1e-3)
    data, geometry, context = case()
    output = NoduleClassifier(folds, plan, PATCH, (), CPU)(data, geometry, context, (9.0, 10.0, 11.0))
    patch = torch.from_numpy(data[None, :, 6:14, 5:17, 6:18].copy())
    mask = folds[0].nodule_prob(torch.from_numpy(output.segmentation)[None])
    measured = folds[0].measure(patch, mask)
    assert measured is not None
    np.testing.assert_allclose(output.descriptors, measured[0], rtol=1e-4, atol=1e-4)
    for number, fold in enumerate(folds):
        wide = fold.wide_scores(measured)
        assert wide is not None
        expected = torch.softmax(fold.answer([torch.zeros(())] * len(wide), wide)[1], -1)
        np.testing.assert_allclose(output.fold_probabilities["invasiveness"][number], expected[0].detach(), atol=1e-4)


def _told(seed: int, covariates: Covariates | None = None) -> tuple[DSMTNet, NodulePrediction]:
    """A network whose parts all say something, and what it says of a nodule."""
    torch.manual_seed(seed)
    wide = wide_plan(stock_plans(), stock_plans()["configurations"][CONFIGURATION], COVARIATES)
    plan = replace(PLAN, wide=wide, schema=replace(PLAN.schema, covariates=COVARIATES))
    assert plan.wide is not None
    own = build_network(plan, PlansManager(stock_plans()).get_configuration(CONFIGURATION), 1, 2, False)
    for head in own.task_heads:
        assert head.wide is not None
        head.wide.weight.normal_()
        torch.nn.init.normal_(head.deep[-1].weight)
        torch.nn.init.normal_(head.bias)
        head.share.fill_(0.5)
    data, geometry, context = case()
    output = NoduleClassifier([own], plan, PATCH, (), CPU)(data, geometry, context, (9.0, 10.0, 11.0), covariates)
    return own, describe(output, "1", (1, 2, 3), 100.0, plan, None)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("covariates", [None, {"age": 2.0, "sex": "male"}])
def test_contributions_add_up_to_the_answer(seed: int, covariates: Covariates | None) -> None:
    network, told = _told(seed, covariates)
    assert list(told.descriptors) == list(DESCRIPTORS)
    probabilities = told.tasks["invasiveness"].probabilities
    log_odds = np.log(probabilities["invasive"] / probabilities["non-invasive"])
    shares = told.tasks["invasiveness"].contributions
    assert list(shares) == [*DESCRIPTORS, "age", "sex=male", DEEP_FEATURES]
    bias = network.task_heads[PLAN.schema.primary_index].bias.item()
    assert sum(shares.values()) - bias == pytest.approx(log_odds, abs=1e-3)
    texture = told.tasks["texture"]
    logs = {name: np.log(value) for name, value in texture.probabilities.items()}
    head = network.task_heads[[task.name for task in PLAN.schema.tasks].index("texture")]
    biases = dict(zip(logs, head.bias.tolist(), strict=True))
    expected = (logs[texture.decision] - biases[texture.decision]) - np.mean([logs[key] - biases[key] for key in logs])
    assert sum(texture.contributions.values()) == pytest.approx(expected, abs=1e-3)


def test_a_covariate_that_is_not_known_is_told_and_adds_nothing() -> None:
    _, told = _told(0, {"age": 2.0})
    shares = told.tasks["invasiveness"].contributions
    assert told.covariates == {"age": 2.0, "sex": None}
    assert shares["age"] != 0
    assert shares["sex=male"] == 0


def test_nan_never_becomes_a_decision() -> None:
    broken = {name: folds.copy() for name, folds in FOLDS.items()}
    broken["invasiveness"][1] = np.nan
    with pytest.raises(ValueError, match=r"invasiveness are not finite \(network \[1\]"):
        answer(broken, PLAN, None)
