"""A workspace in which nnU-Net's own commands run on tiny phantoms."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dsmt_nnunet.environment import FOLDERS, plugin_folder

DATASET_ID = 500
DATASET = "Dataset500_Phantom"
PLUGIN = Path(__file__).parent / "plugin"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)


@dataclass
class Workspace:
    """nnU-Net's folders and its commands."""

    base: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in FOLDERS:
            (self.base / name).mkdir(exist_ok=True)
        self.variables = {
            **os.environ,
            **{name: str(self.base / name) for name in FOLDERS},
            "nnUNet_extTrainer": os.pathsep.join([str(plugin_folder()), str(PLUGIN)]),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "2",
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

    def start(self, command: str) -> subprocess.Popen[str]:
        """Starts a command, its program taken from this environment."""
        program, *arguments = command.split()
        return subprocess.Popen(
            [str(Path(sys.executable).with_name(program)), *arguments],
            cwd=self.base,
            env=self.variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str, status: int = 0) -> str:
        """Runs a command to its end and returns what it printed."""
        process = self.start(command)
        output, _ = process.communicate(timeout=900)
        assert process.returncode == status, f"{command}\nended with {process.returncode}:\n{output[-4000:]}"
        return output


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Ten training and three test phantoms, planned and preprocessed with the smallest preset."""
    space = Workspace(tmp_path_factory.mktemp("nnunet"))
    space.run(f"dsmt convert phantom -d {DATASET_ID} --cases 10 --test-cases 3 --seed 3 --size 64 -np 2")
    space.run(f"dsmt plan -d {DATASET_ID} -pl DSMTPlannerXS -np 1")
    return space


TRAIN = f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr DSMTTrainerShort -p DSMTPlansXS -device cpu"


@pytest.fixture(scope="session")
def trained(workspace: Workspace) -> Workspace:
    """The workspace with fold 0 trained."""
    workspace.run(f"{TRAIN} --npz")
    return workspace


@pytest.fixture(scope="session")
def predict(trained: Workspace) -> Callable[..., str]:
    """Runs nnUNetv2_predict on the test cases."""

    def run(output: str, *more: str, source: Path | None = None) -> str:
        return trained.run(predict_command(trained, output, *more, source=source))

    return run


def predict_command(workspace: Workspace, output: str, *more: str, source: Path | None = None) -> str:
    source = source or workspace.raw / "imagesTs"
    return (
        f"nnUNetv2_predict -i {source} -o {workspace.base / output} -d {DATASET_ID} -c 3d_fullres -f 0 "
        f"-tr DSMTTrainerShort -p DSMTPlansXS -device cpu -npp 1 -nps 1 {' '.join(more)}"
    )
