"""`dsmt predict`: nnUNetv2_predict with the environment set and the device chosen; or --model, wherever it lies."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dsmt_nnunet.cli.arguments import folder_to_write
from dsmt_nnunet.cli.stock import add_stock_parser, run_stock, take_option, with_trainer
from dsmt_nnunet.environment import prepare
from dsmt_nnunet.shipped_models import card_of, model_place, what_a_user_should_know

MODEL_OPTION = "--model"

if TYPE_CHECKING:
    from dsmt_nnunet.inference.dicom_input import ExportedCase


def add_parser(subparsers: Any) -> None:
    """Adds `predict`."""
    add_stock_parser(
        subparsers,
        "predict",
        run,
        "; --model NAME, instead of -d and -c, asks a model that comes with the package ('dsmt model list') or lies in "
        "a zip file or folder; checkpoints that could run code are refused unless --trust is given; -i may be a DICOM "
        "export (folder or zip), --structures 'GTV*' takes positions from its contours",
    )


def run(args: argparse.Namespace) -> int:
    name, arguments = take_option(args.arguments, MODEL_OPTION)
    trust = "--trust" in arguments
    arguments = [word for word in arguments if word != "--trust"]
    prepare(folders=name is None)
    if name is None:
        arguments = with_trainer(arguments)
        return _predict("nnUNetv2_predict", arguments, _model_folder(arguments), trust)
    options = _model_options(arguments)
    if options.d is not None or options.c is not None:
        raise ValueError(f"{MODEL_OPTION} says which model; it does not go with -d and -c.")
    from dsmt_nnunet.inference.model_files import DEFAULT_CHECKPOINT, checkpoint_paths
    from dsmt_nnunet.inference.model_zip import opened_model

    place = model_place(name)
    print("\n".join([f"{MODEL_OPTION} {name}:", *what_a_user_should_know(card_of(place))]))
    with opened_model(place) as folder:
        paths = checkpoint_paths(folder, options.f, options.chk or DEFAULT_CHECKPOINT)
        if options.f is None:
            arguments += ["-f", *(path.parent.name.removeprefix("fold_") for path in paths)]
        return _predict("nnUNetv2_predict_from_modelfolder", ["-m", str(folder), *arguments], folder, trust)


def _predict(command: str, arguments: Sequence[str], folder: Path | None, trust: bool) -> int:
    """Runs one of nnU-Net's two commands of prediction; `folder` is the model's, where it is known."""
    if folder is not None and not trust:
        _check_model(folder, arguments)
    from nnunetv2.inference import predict_from_raw_data

    from dsmt_nnunet.inference.lost_cases import CasesFailed
    from dsmt_nnunet.inference.model_files import usable_device

    usable_device(_model_options(arguments).device)
    entry_points = {
        "nnUNetv2_predict": predict_from_raw_data.predict_entry_point,
        "nnUNetv2_predict_from_modelfolder": predict_from_raw_data.predict_entry_point_modelfolder,
    }
    with _dicom_as_images(arguments, folder) as (chosen, cases):
        unread = [f"  {case.case_id}: {case.problem}" for case in cases if case.problem]
        try:
            status = run_stock(command, entry_points[command], chosen)
        except AssertionError as error:  # nnU-Net's way to refuse an argument
            raise ValueError(str(error)) from error
        except CasesFailed as error:
            print(f"dsmt predict: {error}", file=sys.stderr)
            status = 1
    if unread:
        text = f"{len(unread)} of {len(cases)} CT series could not be read, so that they were not predicted:"
        print("\n".join([f"dsmt predict: {text}", *unread]), file=sys.stderr)
    return status or int(bool(unread))


@contextmanager
def _dicom_as_images(
    arguments: Sequence[str], folder: Path | None
) -> Iterator[tuple[list[str], Sequence[ExportedCase]]]:
    """The arguments, those of a DICOM export with the input that was made of it, for as long as it is needed.

    Yields:
        The arguments, and the cases that were made of an export.

    Raises:
        ValueError: the output is a file, --structures without a DICOM export, a model of several channels, or an export
            that cannot be read.
    """
    from dsmt_nnunet.inference.dicom_input import is_export, note_sources, write_input

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("-i", "-o", "--structures"):
        parser.add_argument(option, type=Path)
    known, others = parser.parse_known_args(arguments)
    if known.o is not None:
        try:
            folder_to_write(str(known.o))
        except argparse.ArgumentTypeError as error:
            raise ValueError(f"-o: {error}.") from error
    dataset_json = folder / "dataset.json" if folder is not None else Path()
    content = json.loads(dataset_json.read_text(encoding="utf-8")) if dataset_json.is_file() else {}
    ending = content.get("file_ending", ".nii.gz")
    if known.i is None or known.o is None or not is_export(known.i, ending):
        if known.structures is not None:
            raise ValueError(f"--structures names contours of a DICOM export, which -i {known.i} is not.")
        yield list(arguments), ()
        return
    if len(content.get("channel_names", {"0": "CT"})) != 1:
        raise ValueError("A DICOM export gives one channel, CT; this model needs several. Give images.")
    with TemporaryDirectory() as images:
        pattern = None if known.structures is None else str(known.structures)
        cases = write_input(known.i, Path(images), ending, pattern)
        print("\n".join(map(str, cases)))
        try:
            yield ["-i", images, "-o", str(known.o), *others], cases
        finally:
            if known.o.is_dir():
                note_sources(known.o, cases)


def _check_model(folder: Path, arguments: Sequence[str]) -> None:
    """Looks at the model before nnU-Net reads it, which runs whatever code a checkpoint or the plans bring.

    Raises:
        ValueError: they bring some.
    """
    from dsmt_nnunet.inference.model_files import DEFAULT_CHECKPOINT, check_model

    known = _model_options(arguments)
    check_model(folder, known.f, known.chk or DEFAULT_CHECKPOINT)


def _model_options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False)
    for option, default in (("-d", None), ("-c", None), ("-tr", None), ("-p", "nnUNetPlans"), ("-chk", None)):
        parser.add_argument(option, default=default)
    for longer in ("-device", "-part_id", "-prev_stage_predictions"):  # else they are read as -d evice, -p art_id, ...
        parser.add_argument(longer)
    parser.add_argument("-f", nargs="+", default=None)
    return parser.parse_known_args(arguments)[0]


def _model_folder(arguments: Sequence[str]) -> Path | None:
    """None where the arguments do not name a model: nnU-Net says what is missing."""
    known = _model_options(arguments)
    if known.d is None or known.c is None:
        return None
    from nnunetv2.utilities.file_path_utilities import get_output_folder

    from dsmt_nnunet.nnunet_folders import dataset_name

    return Path(get_output_folder(dataset_name(known.d), known.tr, known.p, known.c))
