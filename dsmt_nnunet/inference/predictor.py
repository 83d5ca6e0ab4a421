"""DSMTPredictor: nnU-Net's predictor, which also classifies the nodules it finds or is given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch._dynamo import OptimizedModule

from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.inference.folder_run import FolderRun
from dsmt_nnunet.inference.input_folder import check_output, check_places
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.inference.scan_predictor import ScanPredictor
from dsmt_nnunet.inference.weights import checkpoint_files

Array = npt.NDArray[Any]


def is_dsmt_network(network: Any) -> bool:
    """Whether a network, compiled or not, is ours."""
    return isinstance(network._orig_mod if isinstance(network, OptimizedModule) else network, DSMTNet)


_WORKERS = ("num_processes_preprocessing", "num_processes_segmentation_export")


def _check_place(asked: Mapping[str, Any]) -> None:
    """Checks where predictions go before nnU-Net writes its plans.json and dataset.json there.

    Raises:
        ValueError: they would lie among the images, in a data set or in a model.
    """
    source = asked["list_of_lists_or_source_folder"]
    output = asked.get("output_folder_or_list_of_truncated_output_files")
    if isinstance(source, str) and isinstance(output, str):
        check_places(Path(source), Path(output))
    if output:
        check_output(Path(output[0]).parent if isinstance(output, list) else Path(output))


class DSMTPredictor(ScanPredictor):
    """Writes, for each case, nnU-Net's mask and CASE.json, and classification.csv of all of them.

    A stock predictor that has loaded a DSMT model becomes one by `adopt`, and a stock predictor again when it is given
    another kind of model. Nodules come from a `nodules.csv` in the input folder; a case without a row there, or a
    folder without a table, is searched by segmenting it.
    """

    @classmethod
    def adopt(
        cls, predictor: nnUNetPredictor, model_folder: Path | None, checkpoints: Sequence[Path] = ()
    ) -> DSMTPredictor:
        """Turns an initialised stock predictor into this class, in place.

        Args:
            predictor: with a DSMT model loaded.
            model_folder: where the model lies, for its operating point; None for thresholds of 0.5.
            checkpoints: files that it was read from, to be checked.

        Raises:
            ValueError: a checkpoint is damaged, or holds NaN.
        """
        adopted: DSMTPredictor = predictor
        adopted.__class__ = cls
        adopted._prepare(model_folder, checkpoints)
        return adopted

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str,
        use_folds: tuple[int | str, ...] | None,
        checkpoint_name: str = "checkpoint_final.pth",
    ) -> None:
        """Loads another model in place of this one."""
        super().initialize_from_trained_model_folder(model_training_output_dir, use_folds, checkpoint_name)
        folder = Path(model_training_output_dir)
        self._take_over(folder, checkpoint_files(folder, use_folds, checkpoint_name))

    @functools.wraps(nnUNetPredictor.manual_initialization)
    def manual_initialization(self, *args: Any, **kwargs: Any) -> None:
        super().manual_initialization(*args, **kwargs)
        self._take_over(None)

    def _take_over(self, model_folder: Path | None, checkpoints: Sequence[Path] = ()) -> None:
        if is_dsmt_network(self.network):
            self._prepare(model_folder, checkpoints)
        else:
            for name in ("plan", "operating_point", "operating_point_note", "networks", "weights"):
                self.__dict__.pop(name, None)
            self.__class__ = nnUNetPredictor

    @functools.wraps(nnUNetPredictor.predict_from_files)
    def predict_from_files(self, *args: Any, **kwargs: Any) -> list[Any]:
        asked = inspect.signature(nnUNetPredictor.predict_from_files).bind(self, *args, **kwargs).arguments
        _check_place(asked)
        workers = [asked.get(name, 1) for name in _WORKERS]
        if workers == [0, 0] and asked.get("num_parts", 1) == 1:
            # nnU-Net's command for model folders hands zero workers on, which ends in an error of multiprocessing.
            sequential = inspect.signature(nnUNetPredictor.predict_from_files_sequential).parameters
            return self.predict_from_files_sequential(
                **{name: value for name, value in asked.items() if name in sequential and name != "self"}
            )
        if min(workers) < 1:
            raise ValueError(
                f"-npp and -nps are both 0, for one process that predicts all cases (no -num_parts), or at least 1 "
                f"each; got {workers[0]} and {workers[1]}."
            )
        return FolderRun.of(self).parallel(*args, **kwargs)

    @functools.wraps(nnUNetPredictor.predict_from_files_sequential)
    def predict_from_files_sequential(self, *args: Any, **kwargs: Any) -> list[Any]:
        _check_place(
            inspect.signature(nnUNetPredictor.predict_from_files_sequential).bind(self, *args, **kwargs).arguments
        )
        return FolderRun.of(self).sequential(*args, **kwargs)

    def predict_single_npy_array(
        self,
        input_image: Array,
        image_properties: dict[str, Any],
        segmentation_previous_stage: Array | None = None,
        output_file_truncated: str | None = None,
        save_or_return_probabilities: bool = False,
    ) -> Any:
        """nnU-Net's prediction of an array; with an output name CASE.json is written beside the mask.

        Args:
            input_image: (C, Z, Y, X) as nnU-Net's reader gives it.
            image_properties: as the reader gives them: `spacing`, and where the image lies in the world.
            segmentation_previous_stage: None; there is no cascade.
            output_file_truncated: path of the mask without its ending; None to return the mask.
            save_or_return_probabilities: of the segmentation.

        Raises:
            ValueError: the image is not in HU, the properties do not tell where it lies in the world, or a previous
                stage is given.
        """
        if segmentation_previous_stage is not None:
            raise ValueError("A DSMT model is no second stage of a cascade: segmentation_previous_stage must be None.")
        image = ScanImage(np.asarray(input_image), image_properties).checked(self.plan.context.windows)
        return FolderRun.of(self).one_array(image, output_file_truncated, save_or_return_probabilities)

    def predict_from_list_of_npy_arrays(
        self,
        image_or_list_of_images: Array | list[Array],
        segs_from_prev_stage_or_list_of_segs_from_prev_stage: Array | list[Array] | None,
        properties_or_list_of_properties: dict[str, Any] | list[dict[str, Any]],
        truncated_ofname: str | list[str] | None,
        num_processes: int = 3,
        save_probabilities: bool = False,
        num_processes_segmentation_export: int = 8,
    ) -> list[Any]:
        """`predict_single_npy_array` for each of several arrays, in this process alone.

        Raises:
            ValueError: not as many properties or names as images, or a name twice; else as for a single array.
        """
        images = image_or_list_of_images if isinstance(image_or_list_of_images, list) else [image_or_list_of_images]
        stages: Sequence[Array | None] = _listed(
            "previous stages", segs_from_prev_stage_or_list_of_segs_from_prev_stage, len(images)
        )
        properties = _listed("properties", properties_or_list_of_properties, len(images))
        names: Sequence[str | None] = _listed("output names", truncated_ofname, len(images))
        if twice := sorted({name for name in names if name is not None and [*names].count(name) > 1}):
            raise ValueError(f"Several predictions would be written to {twice}. Give each a name of its own.")
        return [
            self.predict_single_npy_array(image, own, stage, name, save_probabilities)
            for image, stage, own, name in zip(images, stages, properties, names, strict=True)
        ]

    def predict_from_data_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: preprocessed data alone do not show the surroundings of a nodule.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "predict_from_data_iterator gives preprocessed data without the scan, which a DSMT model needs to see the "
            "surroundings of a nodule. Use predict_from_files, predict_single_npy_array, or dsmt_nnunet.load_model."
        )

    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        """Logits (K, Z, Y, X) of the segmentation alone, as nnU-Net gives them."""
        with torch.inference_mode():
            return self._segment(data)


def _listed(what: str, value: Any, length: int) -> list[Any]:
    """One a image, as nnU-Net takes them: a list, or None or a single one for a single image."""
    listed = value if isinstance(value, list) else [value] * (length if value is None else 1)
    if len(listed) != length:
        raise ValueError(f"There are {length} images and {len(listed)} {what}; give one each.")
    return listed
