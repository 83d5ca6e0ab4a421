"""How a step is computed: mixed precision where the device gains from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PRECISION_VARIABLE = "dsmt_precision"
"""Environment variable: `bf16` or `fp32` on a CPU; unset chooses by what the processor has."""


@dataclass(frozen=True)
class Precision:
    """How forward passes run on a device.

    On a CUDA device nnU-Net's own mixed precision (float16 autocast). On a CPU channels-last memory format, with
    bfloat16 autocast where the processor has AMX or AVX512-BF16 and float32 elsewhere (bfloat16 without channels-last
    is slower than float32).
    """

    device_type: str
    use_bf16: bool
    channels_last: bool

    @classmethod
    def plain(cls) -> Precision:
        """float32 in the usual memory format."""
        return cls("cpu", use_bf16=False, channels_last=False)

    @classmethod
    def choose(cls, device: torch.device) -> Precision:
        """Chooses for a device.

        Raises:
            ValueError: the environment variable has an unknown value.
        """
        wanted = os.environ.get(PRECISION_VARIABLE, "")
        if wanted not in ("", "bf16", "fp32"):
            raise ValueError(f"{PRECISION_VARIABLE} must be 'bf16', 'fp32' or unset, got '{wanted}'.")
        if device.type != "cpu":
            return cls(device.type, use_bf16=False, channels_last=False)
        use_bf16 = wanted == "bf16" or (wanted == "" and cpu_has_bf16())
        return cls("cpu", use_bf16, channels_last=True)

    def prepare(self, network: nn.Module) -> None:
        """Brings a network into the memory format, in place; its state dict stays the same."""
        if not self.channels_last:
            return
        network.to(memory_format=torch.channels_last_3d)
        for module in network.modules():
            if type(module) is nn.InstanceNorm3d and not module.track_running_stats:
                module.__class__ = _ChannelsLastNorm

    def prepare_input(self, tensor: Tensor) -> Tensor:
        """Brings a (B, C, Z, Y, X) batch into the memory format."""
        return tensor.contiguous(memory_format=torch.channels_last_3d) if self.channels_last else tensor

    def __str__(self) -> str:
        if self.device_type != "cpu":
            return "float16 by autocast"
        return f"{'bfloat16' if self.use_bf16 else 'float32'}{', channels last' if self.channels_last else ''}"

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """The context in which to run the forward pass."""
        if self.device_type == "cuda":
            with torch.autocast("cuda", enabled=True):
                yield
        elif self.use_bf16:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                yield
        else:
            yield


class _ChannelsLastNorm(nn.InstanceNorm3d):
    """Instance normalisation that stays in the memory format; what follows it would mix two.

    PyTorch's brings its input into the usual format and back, a fifth of a forward pass. Group normalisation with a
    group a channel is the same and has a kernel for this format, whose backward pass is slow in bfloat16; it adds up in
    float32, so that values of 64 x 64 x 64 voxels differ by some 10^-4.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (B, C, Z, Y, X)."""
        if torch.is_grad_enabled():
            return super().forward(input).contiguous(memory_format=torch.channels_last_3d)
        return nn.functional.group_norm(input, self.num_features, self.weight, self.bias, self.eps)


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AMX or AVX512-BF16)."""
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))
