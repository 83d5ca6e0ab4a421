"""`dsmt study` as jobs: on a cluster, one process at a time, and how far they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.cli import study as study_command
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.records import write_json
from dsmt_nnunet.study import data_sets
from dsmt_nnunet.study.jobs import JobRecord, JobsFile
from tests.unit.cli import test_study
from tests.unit.cli.test_study import TRAINERS, run

_environment, calls = test_study._environment, test_study.calls


class Queue:
    """Does in this process what a job does in its own."""

    def __init__(self, *unused: Any) -> None: ...

    def run(self, jobs: Any) -> Iterator[str]:
        for name, job in jobs.items():
            if not job.is_done():
                assert main(job.words[1:]) == 0
            yield name


def test_each_training_of_a_cluster_is_a_job_that_also_asks(
    calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_command, "queue_of", Queue)
    assert run(tmp_path, "--cluster", "local") == 0
    by_jobs = sorted((str(seed), command) for seed, command in calls if not command.endswith(" runs"))
    assert [command for _, command in calls][-1] == "6 runs"
    calls.clear()
    shutil.rmtree(tmp_path / "study")
    assert run(tmp_path) == 0
    assert sorted((str(seed), command) for seed, command in calls if not command.endswith(" runs")) == by_jobs
    calls.clear()
    assert run(tmp_path, "--cluster", "local") == 0
    assert all(command.endswith(" runs") for _, command in calls), "nothing is done twice"


def test_resources_without_a_cluster_are_refused(calls: Any, tmp_path: Path, capsys: Any) -> None:
    for options, told in ((["--gres", "gpu:1"], "gres: asked of SLURM alone"), (["--time", "8h"], "a time limit is M")):
        assert run(tmp_path, *options) == 2
        assert told in capsys.readouterr().err
    assert calls == []


def test_a_study_is_seen_to_by_one_process_at_a_time(calls: Any, tmp_path: Path, capsys: Any) -> None:
    lock = tmp_path / "study/jobs/study.lock"
    holding = "import sys, time; from pathlib import Path; from dsmt_nnunet.study.command_job import alone\n"
    holding += f"with alone(Path({str(lock)!r})): print('held', flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", holding], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    try:
        assert run(tmp_path) == 2
        assert "another process sees to the study" in capsys.readouterr().err
    finally:
        other.kill()
        other.wait()
    assert calls == []


def test_what_a_training_cost_is_told_by_later_calls(calls: Any, tmp_path: Path) -> None:
    run(tmp_path)
    study = data_sets.PhantomTrainings(tmp_path / "study", "XS", 1, {})
    assert study.train("DSMTTrainer", 1, 0)[1:] == (2.0, 1.5)
    (study.fold_folder("DSMTTrainer", 1, 0) / "training_cost.json").write_text('{"minutes": 1.0}')
    with pytest.raises(ValueError, match=r"training_cost.json: .*memory_gb"):
        study.train("DSMTTrainer", 1, 0)


def test_the_status_tells_how_far_each_training_is(calls: Any, tmp_path: Path, capsys: Any) -> None:
    run(tmp_path)
    study = data_sets.PhantomTrainings(tmp_path / "study", "XS", 1, {})
    begun = study.fold_folder("DSMTTrainer", 0, 0)
    (begun / "checkpoint_final.pth").unlink()
    (begun / "training_log_1.txt").write_text("2026-01-01 10:00:00.1: \n2026-01-01 10:00:00.2: Epoch 12 \n")
    (study.answer_folder("DSMTTrainer", 1, 0) / "classification.csv").unlink()
    states = {"DSMTTrainer_seed_0_fold_0": "submitted", "DSMTTrainerNoSigns_seed_1_fold_0": "failed"}
    records = {name: JobRecord(state=state, tries=2, job_id="17", log="l") for name, state in states.items()}
    write_json(JobsFile(jobs=records), tmp_path / "study/jobs/jobs.json")
    capsys.readouterr()
    calls.clear()
    assert run(tmp_path, "--status", "--trainers", *TRAINERS, "DSMTTrainerNoSigns") == 0
    *_, last = lines = capsys.readouterr().out.splitlines()
    told = {tuple(line.split()[:2]): line.split(None, 3)[3] for line in lines if line.startswith("DSMT")}
    assert told["DSMTTrainer", "0"].split("  ")[0] == "job 17, epoch 12"
    assert told["DSMTTrainer", "1"] == "trained, not yet asked"
    assert told["DSMTTrainerNoContext", "0"] == "done"
    assert told["DSMTTrainerNoSigns", "0"] == "not begun"
    assert told["DSMTTrainerNoSigns", "1"].startswith("died 2 times")
    assert last == "2 of 6 are done."
    assert calls == [], "and nothing is done"
