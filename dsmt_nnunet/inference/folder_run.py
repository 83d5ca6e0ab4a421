"""One run over files: which cases are left, which nodules are given, and what is written where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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

from dsmt_nnunet.files import clean_leftovers, whole_file
from dsmt_nnunet.image_files import check_whole_image, is_whole_image
from dsmt_nnunet.inference.candidates import Findings
from dsmt_nnunet.inference.finished_cases import check_output_folder, is_finished, write_finished, write_whole_table
from dsmt_nnunet.inference.given_nodules import GivenCase, read_positions
from dsmt_nnunet.inference.input_folder import check_lists, check_part, images_of_cases
from dsmt_nnunet.inference.lost_cases import LOST_WITH_WORKERS, CasesFailed, is_of_workers
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.inference.scan_predictor import ScanPredictor
from dsmt_nnunet.nodules import Nodule
from dsmt_nnunet.predictions.results import CasePrediction

Array = npt.NDArray[Any]


_OF_A_CASE = (ValueError, OSError, RuntimeError)
"""What one case may bring; the others are predicted all the same."""


@dataclass(frozen=True)
class _Searched:
    """A case that is searched: its files, one a channel, its output without ending, what is doubtful of it."""

    files: list[str]
    output: str | None
    doubts: tuple[str, ...] = ()


class FolderRun(ScanPredictor):
    """A predictor that lives for a single call of `predict_from_files`, since nnU-Net hands the cases on one by one.

    Attributes:
        inputs: number of cases.
        given: position in the input -> a case whose nodules are given.
        output_folder: None where results are returned.
        at_hand: the case that nnU-Net hands on, and its properties.
        searched: the cases that nnU-Net is to search, in its order.
        failed: case -> why it could not be predicted.
        waiting: CASE.json of searched cases whose masks nnU-Net is writing still.
        checked: whether files are looked at before nnU-Net reads them in other processes.
    """

    inputs: int
    given: dict[int, GivenCase]
    output_folder: Path | None
    at_hand: tuple[_Searched, dict[str, Any]] | None
    searched: list[_Searched]
    failed: dict[str, str]
    waiting: list[tuple[str, CasePrediction]]
    checked: bool

    @classmethod
    def of(cls, predictor: ScanPredictor) -> FolderRun:
        """A run with a predictor's model and options."""
        run = cls.__new__(cls)
        run.__dict__.update(predictor.__dict__)
        run.inputs, run.given, run.output_folder, run.at_hand, run.searched = 0, {}, None, None, []
        run.failed, run.waiting, run.checked = {}, [], True
        return run

    def parallel(self, *args: Any, **kwargs: Any) -> list[Any]:
        """nnU-Net's `predict_from_files`, and after it the cases whose nodules are given.

        Raises:
            CasesFailed: some cases could not be predicted; the others were.
        """
        searched: list[Any] | None = None
        try:
            searched = self.predict_from_files(*args, **kwargs)
        except RuntimeError as error:
            if not is_of_workers(error):
                raise
            self._note_unreached()
        return self._with_given_cases(searched)

    def _note_unreached(self) -> None:
        """Notes the searched cases that got no answer before a worker process ended."""
        self._write_waiting()
        self.waiting = []
        for case in self.searched:
            if case.output is None or not Path(f"{case.output}.json").is_file():
                self.failed[self._case_id(case.files)] = LOST_WITH_WORKERS

    def sequential(
        self,
        list_of_lists_or_source_folder: str | list[list[str]],
        output_folder_or_list_of_truncated_output_files: str | list[str] | None,
        save_probabilities: bool = False,
        overwrite: bool = True,
        folder_with_segs_from_prev_stage: str | None = None,
    ) -> list[Any]:
        """The same in this process alone (-npp 0 -nps 0)."""
        self.checked = False
        self._manage_input_and_output_lists(
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
        for case in self.searched:
            with self._telling_of(case.files):
                image = self._scan(case.files)
                segmentations.append(self.one_array(image, case.output, save_probabilities))
        compute_gaussian.cache_clear()
        return self._with_given_cases(segmentations)

    def one_array(self, image: ScanImage, output: str | None, save_probabilities: bool) -> Any:
        """Searches a scan; returns the mask, or writes it and then CASE.json."""
        data, properties = self.preprocessed(image)
        logits, found = self.search(image, data, properties)
        mask = self._export(logits.numpy(), properties, output, save_probabilities)
        self._keep(output, image, found)
        return mask

    def _scan(self, files: Sequence[str], nodules: Sequence[Nodule] = ()) -> ScanImage:
        points = [nodule.centre_mm for nodule in nodules]
        return ScanImage.read(files, self.plans_manager).checked(self.plan.context.windows, points)

    @contextmanager
    def _telling_of(self, files: Sequence[str]) -> Iterator[None]:
        """Notes what is wrong with a case, so that the others are predicted."""
        try:
            yield
        except _OF_A_CASE as error:
            case_id = self._case_id(files)
            self.failed[case_id] = " ".join(str(error).split()) or type(error).__name__
            print(f"Case {case_id} could not be predicted: {self.failed[case_id]}")

    def _case_id(self, files: Sequence[str]) -> str:
        return Path(files[0]).name[: -len(self.dataset_json["file_ending"]) - 5]

    def _with_given_cases(self, searched: Sequence[Any] | None) -> list[Any]:
        """Predicts the cases whose nodules are given, and returns all results in the order of the input."""
        self._write_waiting(last=True)
        given: dict[int, Any] = {}
        for position, case in tqdm(self.given.items(), desc="Given nodules", disable=None):
            with self._telling_of(case.files):
                given[position] = self.predict_given(case)
        if self.output_folder is not None:
            write_whole_table(self.output_folder)
        if self.failed:
            raise CasesFailed.of(self.failed, self.inputs)
        others = iter(searched or [])
        return [given[position] if position in given else next(others) for position in range(self.inputs)]

    def predict_given(self, case: GivenCase) -> Array | None:
        """Classifies the given nodules of a case; the mask (Z, Y, X), unless it was written."""
        image = self._scan(case.files, case.nodules)
        if case.output is None:
            return self.answer(image, case.nodules).mask
        if case.save_probabilities:
            (part,) = self.at_positions(image, case.nodules, together=True)
            self._export(part.logits, part.properties, case.output, save_probabilities=True)
            found = Findings(tuple(part.nodules[number] for number in range(len(case.nodules))))
        else:
            answer = self.answer(image, case.nodules)
            found = answer.found
            writer = self.plans_manager.image_reader_writer_class()
            with whole_file(case.output + self.dataset_json["file_ending"], check_whole_image) as place:
                writer.write_seg(answer.mask, str(place), dict(image.properties))
        self._keep(case.output, image, found)
        return None

    def _keep(self, output: str | None, image: ScanImage, found: Findings) -> None:
        """Writes CASE.json, the mask being there."""
        if output is None:
            return
        check_whole_image(Path(output + self.dataset_json["file_ending"]))
        write_finished(self.case_prediction(Path(output).name, image, found), output)

    def _write_waiting(self, last: bool = False) -> None:
        """Writes CASE.json of the cases whose masks are whole.

        Args:
            last: whether nnU-Net has ended, so that a mask that is not there will not come.
        """
        still = []
        for output, case in self.waiting:
            if is_whole_image(Path(output + self.dataset_json["file_ending"])):
                write_finished(case, output)
            elif last:
                self.failed[case.case_id] = "its mask could not be written. Is the disk full?"
            else:
                still.append((output, case))
        self.waiting = still

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
        """nnU-Net's lists of the cases to search; those whose nodules are given are kept for later.

        Raises:
            ValueError: images or positions that cannot be predicted, or an output folder of another model.
        """
        if folder_with_segs_from_prev_stage is not None:
            raise ValueError("A DSMT model is no second stage of a cascade: give no -prev_stage_predictions.")
        check_part(part_id, num_parts)
        ending, source = self.dataset_json["file_ending"], list_of_lists_or_source_folder
        cases: dict[str, list[str]] | None = None
        if isinstance(source, str):
            cases = images_of_cases(Path(source), ending, len(self.plan.context.windows))
            source = list(cases.values())  # nnU-Net starts twelve processes to list a folder
        else:
            check_lists(source, output_folder_or_list_of_truncated_output_files, ending)
        inputs, outputs, _ = super()._manage_input_and_output_lists(
            source, output_folder_or_list_of_truncated_output_files, None, True, part_id, num_parts, save_probabilities
        )
        given: list[tuple[Nodule, ...]] = [()] * len(inputs)
        if cases is not None:
            given = read_positions(Path(list_of_lists_or_source_folder), inputs, ending, [*cases], self.plan.covariates)
        todo = list(range(len(inputs)))
        if outputs:
            todo = self._prepare_output(inputs, outputs, given, overwrite, save_probabilities)
        self.inputs = len(todo)
        for position, number in enumerate(todo):
            files, output = inputs[number], outputs[number] if outputs else None
            if given[number]:
                self.given[position] = GivenCase(tuple(files), output, given[number], save_probabilities)
                continue
            doubts: tuple[str, ...] = ()
            if self.checked:
                known = len(self.failed)
                with self._telling_of(files):
                    doubts = self._scan(files).doubts
                if len(self.failed) > known:
                    continue
            self.searched.append(_Searched(list(files), output, doubts))
        return (
            [case.files for case in self.searched],
            [case.output for case in self.searched if case.output is not None] if outputs else None,
            [None] * len(self.searched),
        )

    def _prepare_output(
        self,
        inputs: Sequence[Sequence[str]],
        outputs: Sequence[str],
        given: Sequence[Sequence[Nodule]],
        overwrite: bool,
        save_probabilities: bool,
    ) -> list[int]:
        """Checks the output folder; the numbers of the cases that are left to predict."""
        self.output_folder = Path(outputs[0]).parent
        self.output_folder.mkdir(parents=True, exist_ok=True)
        clean_leftovers(self.output_folder)
        own = CasePrediction("", self.plan.schema, (), self.model_facts())
        check_output_folder(self.output_folder, own, [Path(name).name for name in outputs] if overwrite else ())
        todo = list(range(len(outputs)))
        if not overwrite:
            ending = self.dataset_json["file_ending"]
            todo = [
                number for number, name in enumerate(outputs)
                if (save_probabilities and not Path(f"{name}.npz").is_file())
                or not is_finished(inputs[number], name, ending, self.plans_manager, given[number])
            ]  # fmt: skip
            print(f"{len(outputs) - len(todo)} cases are complete, {len(todo)} are left to predict.")
        for number in todo:
            Path(f"{outputs[number]}.json").unlink(missing_ok=True)
        return todo

    def predict_from_data_iterator(self, data_iterator: Iterable[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        return super().predict_from_data_iterator(self._noting_the_case(data_iterator), *args, **kwargs)

    def _noting_the_case(self, data_iterator: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        # nnU-Net hands the cases out in the order of its list.
        for case, item in zip(self.searched, data_iterator, strict=True):
            self._write_waiting()
            self.at_hand = (case, item["data_properties"])
            yield item

    def predict_logits_from_preprocessed_data(self, data: torch.Tensor) -> torch.Tensor:
        """Logits (K, Z, Y, X) of the case at hand; its CASE.json is written when its mask is."""
        assert self.at_hand is not None
        case, properties = self.at_hand
        image = replace(ScanImage.read(case.files, self.plans_manager), doubts=case.doubts)
        try:
            logits, found = self.search(image, np.asarray(data), properties)
        except ValueError as error:
            raise ValueError(f"Case '{self._case_id(case.files)}', model {self.name}: {error}") from error
        if case.output is not None:
            self.waiting.append((case.output, self.case_prediction(Path(case.output).name, image, found)))
        return logits
