from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.dataloading.augmentation import dual_scale
from dsmt_nnunet.dataloading.dual_scale_loader import DualScaleDataLoader
from dsmt_nnunet.dataloading.padding import fill_values
from dsmt_nnunet.dataloading.sampling import NO_NODULE, NoduleSampler, SampledNodule, class_weights, locate_nodules
from dsmt_nnunet.geometry import crop
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.tasks import UNKNOWN_LABEL
from tests.unit.dataloading.conftest import SPACING, SmallData
from tests.unit.small_plans import DATASET_JSON, centroid, small_plan

PATCH, INITIAL = (8, 16, 16), (10, 22, 22)


def loader(
    data: SmallData,
    training: bool,
    nodules: list[SampledNodule] | None = None,
    batch_size: int = 3,
    augmented: bool = False,
    rank: int = 0,
    ranks: int = 1,
    **plan_changes: Any,
) -> DualScaleDataLoader:
    plan = replace(data.plan, training=replace(data.plan.training, **plan_changes))
    transforms: Any = ComposeTransforms([])
    if augmented:
        stock = nnUNetTrainer.get_training_transforms(
            PATCH, (-0.5, 0.5), [[1, 1, 1], [0.5, 0.5, 0.5]], (0, 1, 2), False, [False], foreground_labels=[1]
        )
        transforms = dual_scale(stock, SPACING, plan.context.grid)
    return DualScaleDataLoader(
        data.dataset,
        batch_size,
        INITIAL if training else PATCH,
        PATCH,
        PlansManager(data.plans).get_label_manager(DATASET_JSON),
        transforms=transforms,
        nodules=locate_nodules(data.table, data.dataset.identifiers, data.store, plan) if nodules is None else nodules,
        store=data.store,
        plan=plan,
        spacing_mm=SPACING,
        training=training,
        rank=rank,
        ranks=ranks,
    )


def test_a_training_batch_has_both_scales_labels_and_targets(small_data: SmallData) -> None:
    batch = loader(small_data, training=True, augmented=True, background_share=0.0).generate_train_batch()
    grid = small_data.plan.context.grid
    assert set(batch) == {"data", "target", "context", "labels", "nodules", "keys"}
    assert batch["data"].shape == (3, 1, *PATCH)
    assert batch["context"].shape == (3, 1, grid, grid, grid)
    assert [tuple(scale.shape) for scale in batch["target"]] == [(3, 1, 8, 16, 16), (3, 1, 4, 8, 8)]
    assert batch["data"].dtype == batch["context"].dtype == torch.float32
    assert batch["labels"].dtype == torch.int64
    for position, index in enumerate(batch["nodules"]):
        assert batch["keys"][position] == f"case{index}"
        assert batch["labels"][position].tolist() == [2, index]


def test_what_is_read_is_what_is_shown_and_the_batch_the_same(
    small_data: SmallData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a loader that reads all that rotation and zoom might need before it is drawn whether they happen."""
    sizes: list[list[int]] = [[], []]
    own, eager = (loader(small_data, training=True, augmented=True, batch_size=12) for _ in range(2))
    eager.transforms = ComposeTransforms(own.transforms.transforms)
    batches = []
    for reads, one in zip(sizes, (own, eager), strict=True):

        def noted(array: Any, start: Any, size: Any, fill: Any, reads: list[int] = reads) -> np.ndarray:
            reads.append(int(np.prod(size)))
            return crop(array, start, size, fill)

        monkeypatch.setattr("dsmt_nnunet.dataloading.dual_scale_loader.crop", noted)
        np.random.seed(3)
        torch.manual_seed(3)
        batches.append(one.generate_train_batch())
    for name in ("data", "context"):
        torch.testing.assert_close(batches[0][name], batches[1][name], rtol=0, atol=1e-5)
    assert all(torch.equal(*scales) for scales in zip(batches[0]["target"], batches[1]["target"], strict=True))
    assert batches[0]["keys"] == batches[1]["keys"]
    assert len(sizes[0]) == len(sizes[1])
    assert 0 < np.count_nonzero(np.less(*sizes)) < len(sizes[0])
    assert not np.greater(*sizes).any()


def test_a_validation_patch_has_its_nodule_in_the_middle_of_both_scales(small_data: SmallData) -> None:
    batch = loader(small_data, training=False, batch_size=2).generate_train_batch()
    assert batch["nodules"].tolist() == [0, 1]
    for local, context in zip(batch["data"], batch["context"], strict=True):
        middle = (np.array(PATCH) - 1) / 2
        assert centroid(local[0].numpy(), air=-2.0) == pytest.approx(middle, abs=0.8)
        assert centroid(context[0].numpy(), air=-1.0) == pytest.approx([7.5] * 3, abs=0.8)


def test_training_patches_stay_within_the_jitter_of_the_nodule(small_data: SmallData) -> None:
    jitter = 3.0
    own = loader(small_data, training=True, batch_size=60, background_share=0.0, jitter_mm=jitter)
    batch = own.generate_train_batch()
    offsets = [
        (centroid(local[0].numpy(), air=-2.0) - (np.array(INITIAL) - 1) / 2) * SPACING for local in batch["data"]
    ]
    largest = np.abs(offsets).max(axis=0)
    assert (largest <= jitter + 0.5 * np.array(SPACING) + 0.5).all()
    assert (largest > 0.6 * jitter).all()


def test_both_scales_share_the_jitter(small_data: SmallData) -> None:
    own = loader(small_data, training=True, batch_size=20, background_share=0.0, jitter_mm=4.0)
    batch = own.generate_train_batch()
    for local, context in zip(batch["data"], batch["context"], strict=True):
        size = context.shape[-1]
        local_mm = (centroid(local[0].numpy(), air=-2.0) - (np.array(INITIAL) - 1) / 2) * SPACING
        context_mm = (centroid(context[0].numpy(), air=-1.0) - (size - 1) / 2) * 2.0
        # Both patches begin at a whole voxel.
        assert context_mm == pytest.approx(local_mm, abs=2.3)


def test_background_patches_have_no_known_label(small_data: SmallData) -> None:
    batch = loader(small_data, training=True, batch_size=8, background_share=1.0).generate_train_batch()
    assert (batch["nodules"] == NO_NODULE).all()
    assert (batch["labels"] == UNKNOWN_LABEL).all()


def test_background_patches_lie_mostly_in_lung(small_data: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    own = loader(small_data, training=True, background_share=1.0)
    case_id = small_data.dataset.identifiers[0]
    low, high = own.plan.context.windows[0] or (0.0, 1.0)
    volume = own._volume(case_id)
    hu = np.full(volume.array.shape, 50.0)
    hu[:, : hu.shape[1] // 4] = -800.0
    lung = replace(volume, array=((hu - low) * 2 / (high - low) - 1).astype(np.float16))
    monkeypatch.setitem(own._volumes, case_id, lung)
    shape = small_data.store.local_geometry(case_id).shape
    centres = np.array([own._anywhere(case_id, shape) for _ in range(600)])
    in_lung = [own._is_lung(case_id, centre) for centre in centres]
    assert np.mean(in_lung) == pytest.approx(0.75 + 0.25 * 0.25, abs=0.06)
    assert (centres >= 0).all()
    assert (centres <= np.array(shape) - 1).all()


def test_cases_without_a_nodule_are_half_of_the_background_and_their_share_of_the_rest(small_data: SmallData) -> None:
    own = loader(small_data, training=True, nodules=[SampledNodule("case1", (5.0, 5.0, 5.0), (0, 1))])
    drawn = Counter(own._case_of_background() for _ in range(2000))
    assert drawn["case0"] == pytest.approx(1500, abs=80)
    assert drawn["case1"] == 2000 - drawn["case0"]


def test_background_patches_come_up_as_often_as_planned(small_data: SmallData) -> None:
    own = loader(small_data, training=True, batch_size=2000, background_share=0.25)
    assert Counter(own._draw_batch())[NO_NODULE] == pytest.approx(500, abs=80)


def test_validation_covers_all_nodules_in_turn(small_data: SmallData) -> None:
    nodules = [SampledNodule("case0", (5.0, 5.0, 5.0), (0, 1))] * 7
    own = loader(small_data, training=False, nodules=nodules, batch_size=3)
    drawn = [index for _ in range(7) for index in own._draw_batch()]
    assert Counter(drawn) == dict.fromkeys(range(7), 3)


def test_processes_share_what_they_take_in_turn(small_data: SmallData) -> None:
    nodules = [SampledNodule("case0", (5.0, 5.0, 5.0), (0, 1))] * 7
    loaders = [loader(small_data, training=False, nodules=nodules, batch_size=2, rank=rank, ranks=2) for rank in (0, 1)]
    for _ in range(3):
        drawn = [index for own in loaders for _ in range(2) for index in own._draw_batch()]
        assert set(drawn) == set(range(7)), "two batches each, eight nodules in all"


def test_few_context_volumes_are_kept_open(small_data: SmallData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsmt_nnunet.dataloading.dual_scale_loader._CASES_AT_HAND", 1)
    own = loader(small_data, training=True)
    cases = own._data.identifiers
    assert len(cases) > 1
    for case_id in (*cases, cases[0]):
        volume = own._volume(case_id)
        assert own._volume(case_id) is volume
        assert list(own._volumes) == [case_id]


@pytest.mark.parametrize(("kept", "opened"), [(True, 2), (False, 4)])
def test_a_case_that_is_read_by_the_piece_is_opened_once(
    small_data: SmallData, monkeypatch: pytest.MonkeyPatch, kept: bool, opened: int
) -> None:
    own, calls = loader(small_data, training=False), []
    array: Any = "a file" if kept else np.zeros((1, 2, 2, 2))

    def load_case(case_id: str) -> tuple[Any, ...]:
        calls.append(case_id)
        return array, array, None, {}

    monkeypatch.setattr(own, "_data", SimpleNamespace(load_case=load_case))
    for case_id in ("case0", "case1") * 2:
        assert own._case(case_id).data is array
    assert len(calls) == opened


def test_a_fold_without_nodules_gives_background(small_data: SmallData) -> None:
    for training in (False, True):
        batch = loader(small_data, training=training, nodules=[]).generate_train_batch()
        assert (batch["nodules"] == NO_NODULE).all()


def test_a_patch_beyond_the_scan_is_air_and_its_target_is_ignored(small_data: SmallData) -> None:
    outside = [SampledNodule("case0", (-50.0, 5.0, 5.0), (0, 1))]
    batch = loader(small_data, training=False, nodules=outside, batch_size=1).generate_train_batch()
    assert (batch["data"] == small_data.plan.padding_value[0]).all()
    assert (batch["target"] == -1).all()


def test_classes_take_turns_however_rare_they_are() -> None:
    labels = [0] * 97 + [1] * 3
    sampler = NoduleSampler(labels)
    drawn = [labels[sampler.draw()] for _ in range(200)]
    assert sum(drawn) == 100
    assert all(sum(drawn[i : i + 2]) == 1 for i in range(0, 200, 2))


def test_every_nodule_of_a_class_comes_up() -> None:
    sampler = NoduleSampler([0] * 10 + [1] * 5)
    assert len({sampler.draw() for _ in range(400)}) == 15


def test_nodules_of_unknown_class_keep_their_share() -> None:
    labels = np.array([UNKNOWN_LABEL] * 30 + [0] * 60 + [1] * 10)
    sampler = NoduleSampler(labels)
    drawn = Counter(labels[sampler.draw()] for _ in range(3000))
    assert drawn[UNKNOWN_LABEL] == pytest.approx(900, abs=120)
    assert abs(drawn[0] - drawn[1]) <= 1


def test_without_any_known_class_all_nodules_are_drawn() -> None:
    sampler = NoduleSampler([UNKNOWN_LABEL] * 4)
    assert {sampler.draw() for _ in range(100)} == {0, 1, 2, 3}


def test_positions_outside_their_scan_are_all_named(small_data: SmallData) -> None:
    table = NoduleTable(
        (
            Nodule("case0", "far", "p", (9999.0, 0.0, 0.0)),
            Nodule("case1", "swapped", "q", (130.0, 20.0, -30.0)),
            small_data.table.nodules[1],
        )
    )
    with pytest.raises(ValueError, match="mm in LPS") as caught:
        locate_nodules(table, ["case0", "case1"], small_data.store, small_data.plan)
    assert "case 'case0', nodule 'far'" in str(caught.value)
    assert "case 'case1', nodule 'swapped'" in str(caught.value)
    assert "nodule '1'" not in str(caught.value)


def test_nodules_of_other_cases_are_left_out(small_data: SmallData) -> None:
    located = locate_nodules(small_data.table, ["case1", "none"], small_data.store, small_data.plan)
    assert [(nodule.case_id, nodule.labels) for nodule in located] == [("case1", (2, 1))]


def test_class_weights_average_one_and_leave_the_primary_task_alone() -> None:
    labels = [(0, 0)] * 6 + [(1, 1)] * 2 + [(UNKNOWN_LABEL, 1)] * 4
    nodules = [SampledNodule("a", (0.0, 0.0, 0.0), pair) for pair in labels]
    weights = class_weights(nodules, small_plan())
    assert weights["invasiveness"] == [1.0, 1.0]
    common, rare, absent = weights["texture"]
    assert 6 * common == pytest.approx(2 * rare)
    assert (6 * common + 2 * rare) / 8 == pytest.approx(1)
    assert absent == 0


def test_a_task_without_labels_has_weights_of_one() -> None:
    nodules = [SampledNodule("a", (0.0, 0.0, 0.0), (UNKNOWN_LABEL, 0))]
    assert class_weights(nodules, small_plan())["texture"] == [1.0, 1.0, 1.0]


def test_padding_is_the_plans_value_or_the_lowest_of_the_case() -> None:
    data = np.stack([np.full((2, 2, 2), 5.0), np.arange(8.0).reshape(2, 2, 2) + 3])
    assert fill_values((-1.5, None), data) == [-1.5, 3.0]
