"""`dsmt evaluate contours`: how far readers agree in what they drew."""

from __future__ import annotations

import argparse

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.cli.arguments import folder_to_write
from dsmt_nnunet.cli.evaluate_output import interval, shown


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `contours`."""
    parser = kinds.add_parser("contours", help="how far readers agree in what they drew of each nodule")
    parser.add_argument("-d", dest="dataset", required=True, help="data set name or id, with readers' masks (readers/)")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("-o", dest="out", type=folder_to_write, required=True, help="output folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """`dsmt evaluate contours`."""
    from dsmt_nnunet.evaluation.contours import SUMMARY_NAME, TABLE_NAME, evaluate_contours
    from dsmt_nnunet.evaluation.settings import EvaluationSettings
    from dsmt_nnunet.nnunet_folders import dataset_name, folder_from_environment

    data_set = folder_from_environment("nnUNet_raw") / dataset_name(args.dataset)
    found = evaluate_contours(data_set, args.out, EvaluationSettings(level=args.confidence).level)
    alone = "no interval: one patient"
    dice, variation = (
        alone if found.n_patients < 2 else interval(limits) for limits in (found.dice_ci, found.volume_variation_ci)
    )
    print(
        f"{found.n} nodules of {found.n_patients} patients were drawn by two readers or more, {found.n_single} by one "
        f"alone.\n"
        f"Dice of two readers {shown(found.dice)} ({dice})\n"
        f"coefficient of variation of their volumes {shown(found.volume_variation)} ({variation})\n"
        f"{args.out / TABLE_NAME}, {args.out / SUMMARY_NAME}\n{NOT_A_MEDICAL_DEVICE}"
    )
    return 0
