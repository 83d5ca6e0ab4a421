"""The options of commands whose trainings can be jobs of a cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsmt_nnunet.environment import best_device
from dsmt_nnunet.study.clusters import CLUSTERS, Resources, cluster_at, jobs_at_once, minutes
from dsmt_nnunet.study.jobs import JobQueue


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Adds --cluster and what a job asks for."""
    group = parser.add_argument_group("many trainings (pip install 'dsmt-nnunet[cluster]')")
    group.add_argument(
        "--cluster",
        choices=CLUSTERS,
        help="each training is a job: on SLURM, or processes of this machine that live on when this one ends",
    )
    group.add_argument(
        "--jobs", type=int, help="at a time; default: one a GPU, else one a core; on SLURM as many as there are"
    )
    group.add_argument("--partition", help="of SLURM")
    group.add_argument("--gres", help="of a job on SLURM, for example gpu:1")
    group.add_argument("--time", help="limit of a job on SLURM, for example 8:00:00; then it goes on in another")
    group.add_argument("--cpus", type=int, help="cores of a job on SLURM")
    group.add_argument("--mem", help="memory of a job on SLURM, for example 32G")
    group.add_argument("--account", help="whom SLURM charges")


def resources_of(args: argparse.Namespace) -> Resources:
    """What a job asks SLURM for.

    Raises:
        ValueError: it is asked for without --cluster, or the time is none.
    """
    asked = Resources(
        partition=args.partition,
        gres=args.gres,
        mem=args.mem,
        account=args.account,
        time_min=None if args.time is None else minutes(args.time),
        cpus=args.cpus,
    )
    if args.cluster is None and asked.given():
        raise ValueError(f"{', '.join(sorted(asked.given()))}: asked of SLURM alone, with --cluster slurm.")
    return asked


def queue_of(args: argparse.Namespace, folder: Path) -> JobQueue:
    """Sees to the jobs of a command.

    Args:
        args: with --cluster.
        folder: for scripts, logs and jobs.json.

    Raises:
        ValueError: there is no such cluster here, or the options do not fit.
    """
    gpus = gpus_of_this_machine()
    cluster = cluster_at(args.cluster, folder / "submitted", resources_of(args), gpus)
    return JobQueue(folder, cluster, jobs_at_once(args.cluster, args.jobs, gpus))


def gpus_of_this_machine() -> int:
    """How many GPUs this process may use."""
    if best_device() != "cuda":
        return 0
    import torch

    return int(torch.cuda.device_count())
