"""The score of a sign falls when the sign is taken out of the image: the model looks at it, not beside it.

Pleural retraction alone: bubbles take longer to learn than a test may last. `python -m benchmarks.sign_removal`
measures both on any trained model; its latest table is in benchmarks/results/.
"""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from scipy.stats import wilcoxon

from benchmarks.sign_removal import Removal, removals
from dsmt_nnunet.dataset_conversion.phantom.cohort import draw_cohort
from dsmt_nnunet.inference.predictor import DSMTPredictor
from tests.e2e.conftest import Workspace

DATASET_ID = 508
TRAINING_CASES, UNSEEN_CASES, SIZE = 32, 40, 80


@pytest.fixture(scope="module")
def found(workspace: Workspace) -> dict[str, list[Removal]]:
    """What the removal of each sign does on unseen phantoms to a model that was trained on others."""
    workspace.run(f"dsmt convert phantom -d {DATASET_ID} --cases {TRAINING_CASES} --seed 1 --size {SIZE} -np 2")
    workspace.run(f"dsmt plan -d {DATASET_ID} -pl DSMTPlannerXS -np 2")
    workspace.run(f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr DSMTTrainerRetraction -p DSMTPlansXS -device cpu")
    model = workspace.base / "nnUNet_results" / "Dataset508_Phantom" / "DSMTTrainerRetraction__DSMTPlansXS__3d_fullres"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_extTrainer", workspace.variables["nnUNet_extTrainer"])
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
    own = DSMTPredictor.adopt(predictor, None)
    falls: dict[str, list[Removal]] = defaultdict(list)
    for case in draw_cohort(7, UNSEEN_CASES, "test", SIZE):
        for removal in removals(own, case):
            falls[removal.sign].append(removal)
    return falls


def test_the_score_of_a_removed_retraction_falls(found: dict[str, list[Removal]]) -> None:
    falls = [removal.fall for removal in found["pleural_retraction"]]
    assert wilcoxon(falls, alternative="greater").pvalue < 0.01, falls
