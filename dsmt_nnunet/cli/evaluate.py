"""`dsmt evaluate`: statistics of predictions, of a cross-validation, of any table of scores, of a reader study."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsmt_nnunet.cli import evaluate_classes, evaluate_contours, evaluate_power
from dsmt_nnunet.cli.arguments import EachOnce, file_to_read, folder_to_write
from dsmt_nnunet.cli.evaluate_arguments import (
    add_cluster,
    add_settings,
    add_truth_columns,
    cluster_of,
    is_independent,
    settings_of,
    task_options,
    thresholds_of,
)
from dsmt_nnunet.cli.evaluate_output import (
    decided,
    finish,
    holm,
    interval,
    p_value,
    print_added,
    print_comparisons,
    print_score,
    print_tasks,
    shown,
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `evaluate` and its sub-commands."""
    parser = subparsers.add_parser(
        "evaluate", help="statistics with intervals, of predictions or of any table", description=__doc__
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_predictions(kinds)
    _add_crossval(kinds)
    _add_table(kinds)
    _add_classes(kinds)
    _add_readers(kinds)
    evaluate_contours.add_parser(kinds)
    evaluate_power.add_parser(kinds)


def _add_predictions(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser("predictions", help="a folder of predictions against nodules.csv")
    parser.add_argument("folder", type=Path, help="folder with CASE.json (and CASE.nii.gz for Dice)")
    parser.add_argument("--truth", type=file_to_read, required=True, help="nodules.csv")
    parser.add_argument("-o", dest="out", type=folder_to_write, required=True, help="output folder")
    parser.add_argument("--labels", type=Path, help="folder of reference masks CASE.nii.gz, for Dice")
    parser.add_argument(
        "--only-predicted",
        action="store_true",
        help="leave out cases of the truth without a prediction; by default they count as not diagnosed",
    )
    add_truth_columns(parser)
    add_settings(parser)
    parser.set_defaults(run=run_predictions)


def _add_crossval(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser("crossval", help="all folds' validation; writes the model's operating point")
    parser.add_argument("-d", dest="dataset", required=True, help="data set name or id")
    parser.add_argument("-c", dest="configuration", default="3d_fullres", help="configuration (3d_fullres)")
    parser.add_argument("-tr", dest="trainer", default="DSMTTrainer", help="trainer (DSMTTrainer)")
    parser.add_argument("-p", dest="plans", default="nnUNetPlans", help="plans (nnUNetPlans)")
    parser.add_argument("-f", dest="folds", nargs="+", type=int, action=EachOnce, help="folds (all that are validated)")
    parser.add_argument("-o", dest="out", type=folder_to_write, help="output folder (dsmt_crossval in the model's)")
    parser.add_argument(
        "--target-sensitivity",
        type=float,
        metavar="S",
        help="choose the highest threshold that reaches this sensitivity; Youden's J by default",
    )
    add_truth_columns(parser)
    add_settings(parser)
    parser.set_defaults(run=run_crossval)


def _add_table(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser("table", help="any table with truth, scores and readers' ratings")
    parser.add_argument("table", type=file_to_read, help="CSV, one row a case")
    parser.add_argument("--truth", required=True, metavar="COLUMN", help="0/1, or two class names with --positive")
    parser.add_argument("--positive", metavar="NAME", help="the class name that means positive")
    parser.add_argument("--score", action="append", required=True, metavar="COLUMN", help="higher means positive")
    parser.add_argument("--reader", action="append", default=[], metavar="COLUMN", help="0/1 or ordinal ratings")
    parser.add_argument("--group", action="append", default=[], metavar="COLUMN[=EDGES]", help="subgroups, bands")
    add_cluster(parser)
    parser.add_argument(
        "--fold",
        metavar="COLUMN",
        help="fold of out-of-fold scores, which are analysed within folds; none if one model gave all scores",
    )
    parser.add_argument("--case", metavar="COLUMN", help="names of the cases; line numbers by default")
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="[NAME=]VALUE",
        help="operating point of a score, cut of an ordinal reader, or of all scores; 0.5 for probabilities by default",
    )
    parser.add_argument(
        "--beside", action="append", default=[], metavar="COLUMN", help="numbers: what does a score add to them?"
    )
    parser.add_argument(
        "--threshold-from",
        choices=["youden"],
        help="choose the threshold on these very data; the result is optimistic and says so",
    )
    parser.add_argument("-o", dest="out", type=folder_to_write, required=True, help="output folder")
    add_settings(parser)
    parser.set_defaults(run=run_table)


def _add_classes(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = evaluate_classes.add_parser(kinds)
    add_cluster(parser)
    parser.add_argument("--ci", choices=["wilson", "clopper-pearson"], default="wilson", help="interval of proportions")
    parser.add_argument("--confidence", type=float, default=0.95, help="confidence level (0.95)")
    parser.set_defaults(run=run_classes)


def _add_readers(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = kinds.add_parser("readers", help="multi-reader multi-case study (Obuchowski-Rockette)")
    parser.add_argument("table", type=file_to_read, help="CSV, one row a rating")
    parser.add_argument("--reader-column", default="reader", metavar="COLUMN")
    parser.add_argument("--modality-column", default="modality", metavar="COLUMN")
    parser.add_argument("--case-column", default="case", metavar="COLUMN")
    parser.add_argument("--truth", default="truth", metavar="COLUMN", help="0/1, or two class names with --positive")
    parser.add_argument("--positive", metavar="NAME", help="the class name that means positive")
    parser.add_argument("--rating", default="rating", metavar="COLUMN", help="higher means positive")
    parser.add_argument("--covariance", choices=["delong", "jackknife", "unbiased"], default="delong")
    parser.add_argument(
        "--cut", type=float, metavar="RATING", help="also sensitivity and specificity of ratings at or above this"
    )
    add_cluster(parser)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("-o", dest="out", type=folder_to_write, required=True, help="output folder")
    parser.set_defaults(run=run_readers)


def run_predictions(args: argparse.Namespace) -> int:
    """`dsmt evaluate predictions`."""
    from dsmt_nnunet.evaluation.predicted import PredictionInputs, evaluate_predictions
    from dsmt_nnunet.evaluation.records.tasks import PredictedBinaryTask

    options = task_options(args)
    inputs = PredictionInputs(args.folder, args.truth, args.labels, args.max_distance, options, args.only_predicted)
    metrics = evaluate_predictions(inputs, args.out, settings_of(args))
    print_tasks(metrics.tasks)
    for name, task in metrics.tasks.items():
        if isinstance(task, PredictedBinaryTask) and task.intention_to_diagnose.n_lost:
            lost = task.intention_to_diagnose
            print(f"{name}, all that were to be diagnosed ({lost.n_lost} without an answer). {lost.auc_sentence}")
            print(f"  {decided(lost)}")
    detection = metrics.detection
    print(
        f"{detection.n_scans} scans, {detection.n_scans_crashed} of them without a prediction: {detection.n_matched} "
        f"nodules found, {detection.n_missed} missed, {detection.n_crashed} in scans without a prediction, "
        f"{detection.n_extra} extra ({detection.extra_per_scan:.2f} a scan)"
    )
    if detection.free_response:
        print(detection.free_response.sentence)
    if metrics.dice:
        print(f"Dice {shown(metrics.dice.mean)} ({interval(metrics.dice.mean_ci)}) over {metrics.dice.n} cases")
    return finish(metrics, args.out)


def run_crossval(args: argparse.Namespace) -> int:
    """`dsmt evaluate crossval`."""
    from dsmt_nnunet.evaluation.crossval import CrossvalInputs, evaluate_crossval
    from dsmt_nnunet.evaluation.model_folder import find_model_folder, find_truth_table

    model_folder = find_model_folder(args.dataset, args.trainer, args.plans, args.configuration)
    truth = find_truth_table(args.dataset)
    inputs = CrossvalInputs(
        model_folder,
        truth,
        None if args.folds is None else tuple(args.folds),
        args.max_distance,
        args.target_sensitivity,
        task_options(args),
    )
    out = args.out or model_folder / "dsmt_crossval"
    metrics = evaluate_crossval(inputs, out, settings_of(args))
    print_tasks(metrics.tasks)
    for name, task in metrics.tasks.items():
        chosen = task.chosen_operating_point
        if chosen.sensitivity_to_expect is not None and chosen.sensitivity_to_expect_ci is not None:
            print(
                f"{name}: threshold {chosen.threshold:.4g} was chosen on these cases; on others expect a sensitivity "
                f"{shown(chosen.sensitivity_to_expect)} ({interval(chosen.sensitivity_to_expect_ci)})"
            )
    print(f"operating point: {model_folder / 'operating_point.json'}")
    return finish(metrics, out)


def run_table(args: argparse.Namespace) -> int:
    """`dsmt evaluate table`."""
    from dsmt_nnunet.evaluation.group_bands import GroupColumn
    from dsmt_nnunet.evaluation.table_file import TableColumns, evaluate_table_file

    columns = TableColumns(
        truth=args.truth,
        positive=args.positive,
        scores=tuple(args.score),
        readers=tuple(args.reader),
        groups=tuple(GroupColumn.parse(text) for text in args.group),
        cluster=cluster_of(args),
        independent=is_independent(args),
        fold=args.fold,
        case=args.case,
        thresholds=thresholds_of(args.threshold, (*args.score, *args.reader), args.score),
        beside=tuple(args.beside),
        threshold_from=args.threshold_from,
    )
    metrics = evaluate_table_file(args.table, columns, args.out, settings_of(args))
    for name, score in metrics.scores.items():
        print_score(name, score)
    print_added(metrics.added_value or ())
    print_comparisons(metrics)
    return finish(metrics, args.out)


def run_classes(args: argparse.Namespace) -> int:
    """`dsmt evaluate classes`."""
    from dsmt_nnunet.evaluation.settings import EvaluationSettings

    settings = EvaluationSettings(args.ci, args.confidence)
    return evaluate_classes.run(args, cluster_of(args), is_independent(args), settings)


def run_readers(args: argparse.Namespace) -> int:
    """`dsmt evaluate readers`."""
    from dsmt_nnunet.evaluation.reader_study import RatingColumns, evaluate_reader_study_file
    from dsmt_nnunet.evaluation.settings import EvaluationSettings

    columns = RatingColumns(
        args.reader_column,
        args.modality_column,
        args.case_column,
        args.truth,
        args.rating,
        args.positive,
        cluster_of(args),
        is_independent(args),
    )
    settings = EvaluationSettings(level=args.confidence, n_resamples=0)
    metrics = evaluate_reader_study_file(args.table, columns, args.out, settings, args.covariance, args.cut)
    for merit, result in metrics.merits.items():
        for mean in result.quoted.means:
            print(f"{merit}, {mean.modality}: {shown(mean.estimate)} ({interval(mean.ci)})")
        for item in result.quoted.differences:
            print(
                f"{merit}, {item.first} - {item.second}: {shown(item.estimate)} ({interval(item.ci)}), "
                f"p {p_value(item.p_value)}{holm(item.p_value_holm)}"
            )
    return finish(metrics, args.out)
