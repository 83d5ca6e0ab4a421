"""`dsmt model`: hands a trained model on, takes one in, and tells of those that come with the package."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dsmt_nnunet.cli.arguments import EachOnce, file_to_read, file_to_write
from dsmt_nnunet.environment import prepare
from dsmt_nnunet.shipped_models import CARD_NAME, card_of, model_place, shipped_models, what_is_shipped


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `model export`, `model card`, `model install`, and `model list`, `path` and `show` of shipped models."""
    parser = subparsers.add_parser("model", help="hand a trained model on, or take one in")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    export = actions.add_parser(
        "export",
        help="as a zip file without paths, host names and cases",
        description="Writes what prediction needs, operating point included, as nnU-Net's install command takes it. "
        "Flags as in nnU-Net.",
    )
    _add_model_arguments(export)
    export.add_argument("-o", dest="output", type=file_to_write, required=True, metavar="FILE.zip")
    export.add_argument(
        "-f", dest="folds", nargs="+", action=EachOnce, default=None, help="default: all that are trained"
    )
    export.set_defaults(run=run_export)
    card = actions.add_parser(
        "card",
        help="write what a model was made of, how well it does and where it ends",
        description="Writes model_card.md into the model's folder, from what is on disk; 'dsmt model export' puts it "
        "into the zip. It names no case, patient or path.",
    )
    _add_model_arguments(card)
    card.add_argument("--metrics", type=Path, metavar="FOLDER", help="what 'dsmt evaluate crossval -o FOLDER' wrote")
    card.add_argument(
        "--group", action="append", default=[], metavar="COLUMN", help="of nodules.csv, whose groups are counted"
    )
    card.set_defaults(run=run_card)
    install = actions.add_parser(
        "install",
        help="a zip file, after a look at it",
        description="Unpacks a model into nnUNet_results. Checkpoints are read as weights and plain values, plans may "
        "name layers of torch.nn alone; anything else is refused, since reading it could run code.",
    )
    install.add_argument("archive", type=file_to_read, metavar="FILE.zip")
    install.add_argument(
        "--trust", action="store_true", help="let the model run code of its own: only if you know who made it"
    )
    install.set_defaults(run=run_install)
    listing = actions.add_parser("list", help="models that come with the package, and their size")
    listing.set_defaults(run=run_list)
    for action, does, run in (("path", "print its file", run_path), ("show", "print its card", run_show)):
        shipped = actions.add_parser(action, help=f"of a model that comes with the package: {does}")
        shipped.add_argument("name", help="such as 'dsmt model list' prints")
        shipped.set_defaults(run=run)


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", dest="dataset", required=True, help="data set name or ID")
    parser.add_argument("-c", dest="configuration", default="3d_fullres")
    parser.add_argument("-tr", dest="trainer", default="DSMTTrainer")
    parser.add_argument("-p", dest="plans", default="nnUNetPlans")
    parser.add_argument("-chk", dest="checkpoint", default="checkpoint_final.pth")


def _model_folder(args: argparse.Namespace) -> Path:
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    from dsmt_nnunet.nnunet_folders import dataset_name

    return Path(get_output_folder(dataset_name(args.dataset), args.trainer, args.plans, args.configuration))


def run_card(args: argparse.Namespace) -> int:
    """Runs `dsmt model card`."""
    prepare()
    from dsmt_nnunet.evaluation.files import read_metrics
    from dsmt_nnunet.evaluation.records.metrics import CrossvalMetrics, PredictionMetrics
    from dsmt_nnunet.files import write_text
    from dsmt_nnunet.inference.model_card import model_card
    from dsmt_nnunet.nnunet_folders import read_nodule_table
    from dsmt_nnunet.tasks import ClassificationSchema

    folder = _model_folder(args)
    metrics = read_metrics(args.metrics) if args.metrics else None
    if metrics is not None and not isinstance(metrics, CrossvalMetrics | PredictionMetrics):
        raise ValueError(f"{args.metrics} is not of 'dsmt evaluate crossval' or 'predictions'.")
    table = None
    try:
        content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        table = read_nodule_table(folder.parent.name, ClassificationSchema.from_dataset_json(content))
    except FileNotFoundError as error:
        print(f"The card will not tell of the training nodules: {error}")
    write_text(folder / CARD_NAME, model_card(folder, table, metrics, args.group, args.checkpoint))
    print(f"Wrote {folder / CARD_NAME}. Read it before you hand it on.")
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Runs `dsmt model export`."""
    prepare()
    from dsmt_nnunet.inference.model_zip import export_model

    args.output.parent.mkdir(parents=True, exist_ok=True)
    has_point = export_model(_model_folder(args), args.output, args.folds, args.checkpoint)
    print(f"Wrote {args.output}.")
    if not has_point:
        print("It has no operating point of these networks (dsmt evaluate crossval makes one):")
        print("thresholds will be 0.5, and probabilities not calibrated.")
    return 0


def run_install(args: argparse.Namespace) -> int:
    """Runs `dsmt model install`."""
    prepare()
    from dsmt_nnunet.inference.model_zip import install_model
    from dsmt_nnunet.nnunet_folders import folder_from_environment
    from dsmt_nnunet.predictions.operating_point import OPERATING_POINT_NAME

    for folder in install_model(args.archive, folder_from_environment("nnUNet_results"), args.trust):
        point = "with its operating point" if (folder / OPERATING_POINT_NAME).is_file() else "WITHOUT operating point"
        print(f"Installed {folder.parent.name}/{folder.name} {point}.")
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Runs `dsmt model list`."""
    if not (models := shipped_models()):
        print(what_is_shipped())
    for name, path in models.items():
        print(f"{name} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def run_path(args: argparse.Namespace) -> int:
    """Runs `dsmt model path`."""
    print(model_place(args.name))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Runs `dsmt model show`."""
    card = card_of(model_place(args.name))
    print("It has no card." if card is None else card, end="\n" if card is None else "")
    return 0
