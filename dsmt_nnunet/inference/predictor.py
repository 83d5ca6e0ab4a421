"""DSMTPredictor: nnU-Net's predictor, which also classifies the nodules it finds or is given."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
    export_prediction_from_logits,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from torch._dynamo import OptimizedModule
from tqdm import tqdm

from dsmt_nnunet import __version__
from dsmt_nnunet.architecture.network import DSMTNet
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.dataloading.context_volumes import ContextVolume, coarse_copy
from dsmt_nnunet.geometry import ArrayGeometry, nodule_instances
from dsmt_nnunet.inference.air_padding import AirPaddedPredictor, padding_to_patch
from dsmt_nnunet.inference.classifier import NoduleClassifier, answer, describe, volume_at_centre
from dsmt_nnunet.inference.given_nodules import BACKGROUND_LOGIT, GivenCase, paste_patches, read_positions
from dsmt_nnunet.inference.lung_region import lung_region, on_grid, tiles_that_touch
from dsmt_nnunet.inference.region import Scan, regions_around
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.predictions.operating_point import OperatingPoint
from dsmt_nnunet.predictions.results import (
    CLASSIFICATION_TABLE_NAME,
    CasePrediction,
    NodulePrediction,
    is_case_file,
    read_case,
    read_folder,
    write_case,
    write_table,
)

Array = npt.NDArray[Any]


def is_dsmt_network(network: Any) -> bool:
    """Whether a network, compiled or not, is ours."""
    return isinstance(network._orig_mod if isinstance(network, OptimizedModule) else network, DSMTNet)


class DSMTPredictor(AirPaddedPredictor):
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
        self._given: dict[int, GivenCase] = {}
        self._inputs = 0
        self._region: Array | None = None
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
            batch_size=self.configuration_manager.batch_size,
        )

    @functools.wraps(nnUNetPredictor.predict_from_files)
    def predict_from_files(self, *args: Any, **kwargs: Any) -> Any:
        searched = super().predict_from_files(*args, **kwargs)
        return self._with_given_cases(searched)

    def _with_given_cases(self, searched: Sequence[Any] | None) -> list[Any]:
        """Predicts the cases whose nodules are given, and returns all results in the order of the input."""
        given = {
            position: self._predict_given(case)
            for position, case in tqdm(self._given.items(), desc="Given nodules", disable=None)
        }
        self._given = {}
        self._write_table()
        others = iter(searched or [])
        return [given[position] if position in given else next(others) for position in range(self._inputs)]

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
        return self._with_given_cases(segmentations)

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
        self._inputs, self._given = len(inputs), {}
        if isinstance(list_of_lists_or_source_folder, str):
            nodules = read_positions(Path(list_of_lists_or_source_folder), inputs, self.dataset_json["file_ending"])
            for position, files in enumerate(inputs):
                if nodules[position]:
                    output = outputs[position] if outputs else None
                    self._given[position] = GivenCase(tuple(files), output, nodules[position], save_probabilities)
        searched = [position for position in range(len(inputs)) if position not in self._given]
        inputs, outputs, previous = (
            [items[i] for i in searched] if items else items for items in (inputs, outputs, previous)
        )
        self._files = list(inputs)
        return inputs, outputs, previous

    def _check_output_folder(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.json")):
            if is_case_file(path) and read_case(path).schema != self.plan.schema:
                raise ValueError(
                    f"{path} was predicted for other tasks than this model's {list(self.plan.schema.task_names)}. "
                    f"Give each model an output folder of its own."
                )

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
        lungs = lung_region(context, self.plan.context.windows[0])
        region = None if lungs is None else on_grid(lungs, context.geometry, geometry)
        logits = self._segment(data, region)
        self._keep(case_id, self._found(array, geometry, context, logits), output)
        return logits

    def _keep(self, case_id: str, nodules: Sequence[NodulePrediction], output: str | None) -> None:
        prediction = CasePrediction(case_id, self.plan.schema, tuple(nodules), self._model())
        self.predictions.append(prediction)
        if output is not None:
            write_case(prediction, f"{output}.json")

    def _segment(self, data: torch.Tensor, region: Array | None = None) -> torch.Tensor:
        """The scan by sliding window, the mean over the folds.

        Args:
            data: (C, Z, Y, X) preprocessed scan.
            region: (Z, Y, X), where to look; elsewhere is background. None for everywhere.
        """
        self._region = region
        total: torch.Tensor | None = None
        for network in self.classifier.networks:
            self.network = network
            logits = self.predict_sliding_window_return_logits(data).to("cpu").float()
            total = logits if total is None else total + logits
        assert total is not None
        total /= len(self.classifier.networks)
        if region is not None:
            elsewhere = torch.from_numpy(~region)
            total[0, elsewhere], total[1:, elsewhere] = BACKGROUND_LOGIT, -BACKGROUND_LOGIT
        return total

    def _internal_get_sliding_window_slicers(self, image_size: tuple[int, ...]) -> Any:
        """nnU-Net's tiles, those without lung left out."""
        tiles = super()._internal_get_sliding_window_slicers(image_size)
        if self._region is None:
            return tiles
        padding = padding_to_patch(self._region.shape, self.configuration_manager.patch_size)
        return tiles_that_touch(tiles, np.pad(self._region, padding))

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

    def _predict_given(self, case: GivenCase) -> Array | None:
        """Classifies the given nodules and segments around them; nothing else of the scan is preprocessed.

        Returns:
            The mask (Z, Y, X), unless it was written.
        """
        manager, configuration = self.plans_manager, self.configuration_manager
        reader = manager.image_reader_writer_class()
        image, properties = reader.read_images(list(case.files))
        points = [nodule.centre_mm for nodule in case.nodules]
        context = coarse_copy(image, properties, manager.transpose_forward, self.plan.context, around=points)
        scan = Scan.of(image, properties, manager, configuration)
        predictions: dict[int, NodulePrediction] = {}
        mask: Array | None = None
        for part in regions_around(scan, points, configuration.patch_size, together=case.save_probabilities):
            data, part_properties, geometry = scan.preprocessed(part.region)
            outputs = []
            for number in part.points:
                nodule = case.nodules[number]
                voxel = geometry.to_voxel(nodule.centre_mm)
                output = self.classifier(data, geometry, context, voxel)
                outputs.append(output)
                volume_mm3 = volume_at_centre(output, voxel, geometry.spacing_mm, self.plan)
                tasks = answer(output.fold_probabilities, self.plan, self.operating_point)
                predictions[number] = describe(nodule.nodule_id, nodule.centre_mm, volume_mm3, tasks)
            logits = paste_patches(outputs, data.shape[1:])
            if case.output is not None and case.save_probabilities:
                self._export(logits, part_properties, case.output, save_probabilities=True)
                continue
            own_mask = self._export(logits, part_properties, None, save_probabilities=False)
            mask = own_mask if mask is None else np.maximum(mask, own_mask)
        if case.output is not None and mask is not None:
            reader.write_seg(mask, case.output + self.dataset_json["file_ending"], properties)
        case_id = Path(case.output).name if case.output is not None else "case"
        self._keep(case_id, [predictions[number] for number in range(len(points))], case.output)
        return mask if case.output is None else None

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


def _configuration_name(predictor: nnUNetPredictor) -> str | None:
    """Name of the configuration, which the predictor does not keep."""
    wanted = predictor.configuration_manager.configuration
    for name in predictor.plans_manager.available_configurations:
        if predictor.plans_manager.get_configuration(name).configuration == wanted:
            return name
    return None
