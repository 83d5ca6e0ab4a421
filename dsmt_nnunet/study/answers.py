"""What a trained fold says of cases that it has not seen, in their preprocessed form: seconds for hundreds of cases."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

from dsmt_nnunet.dataloading.context_volumes import ContextStore
from dsmt_nnunet.evaluation.dice import dice_score
from dsmt_nnunet.file_stamps import note_files, note_fits
from dsmt_nnunet.files import write_rows
from dsmt_nnunet.inference.given_nodules import paste_patches
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.inference.preprocessed_cases import PreprocessedCases
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.predictions.results import write_case
from dsmt_nnunet.predictions.table import CLASSIFICATION_TABLE_NAME, write_table

DICE_TABLE_NAME = "dice.csv"
NOTE_NAME = "answered_from.json"
"""Names the files that answers were made from, by content."""


@dataclass(frozen=True)
class UnseenCases:
    """Preprocessed cases and the table of their nodules.

    Attributes:
        folder: nnU-Net's preprocessed cases, their context volumes beside it.
        table: nodules.csv or nodulesTs.csv.
        case_ids: which of them.
    """

    folder: Path
    table: Path
    case_ids: tuple[str, ...]


def answers(fold: Path, checkpoint: str, unseen: UnseenCases, out: Path, device: str) -> None:
    """`answer`, unless the folder holds the answers of this checkpoint to these very cases; arguments as there."""
    cases = [path for case_id in unseen.case_ids for path in unseen.folder.glob(f"{case_id}.*")]
    sources = [path for path in (fold / checkpoint, fold.parent / "plans.json", unseen.table, *cases) if path.is_file()]
    note, table = out / NOTE_NAME, out / CLASSIFICATION_TABLE_NAME
    if table.is_file() and note_fits(note, sources):
        return
    shutil.rmtree(out, ignore_errors=True)
    answer(fold, checkpoint, unseen, out, device)
    note_files(note, sources)


def answer(fold: Path, checkpoint: str, unseen: UnseenCases, out: Path, device: str) -> None:
    """Writes CASE.json of each case, dice.csv (in voxels of the network) and, last, classification.csv.

    The nodules are given; no mask is written.

    Args:
        fold: folder of a trained fold.
        checkpoint: file in it.
        unseen: what is asked.
        out: folder, made if need be.
        device: cuda, mps or cpu.
    """
    out.mkdir(parents=True, exist_ok=True)
    predictor = nnUNetPredictor(device=torch.device(device), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(fold.parent), (int(fold.name.split("_")[1]),), checkpoint)
    adopted = DSMTPredictor.adopt(predictor, None)
    plan, folder = adopted.plan, str(unseen.folder)
    dataset = infer_dataset_class(folder)(folder, list(unseen.case_ids))
    cases = PreprocessedCases(
        dataset, ContextStore.beside(folder, plan.context), NoduleTable.read(unseen.table, plan.schema)
    )
    predictions, dice = [], {}
    for prediction, outputs in cases.classify(adopted.classifier, unseen.case_ids, {"checkpoint": checkpoint}):
        write_case(prediction, out / f"{prediction.case_id}.json")
        predictions.append(prediction)
        if outputs:
            reference = np.asarray(dataset.load_case(prediction.case_id)[1][0]) > 0
            mask = paste_patches(outputs, reference.shape).argmax(0) > 0
            dice[prediction.case_id] = dice_score(reference, mask)
    write_rows(out / DICE_TABLE_NAME, [("case_id", "dice"), *dice.items()], line_end="\n")
    write_table(predictions, out / CLASSIFICATION_TABLE_NAME)


def mean_dice(folders: Sequence[Path], case_ids: frozenset[str]) -> float:
    """Mean Dice of cases, from the dice.csv of answered folders; NaN where none is told."""
    found = {}
    for folder in folders:
        with (folder / DICE_TABLE_NAME).open(newline="", encoding="utf-8") as stream:
            found.update({row["case_id"]: float(row["dice"]) for row in csv.DictReader(stream)})
    values = [found[case_id] for case_id in case_ids if case_id in found]
    return float(np.mean(values)) if values else float("nan")
