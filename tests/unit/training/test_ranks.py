from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from torch import distributed as dist

from dsmt_nnunet.training.ranks import on_first_rank

RANKS = 2


def told_by(rank: int, meeting: str, answer: Connection, wrong: bool) -> None:
    """Does the work as one process of two and sends what became of it."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=RANKS)
    done: list[int] = []

    def work() -> None:
        if wrong:
            raise ValueError("Case 'p7': its mask is another case's")
        done.append(rank)

    try:
        on_first_rank(work, rank, RANKS)
        answer.send(f"done {len(done)}")
    except (ValueError, RuntimeError) as error:
        answer.send(f"{type(error).__name__} {error}")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed training")
@pytest.mark.parametrize("wrong", [False, True])
def test_an_error_of_the_first_rank_ends_every_rank(wrong: bool, tmp_path: Path) -> None:
    context = get_context("fork")
    ends = [context.Pipe() for _ in range(RANKS)]
    processes = [
        context.Process(target=told_by, args=(rank, str(tmp_path / "meeting"), ends[rank][1], wrong), daemon=True)
        for rank in range(RANKS)
    ]
    for process in processes:
        process.start()
    answers = [end.recv() if end.poll(30) else "waits" for end, _ in ends]
    for process in processes:
        process.kill()
    if wrong:
        assert answers[0] == "ValueError Case 'p7': its mask is another case's"
        assert (
            answers[1] == f"RuntimeError Rank 1 stops, since rank 0 could not go on. {answers[0].replace(' ', ': ', 1)}"
        )
    else:
        assert answers == ["done 1", "done 0"]


def test_alone_the_work_is_done_and_its_error_is_its_own() -> None:
    done: list[int] = []
    on_first_rank(lambda: done.append(1), 0, 1)
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        on_first_rank(lambda: 1 // 0, 0, 1)
