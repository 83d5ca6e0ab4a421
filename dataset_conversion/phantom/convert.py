"""Writing a phantom cohort as an nnU-Net raw data set."""

from __future__ import annotations

import csv
import io
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from dsmt_nnunet.dataset_conversion.phantom.acquisition import REFERENCE_SIZE
from dsmt_nnunet.dataset_conversion.phantom.cohort import SCHEMA, PhantomCase, draw_cohort
from dsmt_nnunet.dataset_conversion.phantom.model import FEATURES, ceilings
from dsmt_nnunet.dataset_conversion.phantom.render import RenderedCase, render_case
from dsmt_nnunet.dataset_conversion.raw_dataset import RawDatasetWriter, Split
from dsmt_nnunet.nodules import Nodule

TRUTH_TABLE_NAME = "phantom_truth.csv"


def convert_phantom(
    dataset_id: int,
    name: str = "Phantom",
    cases: int = 48,
    test_cases: int = 0,
    external_cases: int = 0,
    seed: int = 1,
    raw_folder: Path | None = None,
    size: int = REFERENCE_SIZE,
    overwrite: bool = False,
    processes: int = 1,
) -> Path:
    """Writes a phantom cohort with its nodule tables and the truth behind them (`phantom_truth.csv`).

    Args:
        dataset_id: 1 to 999.
        name: of the data set.
        cases: training cases, protocols A and B.
        test_cases: cases held out, protocols A and B.
        external_cases: cases held out, protocol C.
        seed: of the cohort; case i is the same however many cases there are.
        raw_folder: where data sets live; by default the environment variable nnUNet_raw.
        size: in-plane size in voxels; the field of view stays the same.
        overwrite: replace a data set of the same id and name.
        processes: that render at the same time.

    Returns:
        The folder of the data set.

    Raises:
        ValueError: a number out of range, or nnUNet_raw is needed and not set.
        FileExistsError: the data set exists and `overwrite` is off.
    """
    counts = {"train": cases, "test": test_cases, "external": external_cases}
    if cases < 1 or min(counts.values()) < 0:
        raise ValueError(f"A phantom cohort needs at least one training case and no negative numbers, got {counts}.")
    if processes < 1 or seed < 0:
        raise ValueError(f"processes must be at least 1 and seed at least 0, got {processes} and {seed}.")
    cohort = [case for group, count in counts.items() for case in draw_cohort(seed, count, group, size)]
    description = {
        "description": "Computed phantoms of the chest, not patients.",
        "phantom": {"seed": seed, "size": size, "cases": counts, "auc_ceilings": _rounded_ceilings()},
    }
    with RawDatasetWriter(dataset_id, name, SCHEMA, raw_folder, overwrite, description) as writer:
        progress = tqdm(
            _rendered(cohort, processes), total=len(cohort), desc="phantoms", unit="case", disable=not _on_terminal()
        )
        for case, rendered in progress:
            split: Split = "train" if case.group == "train" else "test"
            writer.add_case(case.case_id, rendered.image(), rendered.mask(), nodule_rows(case, rendered), split)
        writer.add_file(TRUTH_TABLE_NAME, truth_table(cohort))
    return writer.folder


def nodule_rows(case: PhantomCase, rendered: RenderedCase) -> list[Nodule]:
    """The rows of a case in the nodule table: positions and diameters are those of the mask."""
    return [
        Nodule(
            case_id=case.case_id,
            nodule_id=str(number),
            patient_id=case.patient_id,
            centre_mm=rendered.centre_mm(number),
            diameter_mm=rendered.diameter_mm(number),
            labels=features.labels,
            extra={"cohort": case.cohort, "protocol": case.protocol},
        )
        for number, features in enumerate(case.nodules, start=1)
    ]


def truth_table(cohort: Sequence[PhantomCase]) -> str:
    """CSV text with the drawn features, the true probability and the complete labels of every nodule."""
    stream = io.StringIO()
    names = [feature.name for feature in FEATURES]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            "case_id",
            "nodule_id",
            "patient_id",
            "group",
            "protocol",
            *names,
            "spiculation",
            "true_probability",
            "invasive",
        ]
    )
    for case in cohort:
        for number, features in enumerate(case.nodules, start=1):
            values = {**asdict(features), "haze": case.haze, "scarring": case.scarring}
            writer.writerow(
                [
                    case.case_id,
                    number,
                    case.patient_id,
                    case.group,
                    case.protocol,
                    *(f"{float(values[name]):.4f}" for name in [*names, "spiculation", "true_probability"]),
                    int(features.invasive),
                ]
            )
    return stream.getvalue()


def _rounded_ceilings() -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(ceilings()).items()}


def _rendered(cohort: Sequence[PhantomCase], processes: int) -> Iterator[tuple[PhantomCase, RenderedCase]]:
    """Renders cases in order; with several processes at most two cases a process lie waiting."""
    if processes == 1:
        for case in cohort:
            yield case, render_case(case)
        return
    remaining = iter(cohort)
    waiting: deque[tuple[PhantomCase, Future[RenderedCase]]] = deque()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for case in islice(remaining, 2 * processes):
            waiting.append((case, pool.submit(render_case, case)))
        while waiting:
            case, future = waiting.popleft()
            rendered = future.result()
            for following in islice(remaining, 1):
                waiting.append((following, pool.submit(render_case, following)))
            yield case, rendered


def _on_terminal() -> bool:
    return sys.stderr.isatty()
