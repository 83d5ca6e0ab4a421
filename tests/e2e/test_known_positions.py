"""Given positions: only a region of the scan is preprocessed, and the answer is that of the whole scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dsmt_nnunet.dataloading.context_volumes import coarse_copy
from dsmt_nnunet.dicom.series import read_only_ct
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.inference.given_nodules import GivenCase
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.nodules import Nodule, NoduleTable
from tests.e2e.conftest import Workspace
from tests.unit.dicom.conftest import unpack

TOLERANCE = 0.02
LESIONS_MM = {"GTV-1": (47.4, -2.4, -127.3), "GTV-2": (65.2, -53.0, -57.7), "GTV-3": (-3.8, -36.8, -154.4)}
CONTEXT_REACH_MM = 80.0
PHANTOMS = 8


@pytest.fixture(scope="module")
def phantoms(trained: Workspace) -> Path:
    """A raw data set of a few phantoms."""
    trained.run(f"dsmt convert phantom -d 507 --cases {PHANTOMS} --seed 9 --size 96 -np 1")
    return trained.base / "nnUNet_raw" / "Dataset507_Phantom"


@pytest.fixture(scope="module")
def predictor(trained: Workspace, phantoms: Path) -> Iterator[DSMTPredictor]:
    """The trained model, in full precision: after so few steps its answers differ by little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_extTrainer", trained.variables["nnUNet_extTrainer"])
        patch.setenv("dsmt_precision", "fp32")
        stock = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
        folder = trained.model("DSMTTrainerShort", "DSMTPlansXS")
        stock.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
        yield DSMTPredictor.adopt(stock, None)


def _cases(raw: Path) -> Iterator[GivenCase]:
    for case_id, nodules in NoduleTable.read(raw / "nodules.csv").by_case().items():
        yield GivenCase((str(raw / "imagesTr" / f"{case_id}_0000.nii.gz"),), None, nodules, False)


def _in_whole_scan(predictor: DSMTPredictor, case: GivenCase, voxels_off: tuple[float, ...]) -> np.ndarray:
    """(offsets, nodules, tasks) probability of the last class, from the scan preprocessed whole by nnU-Net."""
    manager, configuration = predictor.plans_manager, predictor.configuration_manager
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(list(case.files), None, manager, configuration, predictor.dataset_json)
    geometry = ArrayGeometry.from_properties(
        properties, manager.transpose_forward, configuration.spacing, data.shape[1:]
    )
    image, image_properties = manager.image_reader_writer_class().read_images(list(case.files))
    context = coarse_copy(image, image_properties, manager.transpose_forward, predictor.plan.context)

    def at(centre: np.ndarray) -> list[float]:
        output = predictor.classifier(data, geometry, context, centre)
        return [float(folds.mean(0)[-1]) for folds in output.fold_probabilities.values()]

    centres = [geometry.to_voxel(nodule.centre_mm) for nodule in case.nodules]
    return np.array([[at(centre + offset) for centre in centres] for offset in voxels_off])


def _at_given_positions(predictor: DSMTPredictor, case: GivenCase) -> np.ndarray:
    """(nodules, tasks), by the way prediction takes."""
    nodules = predictor.answer(ScanImage.read(case.files, predictor.plans_manager), case.nodules).found.nodules
    return np.array([[list(task.probabilities.values())[-1] for task in nodule.tasks.values()] for nodule in nodules])


def _check_agreement(predictor: DSMTPredictor, cases: Sequence[GivenCase]) -> None:
    whole, beside = np.concatenate([_in_whole_scan(predictor, case, (0.0, 1.0)) for case in cases], axis=1)
    given = np.concatenate([_at_given_positions(predictor, case) for case in cases])
    assert np.abs(given - whole).max() <= TOLERANCE
    # A model that says the same of everything would agree with itself anywhere: one voxel off must matter more.
    assert np.abs(given - whole).mean() < 0.1 * np.abs(beside - whole).mean()


def test_phantoms_are_answered_as_from_the_whole_scan(predictor: DSMTPredictor, phantoms: Path) -> None:
    cases = list(_cases(phantoms))
    assert len(cases) == PHANTOMS
    _check_agreement(predictor, cases)


def _around_lesions(scan: sitk.Image) -> sitk.Image:
    """What of a chest the context of the lesions can see: a fifth of it, a scan of its own."""
    places = np.array([scan.TransformPhysicalPointToIndex(position) for position in LESIONS_MM.values()])
    reach = np.ceil(CONTEXT_REACH_MM / np.array(scan.GetSpacing())).astype(int)
    low = np.maximum(places.min(0) - reach, 0)
    high = np.minimum(places.max(0) + reach + 1, scan.GetSize())
    return sitk.RegionOfInterest(scan, (high - low).tolist(), low.tolist())


def test_a_real_chest_is_answered_as_from_the_whole_scan(
    predictor: DSMTPredictor, shared_data: Path, tmp_path: Path
) -> None:
    scan = read_only_ct(unpack(shared_data, "LUNG1-003", tmp_path).path).image
    file = tmp_path / "chest_0000.nii.gz"
    sitk.WriteImage(_around_lesions(scan), str(file))
    nodules = tuple(Nodule("chest", name, "p", position) for name, position in LESIONS_MM.items())
    _check_agreement(predictor, [GivenCase((str(file),), None, nodules, False)])
