"""nnU-Net's preprocessing, resumable: cases that are done are not done again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from dsmt_nnunet.dataloading.context_volumes import ContextStore, make_context_volumes
from dsmt_nnunet.files import write_json
from dsmt_nnunet.nnunet_files import CaseFiles, DatasetJson, Json, NnunetPlans
from dsmt_nnunet.nnunet_folders import RawCases, folder_from_environment
from dsmt_nnunet.nnunet_listing import listed_in_this_process
from dsmt_nnunet.parallel import in_processes
from dsmt_nnunet.plan import DSMTPlan
from dsmt_nnunet.planners.nodule_planning import CONFIGURATION

_DECISIVE = (
    *("preprocessor_name", "spacing", "patch_size", "normalization_schemes", "use_mask_for_norm"),
    *("resampling_fn_data", "resampling_fn_data_kwargs", "resampling_fn_seg", "resampling_fn_seg_kwargs"),
)
"""What of a configuration decides how a case is preprocessed; the patch size decides the layout on disk."""


@dataclass(frozen=True)
class Recipe:
    """How the cases of a folder were preprocessed, and from which files.

    Attributes:
        recipe: what of the plans decides it.
        sources: size and time of change of each file of a case.
    """

    recipe: Json
    sources: Mapping[str, list[list[int]]]

    @classmethod
    def read(cls, path: Path) -> Recipe | None:
        """None where there is none, or none that this release can compare with its own."""
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return cls(**content) if set(content) == {"recipe", "sources"} else None

    def write(self, path: Path) -> None:
        write_json(path, asdict(self), indent=None)


def check_preprocessed(folder: Path, plans: Json, raw: Path | None) -> str:
    """Checks that the cases of a folder were preprocessed with these plans and from the files that there are.

    Args:
        folder: of the configuration's preprocessed cases; without a recipe, as nnU-Net leaves it, nothing is checked.
        plans: of the training.
        raw: folder of the raw data set; None where it is not at hand.

    Returns:
        What is doubtful, "" where nothing is.

    Raises:
        ValueError: the plans or the size of files have changed since.
    """
    path = folder.with_name(f"{folder.name}_recipe.json")
    known = Recipe.read(path)
    if known is None:
        return ""
    again = (
        f"Run 'dsmt plan' again, which preprocesses what has changed. (Where nnUNetv2_preprocess did, remove "
        f"{path.name}.)"
    )
    now = _recipe(NnunetPlans.parse(plans))
    if changed := sorted(key for key in now.keys() | known.recipe.keys() if now.get(key) != known.recipe.get(key)):
        raise ValueError(f"{folder} was preprocessed with other plans: they differ in {', '.join(changed)}. {again}")
    if raw is None or not (raw / "dataset.json").is_file():
        return ""
    sources = _sources(_training_cases(raw))
    both = sorted(known.sources.keys() & sources.keys())
    others = [name for name in both if [size for size, _ in sources[name]] != [size for size, _ in known.sources[name]]]
    if others:
        raise ValueError(
            f"The image or mask of {len(others)} cases is another than was preprocessed: {', '.join(others[:10])}. "
            f"{again}"
        )
    newer = [name for name in both if sources[name] != known.sources[name]]
    if not newer:
        return ""
    return (
        f"The files of {len(newer)} cases ({', '.join(newer[:10])}) in {raw.name} have another time of change than "
        f"when they were preprocessed. If they were edited: {again}"
    )


def preprocess_what_is_missing(
    dataset_id: int, plans_name: str, folder: Path, processes: int = 1, clean: bool = False
) -> int:
    """Preprocesses the cases that are not there yet, or whose files or plans have changed.

    `<data_identifier>_recipe.json` beside the folder says how and from which files the cases were made.

    Args:
        dataset_id: of the data set.
        plans_name: of its plans.
        folder: of the configuration's preprocessed cases.
        processes: workers.
        clean: do everything anew.

    Returns:
        How many cases were preprocessed.
    """
    raw = folder_from_environment("nnUNet_raw") / folder.parent.name
    plans = NnunetPlans.read(folder.parent / f"{plans_name}.json")
    dataset_json = DatasetJson.read(raw / "dataset.json")
    cases = _training_cases(raw)
    missing = _take_away_what_changed(folder, cases, plans, clean)
    if len(missing) < len(cases):
        print(f"{len(cases) - len(missing)} of {len(cases)} cases are preprocessed already.")
    folder.mkdir(parents=True, exist_ok=True)
    _run(missing, cases, folder, plans.content, dataset_json.content, processes)
    # Without a configuration nnU-Net only copies the reference masks.
    preprocess_dataset(dataset_id, plans_name, (), num_processes=[])
    return len(missing)


def preprocess_test_cases(raw: Path, preprocessed: Path, plans_name: str, processes: int = 1) -> Path:
    """Preprocesses the test cases like the training cases, with their context volumes; what is there is kept.

    Args:
        raw: folder of the raw data set, with imagesTs and labelsTs.
        preprocessed: folder of the preprocessed data set, with the plans.
        plans_name: of the plans.
        processes: workers.

    Returns:
        `<data_identifier>_test`, the folder of the preprocessed test cases.
    """
    plans = NnunetPlans.read(preprocessed / f"{plans_name}.json")
    dataset_json = DatasetJson.read(raw / "dataset.json")
    ending = dataset_json.file_ending
    channels = range(len(dataset_json.channel_names))
    names = [file.name.removesuffix(ending) for file in sorted((raw / "labelsTs").glob(f"*{ending}"))]
    images = {name: [str(raw / "imagesTs" / f"{name}_{channel:04d}{ending}") for channel in channels] for name in names}
    configuration = plans.configuration(CONFIGURATION)
    folder = preprocessed / f"{configuration.data_identifier}_test"
    cases = {name: CaseFiles(tuple(images[name]), str(raw / "labelsTs" / f"{name}{ending}")) for name in names}
    missing = _take_away_what_changed(folder, cases, plans)
    folder.mkdir(exist_ok=True)
    _run(missing, cases, folder, plans.content, dataset_json.content, processes)
    make_context_volumes(
        infer_dataset_class(str(folder))(str(folder)),
        ContextStore.beside(folder, DSMTPlan.from_plans(plans.content).context),
        RawCases(images),
        PlansManager(plans.content),
        list(configuration.spacing_mm),
        processes,
    )
    return folder


def _take_away_what_changed(
    folder: Path, cases: Mapping[str, CaseFiles], plans: NnunetPlans, clean: bool = False
) -> list[str]:
    """Removes preprocessed cases whose files or plans are others than they were made of; the cases to preprocess."""
    recipe = _recipe(plans)
    sources = _sources(cases)
    path = folder.with_name(f"{folder.name}_recipe.json")
    before = None if clean else Recipe.read(path)
    if before is None or before.recipe != recipe:
        shutil.rmtree(folder, ignore_errors=True)
        before = None
    done = {file.stem for file in folder.glob("*.pkl")}
    for name in done - set(cases):
        _remove(folder, name)
    known = {} if before is None else before.sources
    missing = [name for name in cases if name not in done or known.get(name) != sources[name]]
    for name in missing:
        _remove(folder, name)
    # Only now: an interruption before must not leave old cases that pass for new ones.
    Recipe(recipe, sources).write(path)
    return missing


def _training_cases(raw: Path) -> dict[str, CaseFiles]:
    dataset_json = dict(DatasetJson.read(raw / "dataset.json").content)
    with listed_in_this_process(raw):
        found = get_filenames_of_train_images_and_targets(str(raw), dataset_json)
    return {name: CaseFiles.parse(files) for name, files in found.items()}


def _sources(cases: Mapping[str, CaseFiles]) -> dict[str, list[list[int]]]:
    return {name: file_times([*case.images, case.mask]) for name, case in cases.items()}


def _recipe(plans: NnunetPlans) -> dict[str, object]:
    configuration = plans.configuration(CONFIGURATION).content
    recipe: dict[str, object] = {key: configuration.get(key) for key in _DECISIVE}
    recipe["transpose_forward"] = plans.content["transpose_forward"]
    recipe["intensities"] = plans.content["foreground_intensity_properties_per_channel"]
    normalised: dict[str, object] = json.loads(json.dumps(recipe))
    return normalised


def file_times(files: Sequence[str]) -> list[list[int]]:
    """Size and time of change of each file."""
    return [[Path(file).stat().st_size, Path(file).stat().st_mtime_ns] for file in files]


def _remove(folder: Path, case_id: str) -> None:
    """Takes a case away, the files that tell it is complete first; its context volume too, made of the same images."""
    for name in (f"{case_id}.pkl", f"{case_id}.b2nd", f"{case_id}_seg.b2nd"):
        (folder / name).unlink(missing_ok=True)
    ContextStore.forget(folder, case_id)


def _run(
    missing: Sequence[str],
    cases: Mapping[str, CaseFiles],
    folder: Path,
    plans: Json,
    dataset_json: Json,
    processes: int,
) -> None:
    jobs = [(str(folder / name), list(cases[name].images), cases[name].mask, plans, dataset_json) for name in missing]
    in_processes(_preprocess_case, jobs, processes, "Preprocessing cases")


def _preprocess_case(output: str, images: list[str], label: str, plans: Json, dataset_json: Json) -> None:
    manager = PlansManager(plans)
    configuration = manager.get_configuration(CONFIGURATION)
    preprocessor = configuration.preprocessor_class(verbose=False)
    preprocessor.run_case_save(output, images, label, manager, configuration, dataset_json)
