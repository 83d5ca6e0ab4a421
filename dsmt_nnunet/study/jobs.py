"""Many jobs on a cluster: some at once, a job that died once more, none twice, whoever is killed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dsmt_nnunet.records import RecordError, from_json, read_object, write_json
from dsmt_nnunet.study.clusters import Cluster, tail, wait_for
from dsmt_nnunet.study.command_job import CommandJob, alone

SCHEMA_VERSION = 1
JOBS_NAME = "jobs.json"
TRIES = 2
WAITING, SUBMITTED, DONE, FAILED = "waiting", "submitted", "done", "failed"


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """What is known of a job.

    Attributes:
        state: `WAITING`, `SUBMITTED`, `DONE` or `FAILED`.
        tries: how often it was submitted in the call that wrote this.
        cluster, job_id: of the last try.
        log: file with what it printed.
    """

    state: str
    tries: int = 0
    cluster: str | None = None
    job_id: str | None = None
    log: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobsFile:
    """What jobs.json holds: the record of each job by its name."""

    schema_version: int = SCHEMA_VERSION
    jobs: dict[str, JobRecord] = field(default_factory=dict)


def read_jobs(folder: Path) -> dict[str, JobRecord]:
    """Reads jobs.json; nothing where the folder holds none.

    Raises:
        ValueError: it is of a later release, or damaged.
    """
    path = folder / JOBS_NAME
    if not path.is_file():
        return {}
    try:
        found = from_json(JobsFile, read_object(path))
    except RecordError as error:
        raise ValueError(f"{path}: {error}. See which jobs run (squeue, ps), then remove it.") from error
    if found.schema_version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema_version {found.schema_version}, this release reads {SCHEMA_VERSION}.")
    return found.jobs


class JobQueue:
    """Sees jobs through."""

    def __init__(self, folder: Path, cluster: Cluster, at_once: int) -> None:
        """
        Args:
            folder: for jobs.json.
            cluster: where they run.
            at_once: how many wait or run there together.

        Raises:
            ValueError: none may run, or jobs.json cannot be read.
        """
        if at_once < 1:
            raise ValueError(f"--jobs must be at least 1, got {at_once}.")
        self.folder, self.cluster, self.at_once = folder, cluster, at_once
        self._records = read_jobs(folder)
        self._live: dict[str, int] = {}
        """Name of a job under way -> its place."""

    def run(self, jobs: Mapping[str, CommandJob]) -> Generator[str, None, None]:
        """The names of the jobs as they are done, those first that were done before.

        A job that died is told with the last lines of its log and tried once more; the others go on meanwhile. Jobs
        under way go on when this process ends; the next call takes them over.

        Raises:
            OSError: jobs died twice, told when the others have ended; or another process sees to this folder.
        """
        try:
            with alone(self.folder / "driver.lock", waits=False):
                yield from self._run(jobs)
        except BlockingIOError as error:
            raise OSError(f"{self.folder}: another process sees to these jobs. Wait for it, or end it.") from error

    def _run(self, jobs: Mapping[str, CommandJob]) -> Generator[str, None, None]:
        waiting: deque[str] = deque()
        self._adopt(jobs)
        for name, job in jobs.items():
            if job.is_done():
                self._live.pop(name, None)
                self._note(name, state=DONE)
                yield name
            elif name not in self._live:
                self._records[name] = JobRecord(state=WAITING)
                waiting.append(name)
        failed = []
        while waiting or self._live:
            while waiting and len(self._live) < self.at_once:
                self._submit(waiting[0], jobs[waiting[0]])
                waiting.popleft()
            for name in self._ended():
                if wait_for(jobs[name].made, self.cluster.settle_s):
                    self._note(name, state=DONE)
                    yield name
                elif self._died(name):
                    waiting.appendleft(name)
                else:
                    failed.append(name)
            if self._live:
                time.sleep(self.cluster.poll_s)
        if failed:
            told = ", ".join(f"{name} ({self._records[name].log})" for name in failed)
            raise OSError(f"died {TRIES} times: {told}. Everything else is done. The same command tries them again.")

    def _adopt(self, jobs: Mapping[str, CommandJob]) -> None:
        """Takes over what an earlier call submitted and what has not ended."""
        known = {
            record.job_id: name
            for name, record in self._records.items()
            if name in jobs and record.job_id and record.cluster == self.cluster.name
        }
        for job_id in sorted(self.cluster.alive(known)) if known else ():
            self._live[known[job_id]] = self._free_place()
            print(f"{known[job_id]} is under way as job {job_id}.", flush=True)

    def _submit(self, name: str, job: CommandJob) -> None:
        place = self._free_place()
        job = replace(job, variables={**job.variables, **self.cluster.variables(place)})
        job_id = self.cluster.submit(name, job)
        tries, log = self._records[name].tries + 1, str(self.cluster.log(job_id))
        self._live[name] = place
        self._note(name, state=SUBMITTED, tries=tries, cluster=self.cluster.name, job_id=job_id, log=log)
        print(f"{name} is job {job_id}{' (once more)' if tries > 1 else ''}; log: {log}", flush=True)

    def _ended(self) -> Sequence[str]:
        """Names of the jobs under way that have ended since."""
        alive = self.cluster.alive([str(self._records[name].job_id) for name in self._live])
        ended = [name for name in self._live if self._records[name].job_id not in alive]
        for name in ended:
            del self._live[name]
        return ended

    def _died(self, name: str) -> bool:
        """Tells of it; whether it is tried once more."""
        record = self._records[name]
        again = record.tries < TRIES
        self._note(name, state=WAITING if again else FAILED)
        then = "It is tried once more." if again else "It is given up; the others go on."
        print(f"\n{name} died as job {record.job_id}. {then} The end of {record.log}:", flush=True)
        print("\n".join(f"    {line}" for line in tail(Path(str(record.log))).splitlines()), flush=True)
        return again

    def _free_place(self) -> int:
        taken = set(self._live.values())
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def _note(self, name: str, **changes: object) -> None:
        before = self._records.get(name, JobRecord(state=WAITING))
        self._records[name] = replace(before, **changes)  # type: ignore[arg-type]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(JobsFile(jobs=self._records), self.folder / JOBS_NAME)
