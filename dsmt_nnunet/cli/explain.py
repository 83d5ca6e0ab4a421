"""`dsmt explain`: maps of what drove a score, for nodules that have been predicted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.cli.arguments import EachOnce
from dsmt_nnunet.environment import best_device, prepare


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "explain",
        help="map what drove a score, at both scales",
        description="Covers each predicted nodule and its surroundings piece by piece and notes how the score changes. "
        "Flags as in nnUNetv2_predict; run it after that command, on the same folders.",
    )
    parser.add_argument("-i", dest="images", type=Path, required=True, help="input folder of the prediction")
    parser.add_argument("-o", dest="predictions", type=Path, required=True, help="output folder of the prediction")
    parser.add_argument("-d", dest="dataset", required=True, help="data set name or ID")
    parser.add_argument("-c", dest="configuration", default="3d_fullres")
    parser.add_argument("-tr", dest="trainer", default="DSMTTrainer")
    parser.add_argument("-p", dest="plans", default="nnUNetPlans")
    parser.add_argument(
        "-f", dest="folds", nargs="+", action=EachOnce, default=None, help="default: all that are trained"
    )
    parser.add_argument("-chk", dest="checkpoint", default="checkpoint_final.pth")
    parser.add_argument("-device", default=None, help="cuda, cpu or mps; default: the first that is there")
    parser.add_argument("--task", default=None, help="default: the primary task")
    parser.add_argument(
        "--cases", nargs="+", action=EachOnce, default=(), metavar="CASE", help="default: all that were predicted"
    )
    parser.add_argument("--trust", action="store_true", help="let checkpoint and plans run code that they bring")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    prepare()
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    from dsmt_nnunet.inference.explain_folder import explain_folder
    from dsmt_nnunet.inference.model_files import load_predictor
    from dsmt_nnunet.nnunet_folders import dataset_name

    model_folder = get_output_folder(dataset_name(args.dataset), args.trainer, args.plans, args.configuration)
    folds = None if args.folds is None else tuple(fold if fold == "all" else int(fold) for fold in args.folds)
    device = args.device or best_device()
    predictor = load_predictor(Path(model_folder), folds, args.checkpoint, device, trust=args.trust)
    written = explain_folder(predictor, args.images, args.predictions, args.task, args.cases)
    print(f"{written} maps in {args.predictions / 'explanations'}. {NOT_A_MEDICAL_DEVICE}")
    return 0
