"""`dsmt evaluate power`: how many patients a comparison of two AUCs needs."""

from __future__ import annotations

import argparse

from dsmt_nnunet import NOT_A_MEDICAL_DEVICE


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `power`."""
    parser = kinds.add_parser("power", help="patients that a comparison of two AUCs needs; writes nothing")
    parser.add_argument("--aucs", nargs=2, type=float, required=True, metavar=("A", "B"), help="AUCs expected")
    parser.add_argument("--patients", type=int, metavar="N", help="power of so many; without it, how many are needed")
    parser.add_argument("--power", type=float, default=0.8, help="wanted, where --patients is not given (0.8)")
    parser.add_argument("--nodules", type=float, default=1.0, metavar="N", help="a patient (1)")
    parser.add_argument("--prevalence", type=float, default=0.5, metavar="P", help="share of positive nodules (0.5)")
    parser.add_argument("--correlation", type=float, default=0.5, metavar="R", help="of both scores in a class (0.5)")
    parser.add_argument(
        "--patient-correlation", type=float, default=0.5, metavar="R", help="of a score in nodules of a patient (0.5)"
    )
    parser.add_argument(
        "--label-correlation", type=float, default=0.5, metavar="R", help="of the labels of nodules of a patient (0.5)"
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of each procedure (1)")
    parser.add_argument("--seed-sd", type=float, default=0.0, metavar="SD", help="of the AUC over seeds (0)")
    parser.add_argument("--margin", type=float, metavar="M", help="non-inferiority of A within this margin")
    parser.add_argument("--alpha", type=float, default=0.05, help="two-sided; half of it with --margin (0.05)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """`dsmt evaluate power`."""
    from dataclasses import replace

    from dsmt_nnunet.statistics.power import ComparisonDesign, patients_needed, power_of

    design = ComparisonDesign(
        args.aucs[0],
        args.aucs[1],
        2 if args.patients is None else args.patients,
        args.nodules,
        args.prevalence,
        args.correlation,
        args.patient_correlation,
        args.label_correlation,
        args.seeds,
        args.seed_sd,
        args.margin,
        args.alpha,
    )
    if args.patients is None:
        design = replace(design, n_patients=patients_needed(design, args.power))
    found = power_of(design)
    asked = "a difference" if args.margin is None else f"non-inferiority within {args.margin:g}"
    seeds = f", {args.seeds} seeds each" if args.seeds > 1 else ""
    print(
        f"{design.n_patients} patients with {args.nodules:g} nodules each ({found.n_positive:.0f} positive, "
        f"{found.n_negative:.0f} negative){seeds}: power {found.power:.3f} for {asked} of AUCs "
        f"{args.aucs[0]:g} and {args.aucs[1]:g}; standard error {found.se:.4f}"
    )
    print(NOT_A_MEDICAL_DEVICE)
    return 0
