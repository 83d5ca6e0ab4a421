"""`dsmt plan`: fingerprint, plan, preprocessing, context volumes and splits in one go."""

from __future__ import annotations

import argparse
import os
from typing import Any

from dsmt_nnunet.cli.arguments import EachOnce, count
from dsmt_nnunet.environment import prepare


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "plan",
        help="plan and preprocess a data set with the patch sized from its nodules",
        description="Fingerprint, plan, preprocessing, context volumes and splits in one go. Flags as in nnU-Net.",
    )
    parser.add_argument("-d", type=int, nargs="+", action=EachOnce, required=True, help="data set IDs")
    parser.add_argument("-pl", default="DSMTPlanner", help="DSMTPlanner, DSMTPlannerXS or DSMTPlannerResEncM")
    parser.add_argument("-c", nargs="+", default=["3d_fullres"], help="configurations; only 3d_fullres is of use")
    parser.add_argument("-gpu_memory_target", type=float, default=None, help="in GB; default: the planner's own")
    parser.add_argument(
        "-overwrite_target_spacing", type=float, nargs=3, default=None, metavar="MM", help="voxel size (z, y, x) in mm"
    )
    parser.add_argument("-overwrite_plans_name", default=None, help="another name than the planner's own")
    parser.add_argument("-np", type=count, default=None, help="processes; default: one a core, at most 8")
    parser.add_argument("--clean", action="store_true", help="make the fingerprint again")
    parser.add_argument("--no_pp", action="store_true", help="plan only, do not preprocess")
    parser.add_argument("--verify_dataset_integrity", action="store_true", help="check the raw data set first")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    prepare()
    from dsmt_nnunet.planners.planning import plan_and_preprocess

    unknown = [name for name in args.c if name != "3d_fullres"]
    if unknown:
        raise ValueError(
            f"DSMT plans the configuration 3d_fullres alone, got {unknown}. A nodule and its context are volumes, so "
            f"2d is of no use; the coarse view that 3d_lowres would give is the context patch."
        )
    processes = args.np or min(8, os.cpu_count() or 1)
    for dataset_id in args.d:
        planned = plan_and_preprocess(
            dataset_id,
            planner=args.pl,
            gpu_memory_target_gb=args.gpu_memory_target,
            target_spacing_mm=args.overwrite_target_spacing,
            plans_name=args.overwrite_plans_name,
            processes=processes,
            clean=args.clean,
            preprocess=not args.no_pp,
            verify=args.verify_dataset_integrity,
        )
        print(f"Next: dsmt train {dataset_id} 3d_fullres {planned.first_fold} -p {planned.plans_name}")
    return 0
