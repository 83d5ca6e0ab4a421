"""Jobs of short commands, run by submitit's local executor."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.study.clusters import Cluster, LocalCluster, Resources, cluster_at, minutes
from dsmt_nnunet.study.command_job import CommandJob, alone
from dsmt_nnunet.study.jobs import DONE, FAILED, SUBMITTED, JobQueue, read_jobs

pytest.importorskip("submitit", reason="pip install 'dsmt-nnunet[cluster]'")

AT_MOST_S = 60.0
NOTE = "import pathlib, sys, time, os; folder = pathlib.Path({folder!r}); name = {name!r}; "
BEGIN = "print('begins', name, flush=True); open(folder / 'begun', 'a').write(name + '\\n'); "
MAKE = "(folder / name).touch()"


def job(folder: Path, name: str, between: str = "", **more: Any) -> CommandJob:
    """Notes that it has begun, does something and makes a file of its name."""
    code = NOTE.format(folder=str(folder), name=name) + BEGIN + between + MAKE
    return CommandJob([sys.executable, "-c", code], [folder / name], folder / f"{name}.lock", **more)


def begun(folder: Path) -> list[str]:
    path = folder / "begun"
    return path.read_text().split() if path.exists() else []


def queue(folder: Path, at_once: int = 2) -> JobQueue:
    cluster = LocalCluster(folder / "submitted")
    cluster.poll_s = 0.05
    return JobQueue(folder, cluster, at_once)


def until(condition: Any) -> None:
    end = time.monotonic() + AT_MOST_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_each_runs_once_and_what_is_done_does_not_run(tmp_path: Path) -> None:
    jobs = {name: job(tmp_path, name) for name in ("a", "b", "c")}
    jobs["b"].made[0].touch()
    assert sorted(queue(tmp_path).run(jobs)) == ["a", "b", "c"]
    assert sorted(begun(tmp_path)) == ["a", "c"]
    assert {record.state for record in read_jobs(tmp_path).values()} == {DONE}
    assert list(queue(tmp_path).run(jobs)) == ["a", "b", "c"]
    assert sorted(begun(tmp_path)) == ["a", "c"]


def test_a_job_that_died_is_told_and_tried_once_more(tmp_path: Path, capsys: Any) -> None:
    fails_once = "print('out of memory', flush=True); again = (folder / 'tried').exists(); (folder / 'tried').touch(); "
    jobs = {"a": job(tmp_path, "a", fails_once + "again or sys.exit(3); ")}
    assert list(queue(tmp_path).run(jobs)) == ["a"]
    assert begun(tmp_path) == ["a", "a"]
    told = capsys.readouterr().out
    assert "a died as job" in told
    assert "It is tried once more" in told
    assert "out of memory" in told
    assert "status 3" in told


def test_one_that_dies_twice_is_given_up_and_the_others_go_on(tmp_path: Path, capsys: Any) -> None:
    jobs = {"a": job(tmp_path, "a", "sys.exit(1); "), "b": job(tmp_path, "b")}
    done = []
    with pytest.raises(OSError, match=r"died 2 times: a \(.*log.out\)"):
        done.extend(queue(tmp_path, at_once=1).run(jobs))
    assert begun(tmp_path) == ["a", "a", "b"]
    assert read_jobs(tmp_path)["a"].state == FAILED
    assert jobs["b"].is_done()
    with pytest.raises(OSError, match="died 2 times"):
        list(queue(tmp_path, at_once=1).run(jobs))
    assert begun(tmp_path) == ["a", "a", "b", "a", "a"], "another call tries it anew"


class Noting(Cluster):
    """Runs nothing: the jobs end one after the other."""

    name, poll_s = "noting", 0.0

    def __init__(self) -> None:
        self.most, self.now, self.taken = 0, [], 0
        self.places: list[int] = []

    def submit(self, name: str, job: CommandJob) -> str:
        self.now.append(job)
        self.most, self.taken = max(self.most, len(self.now)), self.taken + 1
        return str(self.taken)

    def alive(self, job_ids: Iterable[str]) -> set[str]:
        self.now.pop(0).made[0].touch()
        return set(sorted(job_ids, key=int)[1:])

    def log(self, job_id: str) -> Path:
        return Path(job_id)

    def variables(self, place: int) -> Mapping[str, str]:
        self.places.append(place)
        return {}

    def _parameters(self, name: str) -> dict[str, Any]:
        return {}


def test_no_more_than_wanted_are_under_way(tmp_path: Path) -> None:
    cluster = Noting()
    jobs = {name: job(tmp_path, name) for name in "abcdefg"}
    assert len(list(JobQueue(tmp_path, cluster, 3).run(jobs))) == 7
    assert cluster.most == 3
    assert set(cluster.places) == {0, 1, 2}, "a job that has ended gives its place to the next"
    with pytest.raises(ValueError, match="--jobs must be at least 1, got 0"):
        JobQueue(tmp_path, cluster, 0)


DRIVER = """
import sys
from pathlib import Path
from tests.unit.study.test_jobs import job
from {module} import queue
folder = Path(sys.argv[1])
wait = "\\nwhile not (folder / 'go').exists(): time.sleep(0.02)\\n"
for name in queue(folder).run({{"a": job(folder, "a", wait)}}):
    print(name, flush=True)
"""


def driver_of(module: str, folder: Path) -> subprocess.Popen[bytes]:
    """A process that sees to a job which waits for a file `go`, in the queue of a module of tests."""
    command = [sys.executable, "-c", DRIVER.format(module=module), str(folder)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3], env={**os.environ, "PYTHONPATH": "."})


def assert_taken_over(driver: subprocess.Popen[bytes], own: JobQueue, folder: Path, capsys: Any) -> None:
    """Kills who submitted job `a`; another sees it end, and it has run once."""
    driver.kill()
    driver.wait()
    again = own.run({"a": job(folder, "a")})
    (folder / "go").touch()
    assert list(again) == ["a"]
    assert "a is under way as job" in capsys.readouterr().out
    assert begun(folder) == ["a"], "it ran once"


@pytest.mark.skipif(sys.platform != "linux", reason="finds the job's process in /proc")
def test_a_job_lives_on_when_who_submitted_it_is_killed_and_is_taken_over(tmp_path: Path, capsys: Any) -> None:
    first = driver_of(__name__, tmp_path)
    until(lambda: begun(tmp_path) == ["a"] and read_jobs(tmp_path)["a"].state == SUBMITTED)
    with pytest.raises(OSError, match="another process sees to these jobs"):
        list(queue(tmp_path).run({"a": job(tmp_path, "a")}))
    assert_taken_over(first, queue(tmp_path), tmp_path, capsys)


KILLED = """
import sys
from pathlib import Path
from tests.unit.study.test_jobs import NAMES, job, queue
folder = Path(sys.argv[1])
print("starts", flush=True)
list(queue(folder).run({name: job(folder, name, "time.sleep(0.5); ") for name in NAMES}))
"""
NAMES = tuple("abcdef")


@pytest.mark.skipif(sys.platform != "linux", reason="finds the jobs' processes in /proc")
def test_who_is_killed_at_five_random_moments_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    moments, root = random.Random(0), Path(__file__).parents[3]
    for _ in range(5):
        command = [sys.executable, "-c", KILLED, str(tmp_path)]
        process = subprocess.Popen(
            command, cwd=root, env={**os.environ, "PYTHONPATH": "."}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"starts\n"
        time.sleep(moments.uniform(0, 1))
        process.kill()
        process.communicate()
    jobs = {name: job(tmp_path, name, "time.sleep(0.5); ") for name in NAMES}
    assert sorted(queue(tmp_path).run(jobs)) == sorted(NAMES)
    assert sorted(begun(tmp_path)) == sorted(NAMES), "each ran once"


@pytest.mark.skipif(sys.platform != "linux", reason="no parent death signal")
def test_a_job_that_is_killed_takes_its_command_with_it_and_goes_on_where_it_was(tmp_path: Path) -> None:
    waits = "(folder / 'pid').write_text(str(os.getpid())); time.sleep(600); "
    first = job(tmp_path, "a", waits)
    running = subprocess.Popen([sys.executable, "-c", _call(first)])
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    running.kill()
    running.wait()
    until(lambda: not runs(int((tmp_path / "pid").read_text())))
    goes_on = job(tmp_path, "a").words
    second = CommandJob(["false"], [tmp_path / "a"], first.lock, begun=[tmp_path / "pid"], words_if_begun=goes_on)
    second()
    assert second.is_done()
    assert begun(tmp_path) == ["a", "a"]


def _call(own: CommandJob) -> str:
    paths = f"[__import__('pathlib').Path({str(own.made[0])!r})], __import__('pathlib').Path({str(own.lock)!r})"
    return f"from dsmt_nnunet.study.command_job import CommandJob; CommandJob({list(own.words)!r}, {paths})()"


def test_two_jobs_for_the_same_run_one_after_the_other(tmp_path: Path) -> None:
    slow = job(tmp_path, "a", "time.sleep(0.3); ")
    both = [subprocess.Popen([sys.executable, "-c", _call(slow)]) for _ in range(2)]
    assert [process.wait(AT_MOST_S) for process in both] == [0, 0]
    assert begun(tmp_path) == ["a"]


def test_a_command_that_leaves_its_work_undone_has_failed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"ended well, but .*made is not there"):
        CommandJob(["true"], [tmp_path / "made"], tmp_path / "lock")()
    with pytest.raises(OSError, match="ended with status 1"):
        CommandJob(["false"], [tmp_path / "made"], tmp_path / "lock")()


def test_who_does_not_wait_for_a_lock_is_told(tmp_path: Path) -> None:
    holding = "import sys, time; from pathlib import Path; from dsmt_nnunet.study.command_job import alone\n"
    holding += f"with alone(Path({str(tmp_path / 'lock')!r})): print('held', flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", holding], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(BlockingIOError), alone(tmp_path / "lock", waits=False):
        pass
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with alone(tmp_path / "lock", waits=False):
        pass


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("90", 90), ("90:30", 91), ("8:00:00", 480), ("0:0:1", 1), ("2-0", 2880), ("1-12:30", 2190), ("1-0:0:30", 1441)],
)
def test_time_limits_are_those_of_sbatch(asked: str, expected: int) -> None:
    assert minutes(asked) == expected


@pytest.mark.parametrize("wrong", ["", "8h", "1:2:3:4", "-5", "0", "0:00:00"])
def test_what_is_no_time_limit_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="a time limit"):
        minutes(wrong)


def test_resources_are_asked_of_slurm_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="gres: asked of SLURM alone, not with --cluster local"):
        cluster_at("local", tmp_path, Resources(gres="gpu:1"), 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=r"--cluster slurm: .*srun"):
        cluster_at("slurm", tmp_path, Resources(), 0)


def test_jobs_of_this_machine_take_turns_on_its_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    places = [LocalCluster(tmp_path, gpus=2).variables(place) for place in range(3)]
    assert [own["CUDA_VISIBLE_DEVICES"] for own in places] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert LocalCluster(tmp_path, gpus=2).variables(1) == {"CUDA_VISIBLE_DEVICES": "6"}
    assert LocalCluster(tmp_path).variables(1) == {}
