"""A workspace in which nnU-Net's own commands run on tiny phantoms."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

from dsmt_nnunet.cli.commands import WarmCommands
from dsmt_nnunet.environment import FOLDERS, plugin_folder

DATASET_ID = 500
DATASET = "Dataset500_Phantom"
SECONDS_AT_MOST = 900
PLUGIN = Path(__file__).parent / "plugin"


FIRST = ("test_tutorial.py", "test_training.py")
"""The longest, and the one that trains what others wait for: side by side on two cores neither waits."""


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)
    order = {name: number - len(FIRST) for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, 0) if "e2e" in item.path.parts else 1)


@dataclass
class Workspace:
    """nnU-Net's folders and its commands."""

    base: Path
    variables: dict[str, str] = field(default_factory=dict)
    warm: WarmCommands | None = None

    def __post_init__(self) -> None:
        for name in FOLDERS:
            (self.base / name).mkdir(exist_ok=True)
        self.variables = {
            **os.environ,
            **{name: str(self.base / name) for name in FOLDERS},
            "nnUNet_extTrainer": os.pathsep.join([str(plugin_folder()), str(PLUGIN)]),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "1",  # on volumes so small a second thread mostly waits, and is paid for
            "dsmt_seed": "0",
        }

    @property
    def raw(self) -> Path:
        return self.base / "nnUNet_raw" / DATASET

    @property
    def preprocessed(self) -> Path:
        return self.base / "nnUNet_preprocessed" / DATASET

    def model(self, trainer: str, plans: str) -> Path:
        return self.base / "nnUNet_results" / DATASET / f"{trainer}__{plans}__3d_fullres"

    def start(self, command: str, **variables: str) -> subprocess.Popen[str]:
        """Starts a command as a user does, its program taken from this environment; for tests that need a process."""
        program, *arguments = command.split()
        return subprocess.Popen(
            [str(Path(sys.executable).with_name(program)), *arguments],
            cwd=self.base,
            env={**self.variables, **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str, status: int = 0, **variables: str) -> str:
        """Runs a command to its end in a fork that need not import torch again, and returns what it printed."""
        if self.warm is None:
            self.warm = WarmCommands(self.variables, self.base)
        output = self.base / "output.txt"
        ended = self.warm.run(command, output, variables, at_most_s=SECONDS_AT_MOST)
        printed = output.read_text(errors="replace")
        assert ended.status == status, f"{command}\nended with {ended.status}:\n{printed[-4000:]}"
        return printed

    def close(self) -> None:
        """Ends the process that runs commands."""
        if self.warm is not None:
            self.warm.close()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Ten training and three test phantoms, planned and preprocessed with the smallest preset."""
    space = Workspace(tmp_path_factory.mktemp("nnunet"))
    with made_once(tmp_path_factory, "planned") as (made, is_made):
        if is_made:
            shutil.copytree(made, space.base, dirs_exist_ok=True)
        else:
            space.run(f"dsmt convert phantom -d {DATASET_ID} --cases 10 --test-cases 3 --seed 3 --size 64 -np 1")
            space.run(f"dsmt plan -d {DATASET_ID} -pl DSMTPlannerXS -np 1")
            shutil.copytree(space.base, made)
    yield space
    space.close()


@contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that the processes of one run of the tests share, and whether one of them has made it; others wait."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with FileLock(folder.with_suffix(".lock")):
        yield folder, folder.is_dir()


TRAIN = f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr DSMTTrainerShort -p DSMTPlansXS -device cpu"


@pytest.fixture(scope="session")
def trained(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The workspace with fold 0 trained; every test that only needs a model shares it."""
    with made_once(tmp_path_factory, "trained") as (made, is_made):
        if is_made:
            shutil.copytree(made, workspace.base / "nnUNet_results", dirs_exist_ok=True)
        else:
            workspace.run(f"{TRAIN} --npz")
            shutil.copytree(workspace.base / "nnUNet_results", made)
    return workspace


@pytest.fixture(scope="session")
def predict(trained: Workspace) -> Callable[..., Path]:
    """Runs nnUNetv2_predict on the test cases and returns the folder of its output."""

    def run(output: str, *more: str, source: Path | None = None) -> Path:
        trained.run(predict_command(trained, output, *more, source=source))
        return trained.base / output

    return run


@pytest.fixture(scope="session")
def found(predict: Callable[..., Path]) -> Path:
    """Predictions of the test cases, their nodules searched; to be read only."""
    return predict("found", "--save_probabilities")


@pytest.fixture(scope="session")
def scans_with_positions(workspace: Workspace) -> Path:
    """The test images with nodules.csv beside them; to be read only."""
    return with_positions(workspace, "in_positions")


@pytest.fixture(scope="session")
def given(predict: Callable[..., Path], scans_with_positions: Path) -> Path:
    """Predictions of the test cases at their known positions; to be read only."""
    return predict("positions", source=scans_with_positions)


def with_positions(workspace: Workspace, name: str) -> Path:
    """A copy of the test images with nodules.csv beside them."""
    folder = workspace.base / name
    shutil.copytree(workspace.raw / "imagesTs", folder)
    shutil.copy(workspace.raw / "nodulesTs.csv", folder / "nodules.csv")
    return folder


def predict_command(workspace: Workspace, output: str, *more: str, source: Path | None = None) -> str:
    """nnUNetv2_predict in one process, with tiles that do not overlap: an eighth of the work."""
    source = source or workspace.raw / "imagesTs"
    return (
        f"nnUNetv2_predict -i {source} -o {workspace.base / output} -d {DATASET_ID} -c 3d_fullres -f 0 "
        f"-tr DSMTTrainerShort -p DSMTPlansXS -device cpu -step_size 1 -npp 0 -nps 0 {' '.join(more)}"
    )
