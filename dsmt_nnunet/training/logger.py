"""nnU-Net's logger with the tasks: one value an epoch for each key, and one page of curves."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from dsmt_nnunet.files import write_bytes

PAUSES = 50
"""After a picture none is drawn for so many times as long as it took: they take 2 % of a training, and not a fifth of a
short one."""


def task_keys(task_names: Sequence[str]) -> list[str]:
    """Keys that are logged for the tasks."""
    keys = [f"{kind}_{name}" for name in task_names for kind in ("train_loss", "val_loss", "val_auc")]
    return [*keys, "train_seg_loss", "selection_score"]


class DSMTLogger(LocalLogger):
    """LocalLogger with the tasks' keys, which also opens the logs of runs that did not have them."""

    def __init__(self, task_names: Sequence[str], primary_task: str, joint_epochs: int) -> None:
        super().__init__()
        self.task_names = tuple(task_names)
        self.primary_task = primary_task
        self.joint_epochs = joint_epochs
        self._next_picture = 0.0
        for key in task_keys(task_names):
            self.my_fantastic_logging[key] = []

    def load_checkpoint(self, checkpoint: Mapping[str, list[float]]) -> None:
        super().load_checkpoint(dict(checkpoint))
        epochs = len(self.my_fantastic_logging["train_losses"])
        for key in task_keys(self.task_names):
            self.my_fantastic_logging.setdefault(key, [math.nan] * epochs)

    def plot_progress_png(self, output_folder: str) -> None:
        """What nnU-Net asks for after each epoch: `draw_progress`, unless it was drawn a moment ago."""
        begun = time.monotonic()
        if begun >= self._next_picture:
            self.draw_progress(output_folder)
            now = time.monotonic()
            self._next_picture = now + PAUSES * (now - begun)

    def draw_progress(self, output_folder: str) -> None:
        """Writes progress.png: losses, Dice, AUC of each task, learning rate and duration against the epoch."""
        log = self.my_fantastic_logging
        epochs = range(min(len(values) for values in log.values()))
        figure, axes = plt.subplots(3, 2, figsize=(14, 12), sharex=True, layout="constrained")
        self._curves(axes[0, 0], {"training": "train_losses", "validation": "val_losses"}, epochs, "total loss")
        self._curves(
            axes[0, 1],
            {"pseudo Dice": "mean_fg_dice", "moving average": "ema_fg_dice"},
            epochs,
            "segmentation: pseudo Dice",
        )
        train = {"segmentation": "train_seg_loss", **{name: f"train_loss_{name}" for name in self.task_names}}
        self._curves(axes[1, 0], train, epochs, "training loss of each part")
        validation = {name: f"val_loss_{name}" for name in self.task_names}
        self._curves(axes[1, 1], validation, epochs, "validation loss of each task")
        aucs = {name: f"val_auc_{name}" for name in self.task_names}
        aucs[f"{self.primary_task}, smoothed"] = "selection_score"
        self._curves(axes[2, 0], aucs, epochs, "validation AUC")
        axes[2, 0].axhline(0.5, color="0.7", linewidth=1)
        axes[2, 0].set_ylim(0, 1.02)
        self._curves(axes[2, 1], {"learning rate": "lrs"}, epochs, "learning rate")
        axes[2, 1].set_yscale("log")
        for axis in axes.flat:
            if 0 < self.joint_epochs < len(epochs):
                axis.axvline(self.joint_epochs - 0.5, color="0.4", linestyle=":", linewidth=1.5)
            axis.grid(alpha=0.3)
        for axis in axes[-1]:
            axis.set_xlabel("epoch (dotted: fine-tuning begins)")
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100)
        write_bytes(Path(output_folder) / "progress.png", stream.getvalue())
        plt.close(figure)

    def _curves(self, axis: Axes, keys: Mapping[str, str], epochs: range, title: str) -> None:
        for label, key in keys.items():
            values = self.my_fantastic_logging[key][: len(epochs)]
            axis.plot(epochs, values, label=label, linewidth=2, marker="." if len(epochs) < 30 else None)
        axis.set_title(title)
        if len(keys) > 1:
            axis.legend(fontsize="small")
