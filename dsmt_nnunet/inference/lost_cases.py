"""Cases of a run that got no answer, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping

LOST_WITH_WORKERS = "not reached, since a worker process ended"
_OF_WORKERS = "worker"
"""What every message of nnU-Net (2.8.1) holds that tells of processes that died."""
_FEWER_WORKERS = (
    "A process that reads scans or writes masks was killed, as when memory is short, or ended with an error that is "
    "printed above. Go on with --continue_prediction and fewer of them (-npp 1 -nps 1), or none (-npp 0 -nps 0)."
)


class CasesFailed(RuntimeError):
    """Some cases could not be predicted; all others were, and their results are written."""

    @classmethod
    def of(cls, failed: Mapping[str, str], total: int) -> CasesFailed:
        """With one line a case.

        Args:
            failed: case -> why.
            total: cases of the run.
        """
        lines = [f"{len(failed)} of {total} cases could not be predicted; the others are done."]
        lines += [f"  {case}: {reason}" for case, reason in failed.items()]
        if LOST_WITH_WORKERS in failed.values():
            lines.append(_FEWER_WORKERS)
        return cls("\n".join(lines))


def is_of_workers(error: RuntimeError) -> bool:
    """Whether nnU-Net tells of processes that died."""
    return _OF_WORKERS in str(error)
