"""Everything between a raw data set and the first training: one function, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
)
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from dsmt_nnunet.dataloading.context_volumes import ContextStore, make_context_volumes, positions_of
from dsmt_nnunet.dataloading.raw_masks import check_scans
from dsmt_nnunet.dataloading.splits import check_classes, check_patients, grouped_splits
from dsmt_nnunet.files import write_json
from dsmt_nnunet.nnunet_files import CaseFiles, NnunetPlans, read_splits
from dsmt_nnunet.nnunet_folders import RawCases, folder_from_environment, read_nodule_table
from dsmt_nnunet.nnunet_folders import dataset_name as named_dataset
from dsmt_nnunet.nnunet_listing import listed_in_this_process
from dsmt_nnunet.nodules import NoduleTable
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.planners.dsmt_planner import PLANNERS
from dsmt_nnunet.planners.fingerprint import NoduleFingerprintExtractor
from dsmt_nnunet.planners.nodule_planning import CONFIGURATION
from dsmt_nnunet.planners.preprocessing import file_times, preprocess_what_is_missing
from dsmt_nnunet.tasks import ClassificationSchema

ALL_CASES = "all"
"""nnU-Net's name of the fold that leaves no case out."""
FINGERPRINT_SOURCES = "dataset_fingerprint_sources.json"


@dataclass(frozen=True)
class Planned:
    """What can be trained.

    Attributes:
        plans_name: of the plans.
        first_fold: the first that can be trained, `ALL_CASES` where none can.
    """

    plans_name: str
    first_fold: str = "0"


def plan_and_preprocess(
    dataset_id: int,
    planner: str = "DSMTPlanner",
    gpu_memory_target_gb: float | None = None,
    target_spacing_mm: Sequence[float] | None = None,
    plans_name: str | None = None,
    processes: int = 1,
    clean: bool = False,
    preprocess: bool = True,
    verify: bool = False,
) -> Planned:
    """Plans and preprocesses a data set; what is already there is kept, unless `clean`.

    Raises:
        ValueError: unknown planner, or a data set that cannot be planned for.
    """
    if planner not in PLANNERS:
        raise ValueError(f"Unknown planner '{planner}'. There are: {', '.join(PLANNERS)}.")
    dataset_name = named_dataset(str(dataset_id))
    raw = folder_from_environment("nnUNet_raw") / dataset_name
    cases = RawCases.of(dataset_name)
    cases.check_complete()
    with listed_in_this_process(raw):
        _extract_fingerprint(dataset_id, dataset_name, processes, verify, clean)
        plans, plans_name = plan_experiment_dataset(
            dataset_id,
            PLANNERS[planner],
            gpu_memory_target_gb,
            overwrite_target_spacing=target_spacing_mm,
            overwrite_plans_name=plans_name,
        )
    plan = DSMTPlan.from_plans(plans)
    table = read_nodule_table(dataset_name, plan.schema)
    if not preprocess:
        return Planned(plans_name)
    configuration = NnunetPlans.parse(plans).configuration(CONFIGURATION)
    folder = folder_from_environment("nnUNet_preprocessed") / dataset_name / configuration.data_identifier
    with listed_in_this_process(raw):
        preprocess_what_is_missing(dataset_id, plans_name, folder, processes, clean)
    dataset = infer_dataset_class(str(folder))(str(folder))
    store = ContextStore.beside(folder, plan.context)
    make_context_volumes(
        dataset, store, cases, PlansManager(plans), list(configuration.spacing_mm), processes,
        positions_of(table),
    )  # fmt: skip
    check_scans({case_id: store.scan_of(case_id) for case_id in dataset.identifiers}, table)
    splits = grouped_splits(table, dataset.identifiers, plan.schema)
    _write_splits(folder.parent / "splits_final.json", splits, table)
    return Planned(plans_name, _first_fold(read_splits(folder.parent / "splits_final.json"), table, plan.schema))


def _first_fold(splits: list[dict[str, list[str]]], table: NoduleTable, schema: ClassificationSchema) -> str:
    """The first fold that shows two classes of the primary task; of each that does not it is printed why."""
    possible = []
    for fold in range(len(splits)):
        try:
            check_classes(splits, fold, table, schema)
            possible.append(str(fold))
        except ValueError as error:
            print(error)
    return next(iter(possible), ALL_CASES)


def _extract_fingerprint(dataset_id: int, dataset_name: str, processes: int, verify: bool, clean: bool) -> None:
    """nnU-Net's fingerprint; made anew where it was made of other files, which nnU-Net does not see."""
    folder = folder_from_environment("nnUNet_preprocessed") / dataset_name
    raw = folder_from_environment("nnUNet_raw") / dataset_name
    found = get_filenames_of_train_images_and_targets(str(raw))
    cases = {name: CaseFiles.parse(files) for name, files in found.items()}
    sources = {name: file_times([*case.images, case.mask]) for name, case in cases.items()}
    noted, fingerprint = folder / FINGERPRINT_SOURCES, folder / "dataset_fingerprint.json"
    known = load_json(str(noted)) if noted.is_file() else None
    if fingerprint.is_file() and known != sources:
        print("The fingerprint was made of other files, or does not tell of which; it is made anew.")
        clean = True
    extract_fingerprint_dataset(
        dataset_id,
        NoduleFingerprintExtractor,
        num_processes=processes,
        check_dataset_integrity=verify,
        clean=clean,
        verbose=False,
    )
    write_json(noted, sources, indent=None)


def _write_splits(path: Path, splits: list[dict[str, list[str]]], table: NoduleTable) -> None:
    """Writes the folds, unless there are some: trained models rest on them.

    Raises:
        ValueError: the folds that are there name other cases, or have a patient on both sides.
    """
    if path.is_file():
        existing = read_splits(path)
        for number in range(len(existing)):
            check_patients(existing, number, table)
        there = {case_id for fold in existing for case_id in (*fold["train"], *fold["val"])}
        wanted = {case_id for fold in splits for case_id in (*fold["train"], *fold["val"])}
        if there != wanted:
            raise ValueError(
                f"{path} was made for other cases: {len(there - wanted)} of its {len(there)} cases are gone and "
                f"{len(wanted - there)} are new. Remove it to have folds made anew; models trained on the old folds "
                f"must not be compared with new ones."
            )
        print(f"{path.name} exists and is kept.")
        return
    write_json(path, splits, indent=4)
