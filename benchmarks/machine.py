"""What every benchmark shares: where it runs, and the data it runs on."""

from __future__ import annotations

import os
import platform
import statistics
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from dsmt_nnunet import __version__
from dsmt_nnunet.architecture.precision import Precision
from dsmt_nnunet.dataset_conversion.phantom.cohort import draw_cohort
from dsmt_nnunet.dataset_conversion.phantom.render import render_case
from dsmt_nnunet.dicom.series import read_only_ct

REAL_CHEST = Path(__file__).parents[2] / "shared" / "data" / "ct-dicom" / "LUNG1-003.tar.gz"
LESION_MM = (-3.8, -36.8, -154.4)
"""Of the smallest lesion of the real chest, GTV-3."""


@dataclass(frozen=True)
class Ratio:
    """One line of the table.

    Attributes:
        what: is measured.
        ours, theirs: as printed, with units.
        ratio: as printed.
        wanted: the figure to reach.
    """

    what: str
    ours: str
    theirs: str
    ratio: str
    wanted: str

    def row(self) -> str:
        return f"| {self.what} | {self.ours} | {self.theirs} | {self.ratio} | {self.wanted} |"


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def description() -> str:
    """The machine and the versions, in a sentence."""
    where = device()
    machine = torch.cuda.get_device_name() if where.type == "cuda" else f"{os.cpu_count()} cores, {platform.machine()}"
    versions = f"dsmt-nnunet {__version__}, torch {torch.__version__}"
    return f"{date.today()}, {versions}, {machine}; ours in {Precision.choose(where)}."


def synchronize() -> None:
    """Waits for the device, so that the clock sees all of the work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def medians(functions: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each function, the functions taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + warm_up):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            synchronize()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def chest(folder: Path) -> tuple[Path, Sequence[float], str]:
    """A whole chest as NIfTI, the position of a lesion in it, and what it is.

    The real one where it is at hand, otherwise a phantom of the same size.
    """
    file = folder / "chest_0000.nii.gz"
    if REAL_CHEST.is_file():
        with tarfile.open(REAL_CHEST) as archive:
            archive.extractall(folder, filter="data")
        (series,) = {path.parent for path in folder.rglob("*.dcm")}
        sitk.WriteImage(read_only_ct(series).image, str(file))
        return file, LESION_MM, "real chest CT, 512 x 512 x 107"
    drawn = render_case(draw_cohort(seed=0, cases=1)[0])
    small = drawn.image()
    grid = sitk.Image((512, 512, 107), sitk.sitkInt16)
    grid.SetSpacing((0.977, 0.977, 3.0))
    grid.SetOrigin(small.GetOrigin())
    image = sitk.Resample(small, grid, sitk.Transform(), sitk.sitkLinear, -1000.0)
    sitk.WriteImage(image, str(file))
    return file, drawn.centre_mm(1), "phantom in a scan of 512 x 512 x 107"


def peak_memory_gb() -> float:
    """Of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Unlike getrusage this does not inherit the parent's peak.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def noisy_lung(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """(1, Z, Y, X) float32 that compresses about as CT does: smooth structure and noise, normalised."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(size=[-(-n // 16) for n in shape]).astype(np.float32)
    smooth = coarse.repeat(16, 0).repeat(16, 1).repeat(16, 2)[tuple(slice(0, n) for n in shape)]
    return (smooth + 0.1 * generator.normal(size=tuple(shape)).astype(np.float32))[None]
