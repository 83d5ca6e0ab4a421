from __future__ import annotations

import pytest

from dsmt_nnunet.training.environment import seed_of_run, threads_of_run, validation_wanted, worker_seeds


def test_the_seed_is_a_whole_number_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("dsmt_seed", raising=False)
    assert seed_of_run() is None
    monkeypatch.setenv("dsmt_seed", "3")
    assert seed_of_run() == 3
    monkeypatch.setenv("dsmt_seed", "-1")
    with pytest.raises(ValueError, match="must be a whole number from 0, got '-1'"):
        seed_of_run()


def test_validation_is_left_out_when_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("dsmt_validation", raising=False)
    assert validation_wanted()
    for value, wanted in (("on", True), ("off", False)):
        monkeypatch.setenv("dsmt_validation", value)
        assert validation_wanted() is wanted
    monkeypatch.setenv("dsmt_validation", "no")
    with pytest.raises(ValueError, match="must be 'off', 'on' or unset, got 'no'"):
        validation_wanted()


@pytest.mark.parametrize(("value", "threads"), [("", None), ("3", 3), ("4,2", 4), ("0", None), ("many", None)])
def test_the_threads_are_those_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, value: str, threads: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads_of_run() == threads


def test_each_rank_and_each_continuation_draws_its_own_batches() -> None:
    drawn = [worker_seeds(7, 3, rank, epoch) for rank in range(3) for epoch in (0, 40, 41)]
    every = [seed for seeds in drawn for seed in seeds]
    assert len(set(every)) == len(every)
    assert worker_seeds(7, 3, 1, 40) == worker_seeds(7, 3, 1, 40)
    assert all(0 <= seed < 2**32 for seed in every)
