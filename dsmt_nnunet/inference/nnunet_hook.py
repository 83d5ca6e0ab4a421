"""All that is patched in nnU-Net, in one place.

`nnUNetv2_predict` constructs `nnUNetPredictor` before it looks the trainer up, so that the class cannot be replaced in
time. Importing the trainers instead wraps the methods that start a prediction: a predictor that has loaded a DSMT
network becomes a DSMTPredictor, every other one passes through untouched. `-pretrained_weights` goes to a trainer that
has `start_from`, as ours do. Written against nnunetv2 2.8.1.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run import run_training
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnUNetTrainer_module
from nnunetv2.utilities.file_path_utilities import get_output_folder

from dsmt_nnunet.environment import PROCESSES_VARIABLE, worker_processes

_WRAPPED = (
    "predict_from_files",
    "predict_from_files_sequential",
    "predict_single_npy_array",
    "predict_from_list_of_npy_arrays",
    "predict_from_data_iterator",
    "predict_logits_from_preprocessed_data",
)
_MARK = "_dsmt_wrapped"
_FOLDER = "_dsmt_model_folder"
_CHECKPOINTS = "_dsmt_checkpoints"
DEFAULT_CHECKPOINT = "checkpoint_final.pth"
_INITIALISE = "initialize_from_trained_model_folder"
_START = "maybe_load_checkpoint"


def install() -> None:
    """Wraps nnU-Net's predictor, once."""
    for name in _WRAPPED:
        method = getattr(nnUNetPredictor, name)
        if not hasattr(method, _MARK):
            setattr(nnUNetPredictor, name, _adopting(method, name))
    initialise = getattr(nnUNetPredictor, _INITIALISE)
    if not hasattr(initialise, _MARK):
        setattr(nnUNetPredictor, _INITIALISE, _remembering_the_folder(initialise))
    _note_running_initialisation()
    # `python -m nnunetv2.run.run_training` looks the function up in __main__.
    for module in (run_training, sys.modules["__main__"]):
        start = getattr(module, _START, None)
        if start is not None and not hasattr(start, _MARK):
            setattr(module, _START, _starting_from_weights(start))


def _adopting(method: Any, name: str) -> Any:
    # nnU-Net reads the method's signature and then its own locals(), hence functools.wraps.
    @functools.wraps(method)
    def wrapper(self: nnUNetPredictor, *args: Any, **kwargs: Any) -> Any:
        from dsmt_nnunet.inference.predictor import DSMTPredictor, is_dsmt_network

        if type(self) is nnUNetPredictor and is_dsmt_network(self.network):
            adopted = DSMTPredictor.adopt(self, _model_folder(self), getattr(self, _CHECKPOINTS, ()))
            return getattr(adopted, name)(*args, **kwargs)
        return method(self, *args, **kwargs)

    setattr(wrapper, _MARK, True)
    return wrapper


def _remembering_the_folder(method: Any) -> Any:
    @functools.wraps(method)
    def wrapper(self: nnUNetPredictor, *args: Any, **kwargs: Any) -> Any:
        called = inspect.signature(method).bind(self, *args, **kwargs)
        called.apply_defaults()
        _note(self, called.arguments)
        return method(self, *args, **kwargs)

    setattr(wrapper, _MARK, True)
    return wrapper


def _starting_from_weights(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(
        nnunet_trainer: Any,
        continue_training: bool,
        validation_only: bool,
        pretrained_weights_file: str | None = None,
    ) -> None:
        begins = pretrained_weights_file is not None and not continue_training and not validation_only
        if not begins or not hasattr(nnunet_trainer, "start_from"):
            function(nnunet_trainer, continue_training, validation_only, pretrained_weights_file)
            return
        if not nnunet_trainer.was_initialized:
            nnunet_trainer.initialize()
        nnunet_trainer.start_from(pretrained_weights_file)

    setattr(wrapper, _MARK, True)
    return wrapper


@contextmanager
def validation_predictor(predictor_class: type[nnUNetPredictor]) -> Iterator[None]:
    """Lets nnU-Net's trainer validate with another predictor: it constructs the class its module names.

    Where the user has not said how many processes write the masks, it is one a core: nnU-Net starts eight on any
    machine, each of which imports all of PyTorch first.
    """
    original, processes = nnUNetTrainer_module.nnUNetPredictor, nnUNetTrainer_module.default_num_processes
    nnUNetTrainer_module.nnUNetPredictor = predictor_class
    if PROCESSES_VARIABLE not in os.environ:
        nnUNetTrainer_module.default_num_processes = min(processes, worker_processes())
    try:
        yield
    finally:
        nnUNetTrainer_module.nnUNetPredictor, nnUNetTrainer_module.default_num_processes = original, processes


def _note_running_initialisation() -> None:
    """The first import happens inside the method that knows the model folder: take it from there."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == _INITIALISE and isinstance(frame.f_locals.get("self"), nnUNetPredictor):
            _note(frame.f_locals["self"], frame.f_locals)
            return
        frame = frame.f_back  # type: ignore[assignment]


def _note(predictor: nnUNetPredictor, called: Mapping[str, Any]) -> None:
    """Keeps where the model lies and which files it is read from."""
    from dsmt_nnunet.inference.weights import checkpoint_files

    folder, name = Path(called["model_training_output_dir"]), str(called.get("checkpoint_name") or DEFAULT_CHECKPOINT)
    setattr(predictor, _FOLDER, folder)
    setattr(predictor, _CHECKPOINTS, checkpoint_files(folder, called.get("use_folds"), name))


def _model_folder(predictor: nnUNetPredictor) -> Path | None:
    """Where the loaded model lies: as noted, or where nnU-Net keeps it."""
    noted = getattr(predictor, _FOLDER, None)
    if noted is not None:
        return Path(noted)
    if not os.environ.get("nnUNet_results"):
        return None
    from dsmt_nnunet.inference.scan_predictor import configuration_name

    plans = predictor.plans_manager
    folder = Path(
        get_output_folder(plans.dataset_name, predictor.trainer_name, plans.plans_name, configuration_name(predictor))
    )
    return folder if folder.is_dir() else None
