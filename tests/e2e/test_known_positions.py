"""Given positions: only a region of the scan is preprocessed, and the answer is that of the whole scan."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from dsmt_nnunet.dataloading.context_volumes import coarse_copy
from dsmt_nnunet.dataset_conversion.dicom import read_series
from dsmt_nnunet.geometry import ArrayGeometry
from dsmt_nnunet.inference.given_nodules import GivenCase
from dsmt_nnunet.inference.predictor import DSMTPredictor
from dsmt_nnunet.inference.scan_image import ScanImage
from dsmt_nnunet.nodules import Nodule, NoduleTable
from tests.e2e.conftest import Workspace

TOLERANCE = 0.02
CHEST = Path(__file__).parents[3] / "shared" / "data" / "ct-dicom" / "LUNG1-003.tar.gz"
LESIONS_MM = {"GTV-1": (47.4, -2.4, -127.3), "GTV-2": (65.2, -53.0, -57.7), "GTV-3": (-3.8, -36.8, -154.4)}
PHANTOMS = 20


@pytest.fixture(scope="module")
def phantoms(trained: Workspace) -> Path:
    """A raw data set of twenty phantoms."""
    trained.run(f"dsmt convert phantom -d 507 --cases {PHANTOMS} --seed 9 --size 96 -np 2")
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


def _in_whole_scan(predictor: DSMTPredictor, case: GivenCase, voxels_off: float = 0.0) -> np.ndarray:
    """(nodules, tasks) probability of the last class, from the scan preprocessed whole by nnU-Net."""
    manager, configuration = predictor.plans_manager, predictor.configuration_manager
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(list(case.files), None, manager, configuration, predictor.dataset_json)
    geometry = ArrayGeometry.from_properties(
        properties, manager.transpose_forward, configuration.spacing, data.shape[1:]
    )
    image, image_properties = manager.image_reader_writer_class().read_images(list(case.files))
    context = coarse_copy(image, image_properties, manager.transpose_forward, predictor.plan.context)
    answers = []
    for nodule in case.nodules:
        output = predictor.classifier(data, geometry, context, geometry.to_voxel(nodule.centre_mm) + voxels_off)
        answers.append([folds.mean(0)[-1] for folds in output.fold_probabilities.values()])
    return np.array(answers)


def _at_given_positions(predictor: DSMTPredictor, case: GivenCase) -> np.ndarray:
    """(nodules, tasks), by the way prediction takes."""
    nodules = predictor.answer(ScanImage.read(case.files, predictor.plans_manager), case.nodules).found.nodules
    return np.array([[list(task.probabilities.values())[-1] for task in nodule.tasks.values()] for nodule in nodules])


def _check_agreement(predictor: DSMTPredictor, cases: Sequence[GivenCase]) -> None:
    whole = np.concatenate([_in_whole_scan(predictor, case) for case in cases])
    given = np.concatenate([_at_given_positions(predictor, case) for case in cases])
    beside = np.concatenate([_in_whole_scan(predictor, case, voxels_off=1.0) for case in cases])
    assert np.abs(given - whole).max() <= TOLERANCE
    # A model that says the same of everything would agree with itself anywhere: one voxel off must matter more.
    assert np.abs(given - whole).mean() < 0.1 * np.abs(beside - whole).mean()


def test_phantoms_are_answered_as_from_the_whole_scan(predictor: DSMTPredictor, phantoms: Path) -> None:
    cases = list(_cases(phantoms))
    assert len(cases) == PHANTOMS
    _check_agreement(predictor, cases)


@pytest.mark.skipif(not CHEST.is_file(), reason=f"needs the real chest CT {CHEST.name} in shared/data")
def test_a_real_chest_is_answered_as_from_the_whole_scan(predictor: DSMTPredictor, tmp_path: Path) -> None:
    with tarfile.open(CHEST) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = {path.parent for path in tmp_path.rglob("*.dcm")}
    file = tmp_path / "chest_0000.nii.gz"
    sitk.WriteImage(read_series(folder), str(file))
    nodules = tuple(Nodule("chest", name, "p", position) for name, position in LESIONS_MM.items())
    _check_agreement(predictor, [GivenCase((str(file),), None, nodules, False)])
