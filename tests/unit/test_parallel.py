from __future__ import annotations

import os
from multiprocessing import get_all_start_methods
from pathlib import Path

import pytest

from dsmt_nnunet.parallel import in_processes


def test_results_come_in_the_order_of_the_jobs() -> None:
    assert in_processes(pow, [(2, 3), (3, 2)], 1, "Powers") == [8, 9]


def test_workers_know_the_environment_of_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for value in ("before", "now"):
        monkeypatch.setenv("DSMT_TEST_VALUE", value)
        monkeypatch.chdir(tmp_path)
        assert set(in_processes(os.getenv, [("DSMT_TEST_VALUE",)] * 4, 2, "Values")) == {value}
        assert set(in_processes(os.getcwd, [()] * 4, 2, "Folders")) == {str(tmp_path)}


@pytest.mark.skipif("forkserver" not in get_all_start_methods(), reason="workers are spawned here")
def test_all_workers_come_from_one_process_that_is_not_this_one() -> None:
    parents = {parent for _ in range(2) for parent in in_processes(os.getppid, [()] * 4, 2, "Parents")}
    assert len(parents) == 1
    assert os.getpid() not in parents


def test_a_worker_that_dies_is_told_of() -> None:
    with pytest.raises(OSError, match=r"Scans: a worker process died.*-np 1"):
        in_processes(os._exit, [(1,)] * 4, 2, "Scans")
