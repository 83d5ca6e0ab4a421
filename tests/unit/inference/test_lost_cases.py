"""Worker processes of nnU-Net that end before their work is done."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.inference.data_iterators import preprocessing_iterator_fromfiles
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.file_path_utilities import check_workers_alive_and_busy

from dsmt_nnunet.inference.folder_run import FolderRun
from dsmt_nnunet.inference.lost_cases import CasesFailed, is_of_workers
from dsmt_nnunet.inference.scan_predictor import ScanPredictor
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.predictions.results import read_folder
from tests.unit.inference.small_predictor import bell, predictor
from tests.unit.small_plans import SCHEMA


@pytest.mark.parametrize(
    "function",
    [preprocessing_iterator_fromfiles, check_workers_alive_and_busy, nnUNetPredictor.predict_from_data_iterator],
)
def test_nnunets_messages_of_dead_workers_are_known(function: Callable[..., Any]) -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    messages = [ast.literal_eval(error.args[0]) for error in raised]
    assert messages
    assert all(is_of_workers(RuntimeError(message)) for message in messages)
    assert not is_of_workers(RuntimeError("CUDA out of memory"))


def dying_after_one(self: FolderRun, data_iterator: Iterable[dict[str, Any]], *_: Any) -> None:
    """What nnU-Net's loop does until a process that writes masks is killed."""
    item = next(iter(data_iterator))
    logits = self.predict_logits_from_preprocessed_data(item["data"]).numpy()
    where = (item["data_properties"], self.configuration_manager, self.plans_manager, self.dataset_json, item["ofile"])
    export_prediction_from_logits(logits, *where)
    raise RuntimeError("Some background workers are no longer alive")


def one_by_one(
    self: FolderRun, files: list[list[str]], _: Any, outputs: list[str], __: int
) -> Iterator[dict[str, Any]]:
    for case, output in zip(files, outputs, strict=True):
        data, properties = self.preprocessed(self._scan(case))
        yield {"data": torch.from_numpy(data), "data_properties": properties, "ofile": output}


def test_what_no_worker_reached_is_listed_and_the_rest_is_done(
    scans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, world = scans
    shutil.copy(source / "a_0000.nii.gz", source / "c_0000.nii.gz")
    NoduleTable((Nodule("c", "1", "p", world),)).write(source / "nodules.csv", SCHEMA)
    monkeypatch.setattr(ScanPredictor, "_segment", lambda self, data, region=None: bell(data))
    monkeypatch.setattr(FolderRun, "_internal_get_data_iterator_from_lists_of_filenames", one_by_one)
    monkeypatch.setattr(nnUNetPredictor, "predict_from_data_iterator", dying_after_one)
    with pytest.raises(CasesFailed) as caught:
        predictor().predict_from_files(str(source), str(tmp_path / "out"))
    head, reason, advice = str(caught.value).splitlines()
    assert head.startswith("1 of 3 cases")
    assert reason == "  b: not reached, since a worker process ended"
    assert "-npp 1 -nps 1" in advice
    assert [case.case_id for case in read_folder(tmp_path / "out")] == ["a", "c"]
    assert len((tmp_path / "out" / "classification.csv").read_text().splitlines()) == 3
