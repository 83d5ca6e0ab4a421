from __future__ import annotations

import importlib
import pickle
from pathlib import Path

import pytest
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from dsmt_nnunet.environment import EXT_TRAINER, plugin_folder
from dsmt_nnunet.trainers import budgets
from dsmt_nnunet.trainers.comparisons import COMPARISONS
from dsmt_nnunet.trainers.dsmt_trainer import DSMTTrainer

TRAINERS = {
    "DSMTTrainer": DSMTTrainer,
    "DSMTTrainer_5epochs": budgets.DSMTTrainer_5epochs,
    "DSMTTrainer_10epochs": budgets.DSMTTrainer_10epochs,
    "DSMTTrainer_50epochs": budgets.DSMTTrainer_50epochs,
    "DSMTTrainer_250epochs": budgets.DSMTTrainer_250epochs,
    **{trainer.__name__: trainer for trainer in COMPARISONS},
}


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXT_TRAINER, str(plugin_folder()))


@pytest.mark.parametrize("name", TRAINERS)
def test_nnunet_finds_the_trainer_again_and_again_and_it_can_be_pickled(name: str) -> None:
    for _ in range(2):
        found = recursive_find_trainer_class_by_name(name)
        assert found is TRAINERS[name]
        assert pickle.loads(pickle.dumps(found)) is found


def test_every_trainer_of_the_package_is_in_the_plugin() -> None:
    plugin = importlib.import_module("dsmt_nnunet.nnunet_plugin.dsmt_trainers")
    modules = [importlib.import_module(f"dsmt_nnunet.trainers.{path.stem}") for path in trainer_files()]
    defined = {
        name
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, DSMTTrainer) and value.__module__ == module.__name__
    }
    assert set(plugin.__all__) == defined


def trainer_files() -> list[Path]:
    folder = Path(importlib.import_module("dsmt_nnunet.trainers.dsmt_trainer").__file__ or "").parent
    return [path for path in folder.glob("*.py") if path.stem != "__init__"]


def test_finding_a_trainer_installs_the_hook() -> None:
    recursive_find_trainer_class_by_name("DSMTTrainer")
    assert hasattr(nnUNetPredictor.predict_from_files, "__wrapped__")
