from __future__ import annotations

import os
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import pytest

from dsmt_nnunet import parallel
from dsmt_nnunet.parallel import in_processes


@pytest.fixture
def workers_start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first job, however short the others are."""
    monkeypatch.setattr(parallel, "WORKERS_START_S", -1.0)


def test_results_come_in_the_order_of_the_jobs() -> None:
    assert in_processes(pow, [(2, 3), (3, 2)], 1, "Powers") == [8, 9]


def test_short_jobs_need_no_workers_and_long_ones_get_some(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(in_processes(os.getpid, [()] * 50, 2, "Processes")) == {os.getpid()}
    ticks = iter(range(0, 10**6, 10))
    monkeypatch.setattr(parallel.time, "monotonic", lambda: float(next(ticks)))
    processes = in_processes(os.getpid, [()] * 5, 2, "Processes of jobs of ten seconds")
    assert processes[0] == os.getpid()
    assert os.getpid() not in processes[1:]


def test_workers_that_start_sooner_pay_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(parallel.time, "monotonic", lambda: float(next(ticks)))
    assert set(in_processes(os.getpid, [()] * 5, 2, "Processes of jobs of a second")) == {os.getpid()}
    context = get_context()
    monkeypatch.setattr(context, "workers_start_s", 0.1, raising=False)
    monkeypatch.setattr(parallel, "_context", lambda function: context)
    assert len(set(in_processes(os.getpid, [()] * 5, 2, "Processes of jobs of a second"))) > 1


@pytest.mark.usefixtures("workers_start_at_once")
def test_workers_know_the_environment_of_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for value in ("before", "now"):
        monkeypatch.setenv("DSMT_TEST_VALUE", value)
        monkeypatch.chdir(tmp_path)
        assert set(in_processes(os.getenv, [("DSMT_TEST_VALUE",)] * 4, 2, "Values")) == {value}
        assert set(in_processes(os.getcwd, [()] * 4, 2, "Folders")) == {str(tmp_path)}


@pytest.mark.usefixtures("workers_start_at_once")
@pytest.mark.skipif("forkserver" not in get_all_start_methods(), reason="workers are spawned here")
def test_all_workers_come_from_one_process_that_is_not_this_one() -> None:
    parents = {parent for _ in range(2) for parent in in_processes(os.getppid, [()] * 4, 2, "Parents")[1:]}
    assert len(parents) == 1
    assert os.getpid() not in parents


def end_unless(process: int) -> None:
    if os.getpid() != process:
        os._exit(1)


@pytest.mark.usefixtures("workers_start_at_once")
def test_a_worker_that_dies_is_told_of() -> None:
    with pytest.raises(OSError, match=r"Scans: a worker process died.*-np 1"):
        in_processes(end_unless, [(os.getpid(),)] * 4, 2, "Scans")
