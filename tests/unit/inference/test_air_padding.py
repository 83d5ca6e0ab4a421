from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainer_module
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from dsmt_nnunet.environment import PROCESSES_VARIABLE
from dsmt_nnunet.inference import nnunet_hook
from dsmt_nnunet.inference.air_padding import AirPaddedPredictor, padding_to_patch
from dsmt_nnunet.inference.nnunet_hook import validation_predictor
from dsmt_nnunet.plan import PLAN_KEY
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, small_plan, stock_plans

AIR = -2.0
"""(-1000 - -400) / 300, as the small plans normalise it."""


class Recorder(nn.Module):
    """Says the image back, and keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.clone())
        return torch.cat([-x, x], dim=1)


@pytest.fixture
def own() -> AirPaddedPredictor:
    plans = deepcopy(stock_plans())
    plans[PLAN_KEY] = small_plan(plans).to_block()
    manager = PlansManager(plans)
    predictor = AirPaddedPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
    configuration = manager.get_configuration(CONFIGURATION)
    predictor.manual_initialization(Recorder(), manager, configuration, [], DATASET_JSON, "DSMTTrainer", None)
    return predictor


def test_the_network_sees_air_around_a_small_scan(own: AirPaddedPredictor) -> None:
    image = torch.rand(1, 7, 20, 10)
    logits = own.predict_sliding_window_return_logits(image)
    assert logits.shape == (2, 7, 20, 10)
    torch.testing.assert_close(logits[1].float(), image[0], atol=2e-3, rtol=0)
    network: Any = own.network
    tile = network.seen[0][0, 0]
    assert tile.shape == (16, 16, 16)
    outside = torch.ones(16, 16, 16, dtype=torch.bool)
    outside[4:11, :, 3:13] = False
    assert (tile[outside] == AIR).all()
    assert (tile[~outside] >= 0).all()


@pytest.mark.parametrize("mirroring", [False, True])
def test_tiles_in_batches_are_answered_as_one_after_the_other(
    own: AirPaddedPredictor, monkeypatch: pytest.MonkeyPatch, mirroring: bool
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv3d(1, 2, 3, padding=1).eval()
    own.network, own.use_mirroring, own.allowed_mirroring_axes = convolution, mirroring, (0, 2)
    image, sizes = torch.rand(1, 37, 20, 40), set()
    convolution.register_forward_hook(lambda _, inputs, output: sizes.add(len(inputs[0])))
    monkeypatch.setattr("dsmt_nnunet.inference.air_padding.VOXELS_AT_ONCE", 3 * 16**3)
    together = own.predict_sliding_window_return_logits(image)
    assert sizes == {3, 2}, "32 tiles, three at a time"
    monkeypatch.setattr("dsmt_nnunet.inference.air_padding.VOXELS_AT_ONCE", 1)
    torch.testing.assert_close(own.predict_sliding_window_return_logits(image), together, atol=2e-3, rtol=0)
    stock = nnUNetPredictor.predict_sliding_window_return_logits
    monkeypatch.setattr(own, "_internal_predict_sliding_window_return_logits", partial(_stock_window, own))
    assert sizes == {3, 2, 1}
    torch.testing.assert_close(stock(own, image), together, atol=2e-3, rtol=0)


def _stock_window(own: AirPaddedPredictor, *arguments: Any) -> torch.Tensor:
    window: torch.Tensor = nnUNetPredictor._internal_predict_sliding_window_return_logits(own, *arguments)
    return window


@pytest.mark.parametrize(("scans", "wanted", "views"), [(True, True, 8), (False, True, 1), (True, False, 1)])
def test_scans_are_mirrored_where_plan_and_caller_want_it(
    own: AirPaddedPredictor, scans: bool, wanted: bool, views: int
) -> None:
    plans = {**own.plans_manager.plans, PLAN_KEY: replace(small_plan(), mirror_scans=scans).to_block()}
    own.plans_manager, own.allowed_mirroring_axes, own.use_mirroring = PlansManager(plans), (0, 1, 2), wanted
    own.predict_sliding_window_return_logits(torch.rand(1, 16, 16, 16))
    network: Any = own.network
    assert len(network.seen) == views
    assert own.use_mirroring is wanted, "the nodules are mirrored all the same"


def test_padding_makes_room_for_a_patch() -> None:
    assert padding_to_patch((10, 20, 7), (12, 16, 10)) == ((1, 1), (0, 0), (1, 2))


def test_nnunets_trainer_validates_with_the_predictor_it_is_lent() -> None:
    stock = trainer_module.nnUNetPredictor
    with validation_predictor(AirPaddedPredictor):
        assert trainer_module.nnUNetPredictor is AirPaddedPredictor
    assert trainer_module.nnUNetPredictor is stock
    # The name is looked up where the trainer validates, or lending does nothing.
    assert "nnUNetPredictor" in trainer_module.nnUNetTrainer.perform_actual_validation.__code__.co_names


@pytest.mark.parametrize(("said", "processes"), [(None, 3), ("5", 5)])
def test_masks_of_a_validation_are_written_by_one_process_a_core_unless_the_user_has_said_how_many(
    said: str | None, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "default_num_processes", 8 if said is None else int(said))
    monkeypatch.setattr(nnunet_hook, "worker_processes", lambda: 3)
    if said is None:
        monkeypatch.delenv(PROCESSES_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(PROCESSES_VARIABLE, said)
    before = trainer_module.default_num_processes
    with validation_predictor(AirPaddedPredictor):
        assert trainer_module.default_num_processes == processes
    assert trainer_module.default_num_processes == before
    # The number is looked up where the trainer validates, or lending does nothing.
    assert "default_num_processes" in trainer_module.nnUNetTrainer.perform_actual_validation.__code__.co_names
