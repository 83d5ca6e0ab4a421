from __future__ import annotations

import os

import pytest

from dsmt_nnunet.parallel import in_processes


def test_results_come_in_the_order_of_the_jobs() -> None:
    assert in_processes(pow, [(2, 3), (3, 2)], 1, "Powers") == [8, 9]


def test_a_worker_that_dies_is_told_of() -> None:
    with pytest.raises(OSError, match=r"Scans: a worker process died.*-np 1"):
        in_processes(os._exit, [(1,)] * 4, 2, "Scans")
