"""Jobs on a real SLURM of one node, started here with files of its own. Skips where Debian's packages are missing."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dsmt_nnunet.study.clusters import Resources, SlurmCluster
from dsmt_nnunet.study.jobs import SUBMITTED, JobQueue, read_jobs
from tests.unit.study.test_jobs import assert_taken_over, begun, driver_of, job

AT_MOST_S = 120.0
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=60 State=UP OverSubscribe=NO
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + AT_MOST_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


def states_of_nodes(variables: dict[str, str]) -> str:
    command = ["sinfo", "--noheader", "--format=%T"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    pytest.importorskip("submitit", reason="pip install 'dsmt-nnunet[cluster]'")
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    found = {name: shutil.which(name, path=path) for name in PROGRAMS}
    missing = [name for name, program in found.items() if program is None]
    if missing:
        pytest.skip(f"SLURM is missing ({', '.join(missing)}): apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("slurmd needs root")
    folder = tmp_path_factory.mktemp("slurm")
    for part in ("state", "spool"):
        (folder / part).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname(),
            user=getpass.getuser(),
            controller=free_port(),
            daemon=free_port(),
            cores=os.cpu_count(),
        )
    )
    variables = {**os.environ, "SLURM_CONF": str(configuration)}
    munge = [
        f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    commands = [
        [str(found["munged"]), "--foreground", "--force", f"--key-file={key}", *munge],
        [str(found["slurmctld"]), "-D", "-f", str(configuration)],
        [str(found["slurmd"]), "-D", "-f", str(configuration), "-N", socket.gethostname()],
    ]
    running = []
    try:
        for command in commands:
            with (folder / f"{Path(command[0]).name}.out").open("w") as out:
                running.append(subprocess.Popen(command, env=variables, stdout=out, stderr=subprocess.STDOUT))
            if command is commands[0]:
                until((folder / "munge.socket").exists, "munge")
        try:
            until(lambda: "idle" in states_of_nodes(variables), "a node that is idle")
        except AssertionError:
            logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in folder.glob("*.out"))
            pytest.fail(f"SLURM did not start.\n{logs}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(configuration))
            yield folder
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(30)


def queue(folder: Path, at_once: int = 2, **asked: Any) -> JobQueue:
    cluster = SlurmCluster(folder / "submitted", Resources(partition="short", time_min=10, **asked))
    cluster.poll_s, cluster.settle_s = 0.5, 2.0
    return JobQueue(folder, cluster, at_once)


def test_jobs_run_there_once_each(slurm: Path, tmp_path: Path) -> None:
    where = "print(os.environ['SLURM_JOB_PARTITION'], os.environ['SLURM_CPUS_PER_TASK']); "
    jobs = {name: job(tmp_path, name, where) for name in ("a", "b", "c")}
    assert sorted(queue(tmp_path, cpus=1).run(jobs)) == ["a", "b", "c"]
    assert sorted(begun(tmp_path)) == ["a", "b", "c"]
    assert "short 1" in Path(str(read_jobs(tmp_path)["a"].log)).read_text()
    assert list(queue(tmp_path).run(jobs)) == ["a", "b", "c"]
    assert len(begun(tmp_path)) == 3


def test_a_job_that_is_killed_is_told_and_tried_once_more(slurm: Path, tmp_path: Path, capsys: Any) -> None:
    dies_once = "again = (folder / 'tried').exists(); (folder / 'tried').touch(); print('full', flush=True); "
    dies_once += "again or os.kill(os.getppid(), 9); time.sleep(0 if again else 60); "
    assert list(queue(tmp_path).run({"a": job(tmp_path, "a", dies_once)})) == ["a"]
    told = capsys.readouterr().out
    assert "a died as job" in told
    assert "full" in told
    assert begun(tmp_path) == ["a", "a"]


def test_a_job_is_taken_over_when_who_submitted_it_was_killed(slurm: Path, tmp_path: Path, capsys: Any) -> None:
    first = driver_of("tests.cluster.test_slurm", tmp_path)
    until(lambda: begun(tmp_path) == ["a"] and read_jobs(tmp_path)["a"].state == SUBMITTED, "the job")
    assert_taken_over(first, queue(tmp_path), tmp_path, capsys)


def test_a_job_at_its_time_limit_goes_on_in_another(slurm: Path, tmp_path: Path, capsys: Any) -> None:
    """Its signal is sent by hand: SLURM's shortest limit is a minute."""
    waits = "again = (folder / 'tried').exists(); (folder / 'tried').touch(); time.sleep(0 if again else 600); "
    running = queue(tmp_path).run({"a": job(tmp_path, "a", waits)})

    def signal_it() -> None:
        until((tmp_path / "tried").exists, "the job")
        number = subprocess.run(["squeue", "--noheader", "--format=%i"], capture_output=True, text=True, check=True)
        subprocess.run(["scancel", "--signal=USR2", number.stdout.strip()], check=True)

    from threading import Thread

    other = Thread(target=signal_it)
    other.start()
    assert list(running) == ["a"]
    other.join()
    assert begun(tmp_path) == ["a", "a"]
    assert "died" not in capsys.readouterr().out


def test_what_slurm_refuses_is_told(slurm: Path, tmp_path: Path) -> None:
    refused = JobQueue(tmp_path, SlurmCluster(tmp_path / "submitted", Resources(partition="none")), 1)
    with pytest.raises(OSError, match=r"--cluster slurm did not take a: .*[Ii]nvalid partition"):
        list(refused.run({"a": job(tmp_path, "a")}))
