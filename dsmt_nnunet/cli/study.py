"""`dsmt study`: baselines and ablations with the same folds, seeds, budget and augmentation."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from pathlib import Path
from typing import Any

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.cli.arguments import EachOnce, file_to_read, folder_to_write, seed
from dsmt_nnunet.cli.cluster import add_cluster_options, gpus_of_this_machine, queue_of, resources_of
from dsmt_nnunet.environment import prepare, resolved, variables_of_children, worker_processes
from dsmt_nnunet.study.clusters import jobs_at_once
from dsmt_nnunet.study.command_job import alone
from dsmt_nnunet.study.data_sets import CrossValidation, PhantomTrainings
from dsmt_nnunet.study.runner import JOBS_FOLDER, PRESETS, Trainings, possible
from dsmt_nnunet.study.schedule import in_parallel, on_cluster

TRAINERS = (
    "DSMTTrainer",
    "DSMTTrainerSingleTask",
    "DSMTTrainerNoContext",
    "DSMTTrainerNoSegmentation",
    "DSMTTrainerNoSigns",
    "DSMTTrainerJointOnly",
    "DSMTTrainerNoDescriptors",
    "DSMTTrainerNoCovariates",
    "DSMTTrainerDescriptorsOnly",
    "DSMTTrainerAveragePooling",
    "DSMTTrainerDenseNet",
)


def add_parser(subparsers: Any) -> None:
    """Adds `study`."""
    parser = subparsers.add_parser(
        "study",
        help="compare DSMT with baselines and ablations, on phantoms or by cross-validation of your own data",
        description="Trains every trainer with every seed. Without -d on a phantom cohort, asked about its unseen "
        "internal and external cases; with -d on a data set of yours, by cross-validation. Writes one row a run "
        "(runs.csv) and the scores of all unseen nodules (scores.csv). What is done is not done again.",
    )
    parser.add_argument("-o", dest="out", type=folder_to_write, default=Path("study"), help="folder (default: study)")
    parser.add_argument("-d", dest="dataset", help="data set of yours, planned by 'dsmt plan'; default: phantoms")
    parser.add_argument("-f", dest="folds", nargs="+", type=int, action=EachOnce, help="with -d: folds; default: all")
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        help="with -d: leave out one centre at a time, named in this column of nodules.csv, instead of the folds; as "
        "many trainings a trainer and seed as centres",
    )
    parser.add_argument(
        "--fold-seed",
        type=seed,
        metavar="SEED",
        help="with -d: deal patients to folds of the study's own, another repeat of the cross-validation a seed; a "
        "folder (-o) for each",
    )
    parser.add_argument("--trainers", nargs="+", action=EachOnce, default=list(TRAINERS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=seed, action=EachOnce, default=[0, 1, 2])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="XS", help="default: XS")
    parser.add_argument("--cases", type=int, default=320, help="phantoms to train on")
    parser.add_argument("--test-cases", type=int, default=400, help="unseen phantoms of the same protocols")
    parser.add_argument("--external-cases", type=int, default=200, help="unseen phantoms of another protocol")
    parser.add_argument("--cohort-seed", type=seed, default=1, help="of the phantoms; choices belong on another cohort")
    parser.add_argument(
        "--preregister",
        type=file_to_read,
        metavar="FILE",
        help="hypotheses, primary endpoint and analysis (JSON), sealed before training; the rest is exploratory",
    )
    parser.add_argument("--status", action="store_true", help="show how far each training is, and do nothing")
    parser.add_argument("--only", nargs=3, metavar=("TRAINER", "SEED", "FOLD"), help=argparse.SUPPRESS)  # in a job
    add_cluster_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """`dsmt study`.

    Raises:
        FileNotFoundError: the data set has not been planned.
        ValueError: it has no such fold, its primary task is not binary, or the folder holds another study.
        OSError: a command failed.
    """
    out = args.out.resolve()
    if args.dataset is None and any(value is not None for value in (args.by, args.fold_seed, args.folds)):
        raise ValueError(
            "--by, --fold-seed and -f are of a data set of yours: name it with -d. Phantoms are trained on fold 0."
        )
    if args.by is not None and args.fold_seed is not None:
        raise ValueError("--fold-seed deals patients to folds, with --by centres are the folds: choose one of them.")
    if args.dataset is None:
        os.environ.update(variables_of_children(out))
    else:
        prepare()
    study = study_of(args, out)
    if args.status:
        from dsmt_nnunet.study.status import print_status

        print_status(study, possible(args.trainers, study.has_covariates()), args.seeds)
        return 0
    if args.only is not None:
        trainer, seed, fold = args.only
        study.is_job = True
        study.make_ready()
        study.train(trainer, int(seed), int(fold))
        study.ask(trainer, int(seed), int(fold))
        return 0
    resources_of(args)
    try:
        with alone(out / JOBS_FOLDER / "study.lock", waits=False):
            return _all_of_it(args, study)
    except BlockingIOError as error:
        raise OSError(f"another process sees to the study in {out}. Wait for it, or end it.") from error


def study_of(args: argparse.Namespace, out: Path) -> Trainings:
    """What the options say shall be trained; its folder is made."""
    out.mkdir(parents=True, exist_ok=True)
    jobs = args.jobs
    if args.cluster:
        jobs = jobs_at_once(args.cluster, args.jobs, gpus_of_this_machine()) if args.cluster == "local" else 1
    if args.dataset is not None:
        return CrossValidation(out, args.preset, jobs, args.dataset, args.folds, args.by, args.fold_seed)
    cohort = {
        "cases": args.cases,
        "test_cases": args.test_cases,
        "external_cases": args.external_cases,
        "seed": args.cohort_seed,
    }
    return PhantomTrainings(out, args.preset, jobs, cohort)


def command_of(args: argparse.Namespace, study: Trainings, trainer: str, seed: int, fold: int) -> list[str]:
    """Trains and asks one fold of a study."""
    words = [*resolved("dsmt study"), "-o", str(study.out), "--preset", args.preset, "--jobs", str(study.jobs)]
    if args.dataset is None:
        words += ["--cases", str(args.cases), "--test-cases", str(args.test_cases)]
        words += ["--external-cases", str(args.external_cases), "--cohort-seed", str(args.cohort_seed)]
    else:
        words += ["-d", study.dataset, "-f", *map(str, study.folds()), *_own_folds(args)]
    return [*words, "--only", trainer, str(seed), str(fold)]


def _own_folds(args: argparse.Namespace) -> list[str]:
    by = [] if args.by is None else ["--by", args.by]
    return by if args.fold_seed is None else [*by, "--fold-seed", str(args.fold_seed)]


def _all_of_it(args: argparse.Namespace, study: Trainings) -> int:
    from dsmt_nnunet.study.centres import CENTRES_NAME, write_centres
    from dsmt_nnunet.study.preregistration import register
    from dsmt_nnunet.study.tables import floors_of, write_tables

    out = study.out
    queue = queue_of(args, out / JOBS_FOLDER) if args.cluster else None
    study.claim_folder()
    study.make_ready()
    finished = study.finished()
    seal = register(out, args.preregister, bool(finished))
    if seal:
        print(f"Registered {seal.written}, SHA-256 {seal.sha256}: deposit this number where it can be dated.")
    trainers = possible(args.trainers, study.has_covariates())
    question = study.question()
    floors = floors_of(question, out, worker_processes())
    wanted = [(trainer, seed) for seed in args.seeds for trainer in trainers if (trainer, seed) not in finished]
    runs: list[Any] = []
    if queue is None:
        runs = [item for trainer, seed in finished for item in study.runs(trainer, seed)]
        trained = in_parallel(study, wanted)
    else:
        trained = on_cluster(study, [*finished, *wanted], queue, lambda *which: command_of(args, study, *which))
    with closing(trained) as ended:
        for own in ended:
            runs += own
            write_tables(question, runs, floors, out)
    write_tables(question, runs, floors, out)
    if study.centres():
        write_centres(out, study.centres())
        print(f"\n{out / CENTRES_NAME}: the AUC of every run in each centre left out, and pooled over them.")
    print(f"\n{out / 'runs.csv'} and {out / 'scores.csv'} are complete; {out / 'seeds.csv'} compares trainers with")
    print("seeds and patients drawn from many. Figures and more of the mean of the seeds, for example:")
    scores = " ".join(f"--score {trainer}" for trainer in trainers)
    more = " --group cohort" if args.dataset is None else " --fold fold" if len(study.folds()) > 1 else ""
    print(f"dsmt evaluate table {out / 'scores.csv'} --truth truth {scores}{more} -o {out / 'metrics'}")
    print(NOT_A_MEDICAL_DEVICE)
    return 0
