"""How far each training of a study is, at a glance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dsmt_nnunet.study.jobs import FAILED, SUBMITTED, WAITING, JobRecord, read_jobs
from dsmt_nnunet.study.runner import FINAL_CHECKPOINT, JOBS_FOLDER, Trainings, name_of

_EPOCH = re.compile(r"^\S+ \S+: Epoch (\d+)\s*$", re.MULTILINE)
_HEADER = ("trainer", "seed", "fold", "state", "log")


def print_status(study: Trainings, trainers: Sequence[str], seeds: Sequence[int]) -> None:
    """Prints a line for each training, those of earlier calls too, and how many are done."""
    pairs = [*study.finished(), *((trainer, seed) for seed in seeds for trainer in trainers)]
    records = read_jobs(study.out / JOBS_FOLDER)
    rows, done = [], 0
    for trainer, seed in dict.fromkeys(pairs):
        for fold in study.folds():
            record = records.get(name_of(trainer, seed, fold))
            state = state_of(study, trainer, seed, fold, record)
            done += state == "done"
            rows.append((trainer, str(seed), str(fold), state, (record.log or "") if record else ""))
    widths = [max(len(row[column]) for row in (_HEADER, *rows)) for column in range(len(_HEADER))]
    for row in (_HEADER, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{done} of {len(rows)} are done.")


def state_of(study: Trainings, trainer: str, seed: int, fold: int, record: JobRecord | None) -> str:
    """In words. What lies on the disk counts; the job's record tells the rest."""
    folder = study.fold_folder(trainer, seed, fold)
    if all(path.is_file() for path in study.made_by(trainer, seed, fold)):
        return "done"
    if record is not None and record.state == FAILED:
        return f"died {record.tries} times"
    told = []
    if record is not None and record.state in (WAITING, SUBMITTED):
        told.append("waits for its turn" if record.state == WAITING else f"job {record.job_id}")
    if (folder / FINAL_CHECKPOINT).is_file():
        told.append("trained, not yet asked")
    elif (epoch := last_epoch(folder)) is not None:
        told.append(f"epoch {epoch}")
    return ", ".join(told) or "not begun"


def last_epoch(folder: Path) -> int | None:
    """The epoch that nnU-Net's newest log of a fold tells last; None where it tells none."""
    logs = sorted(folder.glob("training_log_*.txt"), key=lambda path: path.stat().st_mtime)
    found = _EPOCH.findall(logs[-1].read_text(encoding="utf-8", errors="replace")) if logs else []
    return int(found[-1]) if found else None
