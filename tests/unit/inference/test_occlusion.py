"""Occlusion of networks of which it is known what drives their score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.architecture.network import DSMTOutput
from dsmt_nnunet.dataloading.context_volumes import ContextVolume
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.inference.classifier import NoduleClassifier
from dsmt_nnunet.inference.occlusion import central_box, explain_nodule, lattices
from dsmt_nnunet.predictions.explanation import ExplanationMap
from tests.unit.small_plans import CONFIGURATION, awake, small_plan, stock_plans

PLAN = replace(small_plan(), padding_value=(-1.0,))
PATCH = (16, 16, 16)
CENTRE = (20.0, 22.0, 24.0)
LOCAL = ArrayGeometry((1.0, 1.0, 1.0), (48, 48, 48), np.eye(3, 4)[::-1].copy())
COARSE = ArrayGeometry((2.0,) * 3, (24, 24, 24), np.eye(3, 4)[::-1] / 2 - np.array([0, 0, 0, 0.25]))
LOCAL_PLACE = (slice(2, 5), slice(9, 12), slice(4, 7))
CONTEXT_PLACE = (slice(10, 13), slice(3, 6), slice(11, 14))


class Stub(torch.nn.Module):
    """Its score rises with the intensity at one place of the local patch, and falls with that of the context."""

    def __init__(self, gain: float = 1.0, has_context: bool = True) -> None:
        super().__init__()
        self.gain = gain
        self.context_encoder = torch.nn.Identity() if has_context else None
        if not has_context:
            self.describe_context = lambda context: None

    def forward(self, x: Tensor, context: Tensor) -> DSMTOutput:
        deep = self.deep_scores(self.describe(x), self.describe_context(context))
        return DSMTOutput(x, self.answer(deep, None), deep)

    def describe(self, x: Tensor) -> Tensor:
        return x[(slice(None), 0, *LOCAL_PLACE)].mean(dim=(1, 2, 3))[:, None]

    def describe_context(self, context: Tensor) -> Tensor:
        return context[(slice(None), 0, *CONTEXT_PLACE)].mean(dim=(1, 2, 3))[:, None]

    def deep_scores(self, nodule: Tensor, surroundings: Tensor | None) -> list[Tensor]:
        score = self.gain * (3 * nodule if surroundings is None else 3 * nodule - 2 * surroundings)
        return [torch.zeros(len(score), 3), score]

    def answer(self, deep: list[Tensor], wide: None) -> list[Tensor]:
        return [deep[0], torch.cat([torch.zeros_like(deep[1]), deep[1]], dim=1)]


def explained(*networks: Any, task: str = "invasiveness", context_fill: float = -1.0) -> Any:
    classifier = NoduleClassifier(networks, PLAN, PATCH, (), torch.device("cpu"))
    data = np.full((1, 48, 48, 48), 1.0, dtype=np.float32)
    around = np.full((1, 24, 24, 24), -0.5, dtype=np.float16)
    start = COARSE.to_voxel(LOCAL.to_world(CENTRE)) - 7.5
    corner = [int(np.floor(value + 0.5)) + part.start for value, part in zip(start, CONTEXT_PLACE, strict=True)]
    around[(0, *(slice(c, c + 3) for c in corner))] = 0.5
    context = ContextVolume(around, COARSE, (context_fill,))
    return explain_nodule(classifier, data, LOCAL, context, CENTRE, task, cells_mm=(3.0, 6.0))


def place_of_largest(part: ExplanationMap) -> tuple[float, float, float]:
    index = np.unravel_index(int(np.abs(part.values).argmax()), part.values.shape)
    return part.geometry.to_world([float(value) for value in index])


def test_the_place_that_drives_the_score_is_found_at_both_scales() -> None:
    maps = explained(Stub())
    assert (maps.task, maps.class_name) == ("invasiveness", "invasive")
    start = np.array(CENTRE) - 8
    expected = LOCAL.to_world([s + 0.5 + (p.start + p.stop) / 2 for s, p in zip(start, LOCAL_PLACE, strict=True)])
    assert np.linalg.norm(np.subtract(place_of_largest(maps.local), expected)) <= 3.5
    middle = maps.local.geometry.to_voxel(expected).round().astype(int)
    # Air in place of an intensity of 1 takes 2 away wherever the window covers it, and the score has 3 for it.
    assert maps.local.values[tuple(middle)] > 0
    assert maps.local.values.max() <= 6 + 1e-5
    far = np.linalg.norm(np.indices(maps.local.values.shape) - middle[:, None, None, None], axis=0) > 8
    np.testing.assert_allclose(maps.local.values[far], 0, atol=1e-6)

    first = np.floor(COARSE.to_voxel(LOCAL.to_world(CENTRE)) - 7.0)
    expected = COARSE.to_world([f + (p.start + p.stop - 1) / 2 for f, p in zip(first, CONTEXT_PLACE, strict=True)])
    assert np.linalg.norm(np.subtract(place_of_largest(maps.context), expected)) <= 6
    assert maps.context.values.min() < -0.5
    assert maps.context.values.max() <= 1e-6


def test_folds_are_averaged() -> None:
    one, both = explained(Stub(1.0)), explained(Stub(1.0), Stub(3.0))
    np.testing.assert_allclose(both.local.values, 2 * one.local.values, atol=1e-5)
    np.testing.assert_allclose(both.context.values, 2 * one.context.values, atol=1e-5)


def test_the_last_of_several_classes_is_explained() -> None:
    maps = explained(Stub(), task="texture")
    assert maps.class_name == "solid"
    assert not maps.local.values.any()


def test_a_model_of_one_scale_has_one_map() -> None:
    assert explained(Stub(has_context=False)).context is None


def test_an_unknown_task_is_an_error() -> None:
    with pytest.raises(KeyError):
        explained(Stub(), task="colour")


def test_what_lies_outside_the_scan_drives_nothing() -> None:
    class Bright(Stub):
        def describe_context(self, context: Tensor) -> Tensor:
            return -context.mean(dim=(1, 2, 3, 4))[:, None] / 2

    classifier = NoduleClassifier([Bright()], PLAN, PATCH, (), torch.device("cpu"))  # type: ignore[list-item]
    around = np.random.default_rng(0).uniform(-1, 1, size=(1, 24, 24, 24)).astype(np.float16)
    data = np.zeros((1, 48, 48, 48), dtype=np.float32)
    maps = explain_nodule(
        classifier, data, LOCAL, ContextVolume(around, COARSE, (-30.0,)), (0.0, 0.0, 0.0), "invasiveness", (8.0, 6.0)
    )
    assert maps.context is not None
    outside = np.indices((16,) * 3).min(axis=0) < 7
    assert not maps.context.values[outside].any()
    assert maps.context.values[~outside].any()
    assert np.abs(maps.context.values).max() < 0.1


def test_the_cells_of_the_lattices_fill_the_region_once_and_are_shifted_by_half() -> None:
    region = np.ones((12, 12, 7), dtype=bool)
    region[:3] = False
    centred, cornered = lattices(region, (5.5, 5.5, 3.0), 4.0, (1.0, 1.0, 2.0))
    for cells in (centred, cornered):
        assert (cells > 0).sum() == region.sum()
        assert not cells[~region].any()
        assert set(np.unique(cells)) == set(range(cells.max() + 1))
        assert np.bincount(cells[cells > 0]).max() == 4 * 4 * 2
    cell = np.argwhere(centred == centred[5, 5, 3])
    assert (cell.min(axis=0).tolist(), cell.max(axis=0).tolist()) == ([4, 4, 2], [7, 7, 3])
    assert cornered[5, 5, 2] != cornered[6, 5, 2]
    assert cornered[5, 5, 2] != cornered[5, 6, 2]
    assert cornered[5, 5, 2] != cornered[5, 5, 3]
    thick, _ = lattices(np.ones((2, 6, 6), dtype=bool), (0.5, 2.5, 2.5), 4.0, (10.0, 1.0, 1.0))
    assert (thick[0] != thick[1]).all()


def test_the_box_is_the_middle_of_the_patch() -> None:
    assert central_box((32, 40, 10), (1.6, 1.25, 5.0), 40.0) == (slice(3, 29), slice(4, 36), slice(1, 9))
    assert central_box((8, 8, 8), (1.0, 1.0, 1.0), 40.0) == (slice(0, 8),) * 3


def test_a_real_network_answers_in_parts_as_in_one() -> None:
    network = build_network(PLAN, PlansManager(stock_plans()).get_configuration(CONFIGURATION), 1, 2, False).eval()
    awake(network)
    local, context = torch.randn(2, 1, *PATCH), torch.randn(2, 1, 16, 16, 16)
    with torch.no_grad():
        whole = network(local, context).tasks
        deep = network.deep_scores(network.describe(local), network.describe_context(context))
        wide = network.wide_scores(network.measure(local, network.nodule_prob(network(local))))
        parts = network.answer(deep, wide)
    for expected, found in zip(whole, parts, strict=True):
        torch.testing.assert_close(found, expected)
    maps = explained(network)
    assert np.isfinite(maps.local.values).all()
    assert maps.local.values.any()
    assert maps.context.values.any()
