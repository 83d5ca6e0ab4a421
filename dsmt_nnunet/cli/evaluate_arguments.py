"""Arguments that several kinds of `dsmt evaluate` share, and what they say."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsmt_nnunet.cli.arguments import seed

if TYPE_CHECKING:
    from dsmt_nnunet.evaluation.settings import EvaluationSettings
    from dsmt_nnunet.evaluation.task_cases import TaskOptions


def add_truth_columns(parser: argparse.ArgumentParser) -> None:
    """What is asked of a table of true nodules."""
    parser.add_argument("--max-distance", type=float, metavar="MM", help="between predicted and true centre")
    parser.add_argument("--group", action="append", default=[], metavar="COLUMN[=EDGES]", help="diameter_mm=8,15")
    add_cluster(parser)
    parser.add_argument(
        "--reader", action="append", default=[], metavar="[TASK:]COLUMN", help="ratings; the primary task by default"
    )
    parser.add_argument("--threshold", action="append", default=[], metavar="TASK=VALUE", help="further thresholds")


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Who the unit is."""
    parser.add_argument(
        "--cluster",
        metavar="COLUMN",
        help="column that names the patient, who is the unit; patient_id where it is there; none for single cases",
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """How intervals are made, and further figures."""
    parser.add_argument("--ci", choices=["wilson", "clopper-pearson"], default="wilson", help="interval of proportions")
    parser.add_argument("--confidence", type=float, default=0.95, help="confidence level (0.95)")
    parser.add_argument("--bootstrap", type=int, default=2000, metavar="N", help="resamples (2000), 0 for none")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument(
        "--margin", type=float, metavar="M", help="is each AUC at most this much below the other? readers too"
    )
    parser.add_argument(
        "--partial-auc", type=float, metavar="SPECIFICITY", help="also the AUC at specificities from this to 1"
    )
    where = "share of positives where the model is to be used: PPV, NPV, net benefit; that of the cases by default"
    parser.add_argument("--prevalence", type=float, metavar="P", help=where)


def settings_of(args: argparse.Namespace) -> EvaluationSettings:
    """What `add_settings` asked."""
    from dsmt_nnunet.evaluation.settings import EvaluationSettings

    return EvaluationSettings(
        args.ci, args.confidence, args.bootstrap, args.seed, args.prevalence, args.margin, args.partial_auc
    )


def task_options(args: argparse.Namespace) -> TaskOptions:
    """What `add_truth_columns` asked."""
    from dsmt_nnunet.evaluation.group_bands import GroupColumn
    from dsmt_nnunet.evaluation.patients import PATIENT_COLUMN
    from dsmt_nnunet.evaluation.task_cases import TaskOptions

    readers: dict[str, tuple[str, ...]] = {}
    for text in args.reader:
        task, _, column = text.rpartition(":")
        readers[task] = (*readers.get(task, ()), column)
    return TaskOptions(
        groups=tuple(GroupColumn.parse(text) for text in args.group),
        cluster=None if is_independent(args) else cluster_of(args) or PATIENT_COLUMN,
        readers=readers,
        thresholds=thresholds_of(args.threshold, None, ()),
    )


def is_independent(args: argparse.Namespace) -> bool:
    """Whether every case is said to stand alone."""
    from dsmt_nnunet.evaluation.patients import INDEPENDENT

    return bool(args.cluster == INDEPENDENT)


def cluster_of(args: argparse.Namespace) -> str | None:
    """The column named, None where none is."""
    return None if args.cluster is None or is_independent(args) else str(args.cluster)


def thresholds_of(
    texts: Sequence[str], known: Sequence[str] | None, everyone: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """Parses `NAME=VALUE`, or `VALUE` for all of `everyone`."""
    thresholds: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (not name and not everyone):
            raise ValueError(f"--threshold {text}: it must read NAME=VALUE with a finite number, as in score=0.4.")
        if name and known is not None and name not in known:
            raise ValueError(f"--threshold {text}: '{name}' is none of the scores and readers {list(known)}.")
        for target in [name] if name else everyone:
            thresholds[target] = (*thresholds.get(target, ()), value)
    return thresholds
