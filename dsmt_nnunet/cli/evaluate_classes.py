"""`dsmt evaluate classes`: models that decide among grades, or classes without an order, compared."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsmt_nnunet.cli.arguments import file_to_read, folder_to_write
from dsmt_nnunet.cli.evaluate_output import finish, holm, interval, p_value, shown

if TYPE_CHECKING:
    from dsmt_nnunet.evaluation.records.class_comparisons import MeasureDifference
    from dsmt_nnunet.evaluation.settings import EvaluationSettings


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Adds `classes`; the caller adds what all kinds share."""
    parser = kinds.add_parser("classes", help="any table of models that decide among grades or several classes")
    parser.add_argument("table", type=file_to_read, help="CSV, one row a case")
    parser.add_argument("--truth", required=True, metavar="COLUMN", help="names of classes")
    parser.add_argument("--classes", nargs="+", required=True, metavar="NAME", help="all, of grades the lowest first")
    parser.add_argument("--ordered", action="store_true", help="the classes are grades")
    parser.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="with columns NAME_prob_CLASS; repeatable"
    )
    parser.add_argument("--reader", action="append", default=[], metavar="COLUMN", help="names of classes")
    parser.add_argument("--group", action="append", default=[], metavar="COLUMN[=EDGES]", help="subgroups, bands")
    parser.add_argument("--fold", metavar="COLUMN", help="fold of out-of-fold answers; none if one model gave all")
    parser.add_argument("--case", metavar="COLUMN", help="names of the cases; line numbers by default")
    parser.add_argument("-o", dest="out", type=folder_to_write, required=True, help="output folder")
    return parser


def run(args: argparse.Namespace, cluster: str | None, independent: bool, settings: EvaluationSettings) -> int:
    """`dsmt evaluate classes`."""
    from dsmt_nnunet.evaluation.class_table_file import ClassTableColumns, evaluate_class_table_file
    from dsmt_nnunet.evaluation.group_bands import GroupColumn

    columns = ClassTableColumns(
        truth=args.truth,
        classes=tuple(args.classes),
        models=tuple(args.model),
        is_ordinal=args.ordered,
        readers=tuple(args.reader),
        groups=tuple(GroupColumn.parse(text) for text in args.group),
        cluster=cluster,
        independent=independent,
        fold=args.fold,
        case=args.case,
    )
    metrics = evaluate_class_table_file(args.table, columns, args.out, settings)
    for name, measures in metrics.models.items():
        print(f"{name}: n {metrics.n}")
        for item in measures:
            print(f"  {item.measure} {shown(item.value)} ({interval(item.ci)})")
    for pair in metrics.comparisons:
        _print_differences(" - ".join(pair.models), pair.differences)
    for found in metrics.interactions:
        print(
            f"{found.measure} of {found.subject} at all levels of {found.group}: p {p_value(found.p_value)}"
            f"{holm(found.p_value_holm)}"
        )
    return finish(metrics, args.out)


def _print_differences(title: str, differences: Sequence[MeasureDifference]) -> None:
    for item in differences:
        print(
            f"{title}: {item.measure} {shown(item.difference)} ({interval(item.ci)}), p {p_value(item.p_value)}"
            f"{holm(item.p_value_holm)}"
        )
