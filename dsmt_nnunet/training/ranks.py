"""Work that one process of a distributed training does for all of them."""

from __future__ import annotations

from collections.abc import Callable

from torch import distributed as dist


def on_first_rank(work: Callable[[], None], rank: int, ranks: int) -> None:
    """Does work on rank 0 while the others wait; its error ends all of them, none is left waiting.

    Args:
        work: what is done once.
        rank: of this process.
        ranks: processes that train together; 1 without a distributed training.

    Raises:
        Exception: on rank 0 whatever the work raised.
        RuntimeError: on the others, with its message.
    """
    if ranks == 1:
        work()
        return
    failure: Exception | None = None
    if rank == 0:
        try:
            work()
        except Exception as error:
            failure = error
    told: list[str | None] = [None if failure is None else f"{type(failure).__name__}: {failure}"]
    dist.broadcast_object_list(told, src=0)
    if failure is not None:
        raise failure
    if told[0] is not None:
        raise RuntimeError(f"Rank {rank} stops, since rank 0 could not go on. {told[0]}")
