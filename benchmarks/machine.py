"""What every benchmark shares: where it runs, and the data it runs on."""

from __future__ import annotations

import os
import platform
import statistics
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from threadpoolctl import threadpool_limits

from dsmt_nnunet import __version__
from dsmt_nnunet.architecture.precision import Precision, cpu_has_bf16
from dsmt_nnunet.dataset_conversion.phantom.cohort import draw_cohort
from dsmt_nnunet.dataset_conversion.phantom.render import render_case
from dsmt_nnunet.dicom.series import read_only_ct

TEST_DATA = Path(os.environ.get("DSMT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL_CHEST = TEST_DATA / "ct-dicom" / "LUNG1-003.tar.gz"
LESION_MM = (-3.8, -36.8, -154.4)
"""Of the smallest lesion of the real chest, GTV-3."""


@dataclass(frozen=True)
class Ratio:
    """One line of the table.

    Attributes:
        what: is measured.
        ours, theirs: as printed, with units.
        ratio: as printed.
        goal: the figure to reach.
    """

    what: str
    ours: str
    theirs: str
    ratio: str
    goal: str

    def row(self) -> str:
        return f"| {self.what} | {self.ours} | {self.theirs} | {self.ratio} | {self.goal} |"


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def description() -> str:
    """The machine and the versions, in a sentence."""
    where = device()
    machine = torch.cuda.get_device_name() if where.type == "cuda" else f"one thread of {_processor()}"
    versions = f"dsmt-nnunet {__version__}, nnunetv2 {metadata.version('nnunetv2')}, torch {torch.__version__}"
    return f"{date.today()}, {versions}, {machine}; ours in {Precision.choose(where)}, stock in its own precision."


def _processor() -> str:
    """Its type, and what of it matters here."""
    told = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in _lines(told) if line.startswith("model name")]
    has = "with" if cpu_has_bf16() else "without"
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {has} bfloat16"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def clock() -> float:
    """Seconds: on a CPU of this process's own work, in which neighbours do not count; on a GPU, once it is done."""
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def one_thread() -> Iterator[None]:
    """Work on a CPU in a single thread, so that its processor time is the time it takes on an idle core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def medians(functions: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each function, see `in_turn`."""
    return {name: statistics.median(values) for name, values in in_turn(functions, repeats, warm_up).items()}


def in_turn(functions: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds (`clock`) of each call of each function, the functions taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + warm_up):
        for name, function in functions.items():
            start = clock()
            function()
            if turn >= warm_up:
                seconds[name].append(clock() - start)
    return seconds


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
    # Unlike getrusage this does not inherit the parent's peak.
    peaks = [line for line in _lines(Path("/proc/self/status")) if line.startswith("VmHWM")]
    if peaks:
        return int(peaks[0].split()[1]) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def noisy_lung(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """(1, Z, Y, X) float32 that compresses about as CT does: smooth structure and noise, normalised."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(size=[-(-n // 16) for n in shape]).astype(np.float32)
    smooth = coarse.repeat(16, 0).repeat(16, 1).repeat(16, 2)[tuple(slice(0, n) for n in shape)]
    return (smooth + 0.1 * generator.normal(size=tuple(shape)).astype(np.float32))[None]
