from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dsmt_nnunet.architecture.precision import Precision

FLOAT32 = Precision("cpu", use_bf16=False, channels_last=True)
LAST = torch.channels_last_3d


def normalisation(affine: bool = True) -> nn.InstanceNorm3d:
    own = nn.InstanceNorm3d(5, affine=affine, eps=1e-3)
    if affine:
        nn.init.normal_(own.weight)
        nn.init.normal_(own.bias)
    return own


def features(scale: float = 3.0) -> Tensor:
    """(2, 5, 6, 7, 8), channels last, each channel about a mean of its own."""
    return (scale * torch.randn(2, 5, 6, 7, 8) + torch.arange(5.0)[:, None, None, None]).contiguous(memory_format=LAST)


@pytest.mark.parametrize("affine", [True, False])
def test_normalisation_is_the_same_in_the_memory_format(affine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    own, x = normalisation(affine), features()
    expected = own(x)
    FLOAT32.prepare(own)
    learning = own(x)
    torch.testing.assert_close(learning, expected, rtol=0, atol=0)
    monkeypatch.setattr(nn.functional, "instance_norm", lambda *_, **__: pytest.fail("it copies its input"))
    with torch.inference_mode():
        answering = own(x)
    torch.testing.assert_close(answering, expected, rtol=0, atol=1e-5)
    assert learning.is_contiguous(memory_format=LAST)
    assert answering.is_contiguous(memory_format=LAST)


def test_values_far_from_zero_are_normalised_as_well() -> None:
    own = normalisation()
    x = (torch.randn(1, 5, 32, 32, 32) + 3).contiguous(memory_format=LAST)
    expected = own(x)
    FLOAT32.prepare(own)
    with torch.inference_mode():
        torch.testing.assert_close(own(x), expected, rtol=0, atol=2e-3)


def test_preparing_changes_neither_weights_nor_other_normalisations() -> None:
    running = nn.InstanceNorm3d(5, track_running_stats=True)
    network = nn.Sequential(normalisation(), running)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    FLOAT32.prepare(network)
    FLOAT32.prepare(network)
    assert type(network[1]) is nn.InstanceNorm3d
    assert isinstance(network[0], nn.InstanceNorm3d)
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
    with torch.inference_mode(), Precision("cpu", use_bf16=True, channels_last=True).autocast():
        assert network[0](features().bfloat16()).dtype == torch.bfloat16
