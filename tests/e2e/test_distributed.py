"""Distributed training, on two processes of a CPU: nnU-Net's own command wants a GPU a process."""

from __future__ import annotations

import json
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed as dist

from dsmt_nnunet.training.epoch_metrics import nodule_aucs
from tests.e2e.conftest import Workspace

RANKS = 2
IMPORTED_ONCE = ["nnunetv2.training.nnUNetTrainer.nnUNetTrainer", "dsmt_nnunet.trainers.dsmt_trainer"]


def train(rank: int, port: int, folder: str, variables: dict[str, str]) -> None:
    """What nnU-Net's command does on each GPU, on a CPU; leaves what the test asks for in `folder`."""
    os.environ.update(variables, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), dsmt_validation="off")
    torch.set_num_threads(1)
    torch.multiprocessing.set_start_method(
        "fork", force=True
    )  # of the loaders' workers, which would import it all again
    dist.init_process_group("gloo", rank=rank, world_size=RANKS)
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as upstream

    # What nnU-Net takes for granted of a distributed training is that it runs on GPUs.
    upstream.DDP = lambda network, device_ids: torch.nn.parallel.DistributedDataParallel(network)
    torch.nn.SyncBatchNorm.convert_sync_batchnorm = staticmethod(lambda network: network)
    from tests.e2e.plugin.short_trainers import DSMTTrainerShort

    base = Path(variables["nnUNet_preprocessed"]) / "Dataset500_Phantom"
    plans, dataset = (json.loads((base / name).read_text()) for name in ("DSMTPlansXS.json", "dataset.json"))
    trainer = DSMTTrainerShort(plans, "3d_fullres", "all", dataset, device=torch.device("cpu"))
    trainer.device = torch.device("cpu")
    seen: dict[str, list[Any]] = {"drawn": [], "validated": []}
    step, end = trainer.train_step, trainer.on_validation_epoch_end
    trainer.train_step = lambda batch: seen["drawn"].append(np.array(batch["nodules"]).tolist()) or step(batch)
    trainer.on_validation_epoch_end = lambda outputs: (
        seen["validated"].append([output["tasks"] for output in outputs]) or end(outputs)
    )
    trainer.run_training()
    content = {
        **seen,
        "weights": {name: value.cpu() for name, value in trainer._bare_network().state_dict().items()},
        "auc": [trainer.logger.get_value(f"val_auc_{task.name}", -1) for task in trainer.dsmt_plan.schema.tasks],
        "tasks": trainer.dsmt_plan.schema.tasks,
        "nodules": len(trainer._nodule_table()),
    }
    Path(folder, f"{rank}.pkl").write_bytes(pickle.dumps(content))
    dist.destroy_process_group()


def test_two_processes_train_one_model_and_measure_it_as_one_process_would(
    workspace: Workspace, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {**workspace.variables, "nnUNet_results": str(tmp_path / "results")}
    # Forks of one process that has imported once.
    torch.multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTED_ONCE)
    torch.multiprocessing.start_processes(train, (port, str(tmp_path), variables), RANKS, start_method="forkserver")
    first, second = (pickle.loads((tmp_path / f"{rank}.pkl").read_bytes()) for rank in range(RANKS))
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name
    joint = 2 * 3
    assert len(first["drawn"]) == len(second["drawn"]) > joint
    assert first["drawn"] != second["drawn"]
    last = [*first["validated"][-1], *second["validated"][-1]]
    assert {index for output in last for index in output["nodules"].tolist()} == set(range(first["nodules"]))
    alone = {index for output in first["validated"][-1] for index in output["nodules"].tolist()}
    assert len(alone) < first["nodules"], "each process asks a part of the nodules"
    of_one_process = nodule_aucs(last, first["tasks"])
    np.testing.assert_allclose(first["auc"], of_one_process)
    np.testing.assert_allclose(second["auc"], of_one_process)
    assert np.isfinite(of_one_process).any()
