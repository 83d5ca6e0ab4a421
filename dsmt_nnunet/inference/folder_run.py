"""One run over files: which cases are left, which nodules are given, and what is written where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from tqdm import tqdm

from dsmt_nnunet.inference.given_nodules import GivenCase, read_positions
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.inference.scan_predictor import ScanPredictor
from dsmt_nnunet.predictions.results import (
    CLASSIFICATION_TABLE_NAME,
    NodulePrediction,
    is_case_file,
    read_case,
    read_folder,
    write_case,
    write_table,
)

Array = npt.NDArray[Any]


class FolderRun(ScanPredictor):
    """A predictor that lives for a single call of `predict_from_files`, since nnU-Net hands the cases on one by one.

    Attributes:
        inputs: number of cases.
        given: position in the input -> a case whose nodules are given.
        output_folder: None where results are returned.
        at_hand: files, output without ending and properties of the case that nnU-Net hands on.
        files: of the cases that are searched, in nnU-Net's order.
    """

    inputs: int
    given: dict[int, GivenCase]
    output_folder: Path | None
    at_hand: tuple[Sequence[str], str | None, dict[str, Any]] | None
    files: list[list[str]]

    @classmethod
    def of(cls, predictor: ScanPredictor) -> FolderRun:
        """A run with a predictor's model and options."""
        run = cls.__new__(cls)
        run.__dict__.update(predictor.__dict__)
        run.inputs, run.given, run.output_folder, run.at_hand, run.files = 0, {}, None, None, []
        return run

    def parallel(self, *args: Any, **kwargs: Any) -> list[Any]:
        """nnU-Net's `predict_from_files`, and after it the cases whose nodules are given."""
        return self._with_given_cases(self.predict_from_files(*args, **kwargs))

    def sequential(
        self,
        list_of_lists_or_source_folder: str | list[list[str]],
        output_folder_or_list_of_truncated_output_files: str | list[str] | None,
        save_probabilities: bool = False,
        overwrite: bool = True,
        folder_with_segs_from_prev_stage: str | None = None,
    ) -> list[Any]:
        """The same in this process alone (-npp 0 -nps 0)."""
        inputs, outputs, _ = self._manage_input_and_output_lists(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            folder_with_segs_from_prev_stage,
            overwrite,
            0,
            1,
            save_probabilities,
        )
        if self.output_folder is not None:
            save_json(self.dataset_json, str(self.output_folder / "dataset.json"), sort_keys=False)
            save_json(self.plans_manager.plans, str(self.output_folder / "plans.json"), sort_keys=False)
        segmentations = []
        names: Sequence[str | None] = outputs or [None] * len(inputs)
        for files, output in zip(inputs, names, strict=True):
            segmentations.append(self.one_array(ScanImage.read(files, self.plans_manager), output, save_probabilities))
        compute_gaussian.cache_clear()
        return self._with_given_cases(segmentations)

    def one_array(self, image: ScanImage, output: str | None, save_probabilities: bool) -> Any:
        """Searches a scan; returns the mask, or writes it and CASE.json."""
        data, properties = self.preprocessed(image)
        logits, nodules = self.search(image, data, properties)
        self._keep(output, nodules)
        return self._export(logits.numpy(), properties, output, save_probabilities)

    def _with_given_cases(self, searched: Sequence[Any] | None) -> list[Any]:
        """Predicts the cases whose nodules are given, and returns all results in the order of the input."""
        given = {
            position: self.predict_given(case)
            for position, case in tqdm(self.given.items(), desc="Given nodules", disable=None)
        }
        self._write_table()
        others = iter(searched or [])
        return [given[position] if position in given else next(others) for position in range(self.inputs)]

    def predict_given(self, case: GivenCase) -> Array | None:
        """Classifies the given nodules of a case; the mask (Z, Y, X), unless it was written."""
        image = ScanImage.read(case.files, self.plans_manager)
        if case.output is None:
            return self.answer(image, case.nodules).mask
        if case.save_probabilities:
            (part,) = self.at_positions(image, case.nodules, together=True)
            self._export(part.logits, part.properties, case.output, save_probabilities=True)
            nodules: Sequence[NodulePrediction] = [part.nodules[number] for number in range(len(case.nodules))]
        else:
            found = self.answer(image, case.nodules)
            nodules = found.nodules
            writer = self.plans_manager.image_reader_writer_class()
            writer.write_seg(found.mask, case.output + self.dataset_json["file_ending"], dict(image.properties))
        self._keep(case.output, nodules)
        return None

    def _keep(self, output: str | None, nodules: Sequence[NodulePrediction]) -> None:
        if output is not None:
            write_case(self.case_prediction(Path(output).name, nodules), f"{output}.json")

    def _export(self, logits: Array, properties: dict[str, Any], output: str | None, save_probabilities: bool) -> Any:
        """Writes the mask; without an output name returns it, as stock nnU-Net does."""
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
            self.output_folder = Path(outputs[0]).parent
            self.output_folder.mkdir(parents=True, exist_ok=True)
            self._check_output_folder(self.output_folder)
        if outputs and not overwrite:
            endings = [self.dataset_json["file_ending"], ".json", *([".npz"] if save_probabilities else [])]
            todo = [i for i, name in enumerate(outputs) if not all(Path(name + e).is_file() for e in endings)]
            print(f"{len(outputs) - len(todo)} cases are complete, {len(todo)} are left to predict.")
            inputs, outputs, previous = ([items[i] for i in todo] for items in (inputs, outputs, previous))
        self.inputs = len(inputs)
        if isinstance(list_of_lists_or_source_folder, str):
            nodules = read_positions(Path(list_of_lists_or_source_folder), inputs, self.dataset_json["file_ending"])
            for position, files in enumerate(inputs):
                if nodules[position]:
                    output = outputs[position] if outputs else None
                    self.given[position] = GivenCase(tuple(files), output, nodules[position], save_probabilities)
        searched = [position for position in range(len(inputs)) if position not in self.given]
        inputs, outputs, previous = (
            [items[i] for i in searched] if items else items for items in (inputs, outputs, previous)
        )
        self.files = list(inputs)
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
        # nnU-Net hands the cases out in the order of its list.
        for files, item in zip(self.files, data_iterator, strict=True):
            self.at_hand = (files, item["ofile"], item["data_properties"])
            yield item

    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        """Logits (K, Z, Y, X) of the case at hand; writes its CASE.json on the way."""
        assert self.at_hand is not None
        files, output, properties = self.at_hand
        logits, nodules = self.search(ScanImage.read(files, self.plans_manager), np.asarray(data), properties)
        self._keep(output, nodules)
        return logits

    def _write_table(self) -> None:
        """classification.csv of all cases in the output folder; again, if another part finished meanwhile."""
        folder = self.output_folder
        if folder is None:
            return
        seen: set[str] = set()
        while True:
            present = {path.name for path in folder.glob("*.json") if is_case_file(path)}
            if present == seen:
                return
            write_table(read_folder(folder), folder / CLASSIFICATION_TABLE_NAME)
            seen = present
