"""DSMTPredictor: nnU-Net's predictor, which also classifies the nodules it finds or is given."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
    export_prediction_from_logits,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from torch._dynamo import OptimizedModule

from dsmt_nnunet import __version__
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.dataloading.context_volumes import ContextVolume, coarse_copy
from dsmt_nnunet.geometry import ArrayGeometry, nodule_instances
from dsmt_nnunet.inference.classifier import NoduleClassifier, NoduleOutput, answer, describe, volume_at_centre
from dsmt_nnunet.inference.operating_point import OperatingPoint
from dsmt_nnunet.inference.results import (
    CLASSIFICATION_TABLE_NAME,
    CasePrediction,
    NodulePrediction,
    is_case_file,
    read_case,
    read_folder,
    write_case,
    write_table,
)
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, Nodule, NoduleTable

Array = npt.NDArray[Any]
_BACKGROUND_LOGIT = 10.0


def is_dsmt_network(network: Any) -> bool:
    """Whether a network, compiled or not, is ours."""
    return isinstance(network._orig_mod if isinstance(network, OptimizedModule) else network, DSMTNet)


class DSMTPredictor(nnUNetPredictor):
    """Writes, for each case, nnU-Net's mask and CASE.json, and classification.csv of all of them.

    A stock predictor that has loaded a DSMT model becomes one by `adopt`. Nodules come from a `nodules.csv` in the
    input folder; a case without a row there, or a folder without a table, is searched by segmenting it.
    """

    model_folder: Path | None
    plan: DSMTPlan
    predictions: list[CasePrediction]

    @classmethod
    def adopt(cls, predictor: nnUNetPredictor, model_folder: Path | None) -> DSMTPredictor:
        """Turns an initialised stock predictor into this class, in place.

        Args:
            predictor: with a DSMT model loaded.
            model_folder: where the model lies, for its operating point; None for thresholds of 0.5.
        """
        predictor.__class__ = cls
        predictor._prepare(model_folder)
        return predictor

    def _prepare(self, model_folder: Path | None) -> None:
        self.model_folder = model_folder
        self.plan = DSMTPlan.from_plans(self.plans_manager.plans)
        self.operating_point = OperatingPoint.read(model_folder) if model_folder is not None else None
        self.predictions = []
        self._output_folder: Path | None = None
        self._given: dict[str, tuple[Nodule, ...]] = {}
        self._files: list[list[str]] = []
        self._current: tuple[Sequence[str], str | None, dict[str, Any]] | None = None
        self.classifier = self._make_classifier()

    def _make_classifier(self) -> NoduleClassifier:
        networks = []
        for parameters in self.list_of_parameters:
            bare: Any = self.network._orig_mod if isinstance(self.network, OptimizedModule) else self.network
            network = deepcopy(bare)
            network.load_state_dict(parameters)
            networks.append(network.to(self.device).use_precision(Precision.choose(self.device)).eval())
        return NoduleClassifier(
            networks=networks,
            plan=self.plan,
            patch_size=self.configuration_manager.patch_size,
            mirror_axes=(self.allowed_mirroring_axes or ()) if self.use_mirroring else (),
            device=self.device,
        )

    @functools.wraps(nnUNetPredictor.predict_from_files)
    def predict_from_files(self, *args: Any, **kwargs: Any) -> Any:
        result = super().predict_from_files(*args, **kwargs)
        self._write_table()
        return result

    def predict_from_files_sequential(
        self,
        list_of_lists_or_source_folder: str | list[list[str]],
        output_folder_or_list_of_truncated_output_files: str | list[str] | None,
        save_probabilities: bool = False,
        overwrite: bool = True,
        folder_with_segs_from_prev_stage: str | None = None,
    ) -> Any:
        """nnU-Net's `predict_from_files` in this process alone (-npp 0 -nps 0)."""
        inputs, outputs, _ = self._manage_input_and_output_lists(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            folder_with_segs_from_prev_stage,
            overwrite,
            0,
            1,
            save_probabilities,
        )
        if self._output_folder is not None:
            save_json(self.dataset_json, str(self._output_folder / "dataset.json"), sort_keys=False)
            save_json(self.plans_manager.plans, str(self._output_folder / "plans.json"), sort_keys=False)
        preprocessor = self.configuration_manager.preprocessor_class(verbose=self.verbose_preprocessing)
        segmentations = []
        names: Sequence[str | None] = outputs or [None] * len(inputs)
        for files, output in zip(inputs, names, strict=True):
            data, _, properties = preprocessor.run_case(
                files, None, self.plans_manager, self.configuration_manager, self.dataset_json
            )
            self._current = (files, output, properties)
            logits = self.predict_logits_from_preprocessed_data(torch.from_numpy(data))
            segmentations.append(self._export(logits.cpu().numpy(), properties, output, save_probabilities))
        compute_gaussian.cache_clear()
        self._write_table()
        return segmentations

    def _export(self, logits: Array, properties: dict[str, Any], output: str | None, save_probabilities: bool) -> Any:
        """Writes the mask; without an output name returns it."""
        if output is None:
            return convert_predicted_logits_to_segmentation_with_correct_shape(
                logits,
                self.plans_manager,
                self.configuration_manager,
                self.label_manager,
                properties,
                save_probabilities,
            )
        return export_prediction_from_logits(
            logits,
            properties,
            self.configuration_manager,
            self.plans_manager,
            self.dataset_json,
            output,
            save_probabilities,
        )

    def _manage_input_and_output_lists(
        self,
        list_of_lists_or_source_folder: Any,
        output_folder_or_list_of_truncated_output_files: Any,
        folder_with_segs_from_prev_stage: str | None = None,
        overwrite: bool = True,
        part_id: int = 0,
        num_parts: int = 1,
        save_probabilities: bool = False,
    ) -> tuple[list[list[str]], list[str] | None, list[Any]]:
        """nnU-Net's lists; a case is done when its mask and its CASE.json are there."""
        inputs, outputs, previous = super()._manage_input_and_output_lists(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            folder_with_segs_from_prev_stage,
            True,
            part_id,
            num_parts,
            save_probabilities,
        )
        if outputs:
            self._output_folder = Path(outputs[0]).parent
            self._output_folder.mkdir(parents=True, exist_ok=True)
            self._check_output_folder(self._output_folder)
        if outputs and not overwrite:
            endings = [self.dataset_json["file_ending"], ".json", *([".npz"] if save_probabilities else [])]
            todo = [i for i, name in enumerate(outputs) if not all(Path(name + e).is_file() for e in endings)]
            print(f"{len(outputs) - len(todo)} cases are complete, {len(todo)} are left to predict.")
            inputs, outputs, previous = ([items[i] for i in todo] for items in (inputs, outputs, previous))
        if isinstance(list_of_lists_or_source_folder, str):
            self._given = self._read_positions(Path(list_of_lists_or_source_folder), inputs)
        self._files = list(inputs)
        return inputs, outputs, previous

    def _check_output_folder(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.json")):
            if is_case_file(path) and read_case(path).schema != self.plan.schema:
                raise ValueError(
                    f"{path} was predicted for other tasks than this model's {list(self.plan.schema.task_names)}. "
                    f"Give each model an output folder of its own."
                )

    def _read_positions(self, folder: Path, inputs: Sequence[Sequence[str]]) -> dict[str, tuple[Nodule, ...]]:
        """Nodules of the input folder's table that belong to the cases at hand; empty without a table.

        Raises:
            ValueError: positions lie outside their scans; all of them are named, before anything is predicted.
        """
        if not (folder / NODULE_TABLE_NAME).is_file():
            return {}
        table = NoduleTable.read(folder / NODULE_TABLE_NAME).by_case()
        problems = []
        given = {}
        for files in inputs:
            case_id = Path(files[0]).name[: -len(self.dataset_json["file_ending"]) - 5]
            if case_id not in table:
                print(f"{NODULE_TABLE_NAME} names no nodule of case {case_id}: the whole scan will be searched.")
                continue
            given[case_id] = table[case_id]
            problems += _outside(files[0], table[case_id])
        if problems:
            raise ValueError(
                f"{folder / NODULE_TABLE_NAME}: positions must be mm in LPS, inside the scan, but:\n  "
                + "\n  ".join(problems)
            )
        return given

    def predict_from_data_iterator(self, data_iterator: Iterable[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        return super().predict_from_data_iterator(self._noting_the_case(data_iterator), *args, **kwargs)

    def _noting_the_case(self, data_iterator: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        # nnU-Net hands the cases out in the order of its list; an iterator of the caller's own has no files.
        files_in_order = iter(self._files)
        for item in data_iterator:
            files = next(files_in_order, None)
            self._current = None if files is None else (files, item["ofile"], item["data_properties"])
            yield item
        self._current, self._files = None, []

    @torch.inference_mode()
    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        """Logits (K, Z, Y, X) of the segmentation; writes CASE.json of the case at hand on the way."""
        if self._current is None:
            return self._segment(data)
        files, output, properties = self._current
        case_id = Path(output).name if output is not None else "case"
        array = data.numpy()
        geometry = ArrayGeometry.from_properties(
            properties, self.plans_manager.transpose_forward, self.configuration_manager.spacing, array.shape[1:]
        )
        reader = self.plans_manager.image_reader_writer_class()
        image, image_properties = reader.read_images(list(files))
        context = coarse_copy(image, image_properties, self.plans_manager.transpose_forward, self.plan.context)
        if case_id in self._given:
            logits, nodules = self._at_positions(array, geometry, context, self._given[case_id])
        else:
            logits = self._segment(data)
            nodules = self._found(array, geometry, context, logits)
        prediction = CasePrediction(case_id, self.plan.schema, tuple(nodules), self._model())
        self.predictions.append(prediction)
        if output is not None:
            write_case(prediction, f"{output}.json")
        return logits

    def _segment(self, data: torch.Tensor) -> torch.Tensor:
        """The whole scan by sliding window, the mean over the folds."""
        total: torch.Tensor | None = None
        for network in self.classifier.networks:
            self.network = network
            logits = self.predict_sliding_window_return_logits(data).to("cpu").float()
            total = logits if total is None else total + logits
        assert total is not None
        return total / len(self.classifier.networks)

    def _found(
        self, data: Array, geometry: ArrayGeometry, context: ContextVolume, logits: torch.Tensor
    ) -> list[NodulePrediction]:
        mask = (logits.argmax(0) > 0).numpy()
        instances = nodule_instances(mask, geometry.spacing_mm, self.plan.min_diameter_mm)
        if len(instances) > self.plan.max_candidates:
            print(
                f"{len(instances)} nodule candidates, of which the {self.plan.max_candidates} largest are classified. "
                f"So many mean that the segmentation has not learnt yet, or does not fit these scans."
            )
        nodules = []
        for number, instance in enumerate(instances[: self.plan.max_candidates], start=1):
            output = self.classifier(data, geometry, context, instance.centroid)
            tasks = answer(output.fold_probabilities, self.plan, self.operating_point)
            centre_mm = geometry.to_world(instance.centroid)
            nodules.append(describe(str(number), centre_mm, instance.volume_mm3, tasks))
        return nodules

    def _at_positions(
        self, data: Array, geometry: ArrayGeometry, context: ContextVolume, given: Sequence[Nodule]
    ) -> tuple[torch.Tensor, list[NodulePrediction]]:
        outputs, nodules = [], []
        for nodule in given:
            voxel = geometry.to_voxel(nodule.centre_mm)
            output = self.classifier(data, geometry, context, voxel)
            outputs.append(output)
            volume_mm3 = volume_at_centre(output, voxel, geometry.spacing_mm, self.plan)
            tasks = answer(output.fold_probabilities, self.plan, self.operating_point)
            nodules.append(describe(nodule.nodule_id, nodule.centre_mm, volume_mm3, tasks))
        return torch.from_numpy(paste_patches(outputs, data.shape[1:])), nodules

    def _model(self) -> dict[str, Any]:
        point = self.operating_point
        return {
            "trainer": self.trainer_name,
            "plans": self.plans_manager.plans_name,
            "configuration": _configuration_name(self),
            "dataset": self.plans_manager.dataset_name,
            "folds": len(self.classifier.networks),
            "dsmt_nnunet_version": __version__,
            "operating_point": "default threshold 0.5, not calibrated" if point is None else "operating_point.json",
            "temperatures": {} if point is None else {name: task.temperature for name, task in point.tasks.items()},
        }

    def _write_table(self) -> None:
        """classification.csv of all cases in the output folder; again, if another part finished meanwhile."""
        folder = self._output_folder
        if folder is None:
            return
        seen: set[str] = set()
        while True:
            present = {path.name for path in folder.glob("*.json") if is_case_file(path)}
            if present == seen:
                return
            write_table(read_folder(folder), folder / CLASSIFICATION_TABLE_NAME)
            seen = present


def paste_patches(outputs: Sequence[NoduleOutput], shape: Sequence[int]) -> Array:
    """(K, Z, Y, X) logits of a scan that is background but for the patches; where they overlap, their mean."""
    classes = outputs[0].segmentation.shape[0]
    logits = np.zeros((classes, *shape), dtype=np.float32)
    counts = np.zeros(tuple(shape), dtype=np.uint16)
    for output in outputs:
        size = output.segmentation.shape[1:]
        low = [max(0, s) for s in output.start]
        high = [max(lo, min(n, s + k)) for lo, n, s, k in zip(low, shape, output.start, size, strict=True)]
        target = tuple(slice(lo, h) for lo, h in zip(low, high, strict=True))
        source = tuple(slice(lo - s, h - s) for lo, h, s in zip(low, high, output.start, strict=True))
        logits[(slice(None), *target)] += output.segmentation[(slice(None), *source)]
        counts[target] += 1
    logits /= np.maximum(counts, 1)
    background = np.full(classes, -_BACKGROUND_LOGIT, dtype=np.float32)
    background[0] = _BACKGROUND_LOGIT
    logits[:, counts == 0] = background[:, None]
    return logits


def _outside(image: str, nodules: Sequence[Nodule]) -> list[str]:
    """Problems of positions outside an image, whose header alone is read."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(image)
    reader.ReadImageInformation()
    size, spacing, origin = (
        np.asarray(values) for values in (reader.GetSize(), reader.GetSpacing(), reader.GetOrigin())
    )
    direction = np.asarray(reader.GetDirection()).reshape(len(size), len(size))
    problems = []
    for nodule in nodules:
        index = np.linalg.solve(direction * spacing[None, :], np.asarray(nodule.centre_mm) - origin)
        if np.any(index < -0.5) or np.any(index > size - 0.5):
            problems.append(
                f"{os.path.basename(image)}, nodule '{nodule.nodule_id}': {nodule.centre_mm} mm is voxel "
                f"(x, y, z) {np.round(index, 1).tolist()} of an image of {size.tolist()} voxels"
            )
    return problems


def _configuration_name(predictor: nnUNetPredictor) -> str | None:
    """Name of the configuration, which the predictor does not keep."""
    wanted = predictor.configuration_manager.configuration
    for name in predictor.plans_manager.available_configurations:
        if predictor.plans_manager.get_configuration(name).configuration == wanted:
            return name
    return None
