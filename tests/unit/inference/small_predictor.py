"""A predictor with small untrained networks."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dsmt_nnunet.architecture.build import build_network
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.plan import PLAN_KEY
from tests.unit.small_plans import CONFIGURATION, DATASET_JSON, awake, small_plan, stock_plans

PLANS = stock_plans(spacing=(1.5, 1.0, 1.0), transpose_forward=(1, 0, 2))
PLANS[PLAN_KEY] = small_plan(PLANS).to_block()
CENTRE = (12.0, 14.0, 9.0)
"""Of the bell, as an index (x, y, z)."""


def predictor(folds: int = 1, model_folder: Path | None = None) -> DSMTPredictor:
    manager = PlansManager(deepcopy(PLANS))
    configuration = manager.get_configuration(CONFIGURATION)
    networks = [awake(build_network(small_plan(PLANS), configuration, 1, 2, False)) for _ in range(folds)]
    stock = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
    parameters: Any = [network.state_dict() for network in networks]
    stock.manual_initialization(networks[0], manager, configuration, parameters, DATASET_JSON, "DSMTTrainer", None)
    return DSMTPredictor.adopt(stock, model_folder)


def run(own: DSMTPredictor, source: Path, output: Path, **options: Any) -> None:
    own.predict_from_files_sequential(str(source), str(output), **options)


def bell(data: torch.Tensor, region: Any = None) -> torch.Tensor:
    return torch.stack([-data[0], data[0]])
