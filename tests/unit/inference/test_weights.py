from __future__ import annotations

from pathlib import Path

import torch

from dsmt_nnunet.inference.weights import checkpoint_files, weights_digest
from tests.unit.inference.small_predictor import predictor


def test_a_digest_survives_a_file_and_the_memory_format_but_no_change(tmp_path: Path) -> None:
    state = predictor().list_of_parameters[0]
    torch.save(state, tmp_path / "weights.pth")
    read = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert weights_digest(read) == weights_digest(state)
    convolution = next(tensor for tensor in read.values() if tensor.dim() == 5)
    changed = {
        name: tensor.to(memory_format=torch.channels_last_3d) if tensor.dim() == 5 else tensor
        for name, tensor in read.items()
    }
    assert weights_digest(changed) == weights_digest(state)
    convolution.view(-1)[0] += 1e-6
    assert weights_digest(read) != weights_digest(state)


def test_the_network_of_a_predictor_has_the_digest_of_its_checkpoint() -> None:
    own = predictor(folds=2)
    assert own.weights == tuple(weights_digest(network.state_dict()) for network in own.networks)
    assert len(set(own.weights)) == 2


def test_checkpoints_are_those_that_nnunet_reads(tmp_path: Path) -> None:
    for fold in ("0", "1", "all"):
        (tmp_path / f"fold_{fold}").mkdir()
        (tmp_path / f"fold_{fold}" / "c.pth").touch()
    assert [path.parent.name for path in checkpoint_files(tmp_path, None, "c.pth")] == ["fold_0", "fold_1"]
    assert [path.parent.name for path in checkpoint_files(tmp_path, ("all",), "c.pth")] == ["fold_all"]
    assert [path.parent.name for path in checkpoint_files(tmp_path, (1, 7), "c.pth")] == ["fold_1"]
