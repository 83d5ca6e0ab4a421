"""`dsmt train --folds`: folds of a data set, each in a job of its own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from dsmt_nnunet.cli.cluster import add_cluster_options, gpus_of_this_machine, queue_of
from dsmt_nnunet.environment import best_device, prepare, resolved
from dsmt_nnunet.study.clusters import jobs_at_once, threads_of_a_job
from dsmt_nnunet.study.command_job import CommandJob
from dsmt_nnunet.study.runner import FINAL_CHECKPOINT, JOBS_FOLDER

FOLDS_OPTION = "--folds"
_REFUSED = ("val", "val_best", "disable_checkpointing", "c")


def parser_of_folds() -> argparse.ArgumentParser:
    """Of nnUNetv2_train's options (2.8.1, `run_training_entry`), with --folds in place of the fold."""
    parser = argparse.ArgumentParser(
        prog="dsmt train",
        description="Trains folds of a data set, each in a job of its own. Called again, it goes on where it was.",
    )
    parser.add_argument("dataset", help="name or number of the data set")
    parser.add_argument("configuration", help="3d_fullres")
    parser.add_argument(FOLDS_OPTION, required=True, help="'all' for each of the cross-validation, or 0,2,3")
    parser.add_argument("-tr", default="DSMTTrainer", help="trainer (default: DSMTTrainer)")
    parser.add_argument("-p", default="nnUNetPlans", help="plans (default: nnUNetPlans)")
    parser.add_argument("-pretrained_weights", help="checkpoint to start from")
    parser.add_argument("-num_gpus", type=int, default=1, help="of each job (default: 1)")
    parser.add_argument("-device", help="default: the best there is")
    parser.add_argument("--npz", action="store_true", help="keep the probabilities of validation")
    for name in _REFUSED:
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    add_cluster_options(parser)
    return parser


def train_folds(arguments: Sequence[str]) -> int:
    """Trains the folds that the words name.

    Raises:
        ValueError: an option does not fit, or there is no such data set or fold.
        OSError: jobs died, each twice.
    """
    args = parser_of_folds().parse_args(arguments)
    refused = [f"--{name}" for name in _REFUSED if getattr(args, name)]
    if refused:
        raise ValueError(f"{', '.join(refused)} does not go with {FOLDS_OPTION}, which trains and goes on by itself.")
    if args.cluster is None:
        raise ValueError(f"{FOLDS_OPTION} needs --cluster local or --cluster slurm.")
    prepare()
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_results

    from dsmt_nnunet.nnunet_folders import dataset_name

    dataset = dataset_name(args.dataset)
    folds = chosen_folds(args.folds, Path(str(nnUNet_preprocessed)) / dataset / "splits_final.json")
    model = Path(str(nnUNet_results)) / dataset / f"{args.tr}__{args.p}__{args.configuration}"
    jobs = {f"fold_{fold}": job_of(args, dataset, model, fold) for fold in folds}
    for name in queue_of(args, model / JOBS_FOLDER).run(jobs):
        print(f"{name} is trained: {model / name}", flush=True)
    return 0


def chosen_folds(asked: str, splits: Path) -> list[int]:
    """Numbers of folds.

    Args:
        asked: `all`, or numbers with commas.
        splits: nnU-Net's splits_final.json.

    Raises:
        ValueError: there are no folds, or not these.
    """
    from dsmt_nnunet.nnunet_files import read_splits

    if not splits.is_file():
        raise ValueError(f"{splits} is missing. Run first: dsmt plan -d {splits.parent.name}")
    there = list(range(len(read_splits(splits))))
    if asked == "all":
        return there
    words = asked.split(",")
    wrong = [word for word in words if word not in map(str, there)]
    if wrong or len(set(words)) < len(words):
        raise ValueError(
            f"{FOLDS_OPTION} takes 'all' or numbers of {there[0]} to {there[-1]} with commas, each once, got {asked!r}."
        )
    return [int(word) for word in words]


def job_of(args: argparse.Namespace, dataset: str, model: Path, fold: int) -> CommandJob:
    """The job that trains and validates a fold, and goes on with it where it has been begun."""
    words = [*resolved("dsmt train"), dataset, args.configuration, str(fold), "-tr", args.tr, "-p", args.p]
    words += ["-num_gpus", str(args.num_gpus)] if args.num_gpus != 1 else []
    words += ["-device", args.device] if args.device else []
    words += ["--npz"] if args.npz else []
    start = ["-pretrained_weights", args.pretrained_weights] if args.pretrained_weights else []
    folder = model / f"fold_{fold}"
    return CommandJob(
        words=[*words, *start],
        made=[folder / FINAL_CHECKPOINT, folder / "validation" / "summary.json"],
        lock=model / JOBS_FOLDER / f"fold_{fold}.lock",
        begun=[folder / name for name in (FINAL_CHECKPOINT, "checkpoint_latest.pth", "checkpoint_best.pth")],
        words_if_begun=[*words, "--c"],
        variables=_variables(args),
    )


def _variables(args: argparse.Namespace) -> Mapping[str, str]:
    gpus = gpus_of_this_machine()
    threads = threads_of_a_job(args.cluster, jobs_at_once(args.cluster, args.jobs, gpus))
    if threads is None or (args.device or best_device()) != "cpu":
        return {}
    return {"OMP_NUM_THREADS": str(threads), "nnUNet_n_proc_DA": str(threads)}
