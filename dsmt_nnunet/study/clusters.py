"""Where jobs run: as processes of this machine, or on SLURM, both by submitit."""

from __future__ import annotations

import getpass
import importlib.util
import os
import re
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsmt_nnunet.environment import usable_cores, worker_processes
from dsmt_nnunet.study.command_job import CommandJob

CLUSTERS = ("local", "slurm")
_MINUTES_OF_A_YEAR = 365 * 24 * 60
_REQUEUED_AT_MOST = 20
"""Times that a job which reached its time limit is put into the queue again; it goes on from its checkpoint."""
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")


@dataclass(frozen=True)
class Resources:
    """What a job asks SLURM for; None leaves it to the cluster.

    Attributes:
        partition, gres, mem, account: as sbatch takes them.
        time_min: limit in minutes.
        cpus: of a job.
    """

    partition: str | None = None
    gres: str | None = None
    mem: str | None = None
    account: str | None = None
    time_min: int | None = None
    cpus: int | None = None

    def given(self) -> dict[str, object]:
        """Those that are not left to the cluster, by their names."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Cluster(ABC):
    """Something that takes jobs and says which of them have not ended."""

    name: str
    poll_s: float
    """Between two looks at the jobs."""
    settle_s = 0.0
    """How long after a job's end its files may take to appear."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: for scripts, logs and what submitit keeps; seen by all nodes.

        Raises:
            ValueError: submitit is not installed, or there is no such cluster here.
        """
        if importlib.util.find_spec("submitit") is None:
            raise ValueError("--cluster needs submitit, which is not installed: pip install 'dsmt-nnunet[cluster]'")
        import submitit

        self.folder = folder
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=self.name, slurm_max_num_timeout=_REQUEUED_AT_MOST)
        except RuntimeError as error:
            raise ValueError(f"--cluster {self.name}: {error}") from error

    def submit(self, name: str, job: CommandJob) -> str:
        """Hands over a job; its number.

        Raises:
            OSError: the cluster refused it.
        """
        self._executor.update_parameters(**self._parameters(name))
        from submitit.core.utils import FailedJobError

        try:
            return self._note(self._executor.submit(job))
        except (FailedJobError, subprocess.CalledProcessError) as error:
            raise OSError(f"--cluster {self.name} did not take {name}: {error}") from error

    def log(self, job_id: str) -> Path:
        """What a job printed."""
        from submitit.core.utils import JobPaths

        return Path(JobPaths(self.folder, job_id, 0).stdout)

    @abstractmethod
    def alive(self, job_ids: Iterable[str]) -> set[str]:
        """Those of the jobs, of earlier calls too, that wait or run."""

    @abstractmethod
    def variables(self, place: int) -> Mapping[str, str]:
        """Of the job that is at work in a place, 0 to the number of jobs at once less one."""

    @abstractmethod
    def _parameters(self, name: str) -> dict[str, Any]: ...

    def _note(self, job: Any) -> str:
        return str(job.job_id)


class LocalCluster(Cluster):
    """Processes of this machine, which live on when this one is killed."""

    name, poll_s = "local", 1.0

    def __init__(self, folder: Path, gpus: int = 0) -> None:
        """
        Args:
            folder: see `Cluster`.
            gpus: number of GPUs, which jobs share by turns.
        """
        super().__init__(folder)
        self._gpus = gpus
        self._own: dict[str, Any] = {}

    def alive(self, job_ids: Iterable[str]) -> set[str]:
        return {job_id for job_id in job_ids if self._runs(job_id)}

    def variables(self, place: int) -> Mapping[str, str]:
        return {"CUDA_VISIBLE_DEVICES": _visible(place % self._gpus)} if self._gpus else {}

    def _parameters(self, name: str) -> dict[str, Any]:
        return {"timeout_min": _MINUTES_OF_A_YEAR, "stderr_to_stdout": True}

    def _note(self, job: Any) -> str:
        self._own[job.job_id] = job
        return super()._note(job)

    def _runs(self, job_id: str) -> bool:
        if job_id in self._own:
            return not self._own[job_id].done()
        try:
            # Its number may have gone to another process since.
            words = Path(f"/proc/{job_id}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return b"submitit.local._local" in words and os.fsencode(self.folder) in words


class SlurmCluster(Cluster):
    """Jobs of SLURM. They are looked for with squeue, which needs no accounting as sacct does."""

    name, poll_s, settle_s = "slurm", 15.0, 30.0

    def __init__(self, folder: Path, resources: Resources) -> None:
        super().__init__(folder)
        self._resources = resources

    def alive(self, job_ids: Iterable[str]) -> set[str]:
        command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode:
            return set(job_ids)  # SLURM does not answer just now
        return set(job_ids) & set(found.stdout.split())

    def variables(self, place: int) -> Mapping[str, str]:
        return {}

    def _parameters(self, name: str) -> dict[str, Any]:
        asked = self._resources
        more = {key: value for key, value in (("mem", asked.mem), ("account", asked.account)) if value is not None}
        return {
            "name": f"dsmt-{name}",
            "stderr_to_stdout": True,
            "slurm_partition": asked.partition,
            "slurm_gres": asked.gres,
            "timeout_min": asked.time_min or _MINUTES_OF_A_YEAR,
            "cpus_per_task": asked.cpus,
            "slurm_additional_parameters": more,
        }


def cluster_at(name: str, folder: Path, resources: Resources, gpus: int) -> Cluster:
    """The cluster of a name.

    Args:
        name: one of `CLUSTERS`.
        folder: see `Cluster`.
        resources: of a job on SLURM.
        gpus: of this machine.

    Raises:
        ValueError: see `Cluster`; or resources are asked of the machine at hand.
    """
    if name == "slurm":
        return SlurmCluster(folder, resources)
    if resources.given():
        raise ValueError(f"{', '.join(sorted(resources.given()))}: asked of SLURM alone, not with --cluster {name}.")
    return LocalCluster(folder, gpus)


def jobs_at_once(cluster: str, asked: int | None, gpus: int) -> int:
    """How many jobs may wait or run together: those asked for; else one a GPU, one a core, and on SLURM any number."""
    if asked is not None:
        return asked
    if cluster == "slurm":
        return 10_000
    return gpus or worker_processes()


def threads_of_a_job(cluster: str, at_once: int) -> int | None:
    """On the CPUs of this machine, which jobs share; None on SLURM, where each has its own."""
    return max(1, usable_cores() // at_once) if cluster == "local" else None


def minutes(time_limit: str) -> int:
    """What sbatch's --time means: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S, seconds rounded up.

    Raises:
        ValueError: it is none of these, or no time at all.
    """
    found = _TIME.fullmatch(time_limit)
    if found is None:
        raise ValueError(f"a time limit is M, H:M:S or D-H:M:S, for example 8:00:00, got {time_limit!r}.")
    parts = [int(part) for part in found["parts"].split(":")]
    units: Sequence[int] = (3600, 60, 1) if found["days"] or len(parts) == 3 else (60, 1)
    seconds = int(found["days"] or 0) * 86400 + sum(p * unit for p, unit in zip(parts, units, strict=False))
    if seconds == 0:
        raise ValueError(f"a time limit must be longer than nothing, got {time_limit!r}.")
    return -(-seconds // 60)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, or that there is none."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log was written)"


def wait_for(files: Sequence[Path], seconds: float) -> bool:
    """Whether files are there, now or within so many seconds: network disks show them late."""
    end = time.monotonic() + seconds
    while not all(file.is_file() for file in files):
        if time.monotonic() >= end:
            return False
        time.sleep(min(1.0, seconds))
    return True


def _visible(number: int) -> str:
    """The GPU of a number among those that this process may use."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[number] if allowed else str(number)
