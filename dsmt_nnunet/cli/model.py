"""`dsmt model`: hands a trained model on, and takes one in."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsmt_nnunet.environment import prepare


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `model export` and `model install`."""
    parser = subparsers.add_parser("model", help="hand a trained model on, or take one in")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    export = actions.add_parser(
        "export",
        help="as a zip file without paths, host names and cases",
        description="Writes what prediction needs, operating point included, as nnU-Net's install command takes it. "
        "Flags as in nnU-Net.",
    )
    export.add_argument("-d", dest="dataset", required=True, help="data set name or ID")
    export.add_argument("-o", dest="output", type=Path, required=True, metavar="FILE.zip")
    export.add_argument("-c", dest="configuration", default="3d_fullres")
    export.add_argument("-tr", dest="trainer", default="DSMTTrainer")
    export.add_argument("-p", dest="plans", default="nnUNetPlans")
    export.add_argument("-f", dest="folds", nargs="+", default=None, help="default: all that are trained")
    export.add_argument("-chk", dest="checkpoint", default="checkpoint_final.pth")
    export.set_defaults(run=run_export)
    install = actions.add_parser(
        "install",
        help="a zip file, after a look at it",
        description="Unpacks a model into nnUNet_results. Checkpoints are read as weights and plain values, plans may "
        "name layers of torch.nn alone; anything else is refused, since reading it could run code.",
    )
    install.add_argument("archive", type=Path, metavar="FILE.zip")
    install.add_argument(
        "--trust", action="store_true", help="let the model run code of its own: only if you know who made it"
    )
    install.set_defaults(run=run_install)


def run_export(args: argparse.Namespace) -> int:
    """Runs `dsmt model export`."""
    prepare()
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    from dsmt_nnunet.inference.model_zip import export_model

    dataset = int(args.dataset) if args.dataset.isdigit() else args.dataset
    folder = Path(get_output_folder(dataset, args.trainer, args.plans, args.configuration))
    has_point = export_model(folder, args.output, args.folds, args.checkpoint)
    print(f"Wrote {args.output}.")
    if not has_point:
        print("It has no operating point (dsmt evaluate crossval makes one): thresholds will be 0.5, not calibrated.")
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
