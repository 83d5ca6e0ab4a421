"""`dsmt demo`: the main job on the phantom cohort, every step the command a user would type."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE
from dsmt_nnunet.csv_table import read_csv
from dsmt_nnunet.environment import FOLDERS, best_device, resolved, variables_of_children, worker_processes
from dsmt_nnunet.tasks import NODULE_TABLE_NAME, POSITION_COLUMNS

DATASET_ID = 500
DATASET = f"Dataset{DATASET_ID}_Phantom"
EXPLAINED_CASES = 2
"""So few because maps of one nodule take seconds on a CPU."""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="run the main job on phantoms, from images to a report",
        description="Makes a phantom cohort, plans, trains, predicts, evaluates and writes a report.",
    )
    parser.add_argument("-o", dest="out", type=Path, default=Path("demo"), help="folder (default: demo)")
    parser.add_argument("--cases", type=int, default=56, help="training cases")
    parser.add_argument("--test-cases", type=int, default=20, help="unseen cases of the same protocols")
    parser.add_argument("--external-cases", type=int, default=10, help="unseen cases of another protocol")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """`dsmt demo`."""
    from dsmt_nnunet.dataset_conversion.phantom.cohort import case_name

    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    processes = worker_processes()
    variables = variables_of_children(out)
    for name in FOLDERS:
        shutil.rmtree(out / name / DATASET, ignore_errors=True)
    raw = out / "nnUNet_raw" / DATASET
    predictions, metrics, report = out / "predictions", out / "metrics", out / "report.html"
    device = best_device()
    shutil.rmtree(predictions, ignore_errors=True)
    model = f"-d {DATASET_ID} -c 3d_fullres -f 0 -tr DSMTTrainer -p DSMTPlansXS -device {device}"
    explained = " ".join(case_name("test", index) for index in range(min(EXPLAINED_CASES, args.test_cases)))
    commands = [
        f"dsmt convert phantom -d {DATASET_ID} --cases {args.cases} --test-cases {args.test_cases} "
        f"--external-cases {args.external_cases} --seed 1 -np {processes}",
        f"dsmt plan -d {DATASET_ID} -pl DSMTPlannerXS -np {processes}",
        f"nnUNetv2_train {DATASET_ID} 3d_fullres 0 -tr DSMTTrainer -p DSMTPlansXS -device {device}",
        f"nnUNetv2_predict -i {_quoted(raw / 'imagesTs')} -o {_quoted(predictions)} {model} -npp 1 -nps 1",
        f"dsmt explain -i {_quoted(raw / 'imagesTs')} -o {_quoted(predictions)} {model} --cases {explained}",
        f"dsmt evaluate predictions {_quoted(predictions)} --truth {_quoted(raw / 'nodulesTs.csv')} "
        f"--labels {_quoted(raw / 'labelsTs')} --group cohort -o {_quoted(metrics)}",
        f"dsmt report {_quoted(metrics)} -o {_quoted(report)} --images {_quoted(raw / 'imagesTs')} "
        f"--labels {_quoted(raw / 'labelsTs')} --predictions {_quoted(predictions)}",
    ]
    start = time.monotonic()
    for number, command in enumerate(commands, start=1):
        if command.startswith("nnUNetv2_predict"):
            give_positions(raw / "nodulesTs.csv", raw / "imagesTs" / NODULE_TABLE_NAME)
        print(f"\n[{number}/{len(commands)}, {time.monotonic() - start:.0f} s] {command}", flush=True)
        status = subprocess.run(resolved(command), env=variables, check=False).returncode
        if status != 0:
            print(f"dsmt demo: this command ended with status {status}: {command}", file=sys.stderr)
            return 1
    print(f"\nDone in {time.monotonic() - start:.0f} s. Open {report}\n{NOT_A_MEDICAL_DEVICE}")
    return 0


def give_positions(truth: Path, table: Path) -> None:
    """Where the nodules are, and nothing else: as a radiologist would who has seen them."""
    columns = ("case_id", "nodule_id", *POSITION_COLUMNS)
    lines = [",".join(columns), *(",".join(row.get(name) for name in columns) for row in read_csv(truth).rows)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\nPositions of the nodules: {table}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
