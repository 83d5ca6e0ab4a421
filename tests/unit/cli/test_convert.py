from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dsmt_nnunet.cli import convert
from dsmt_nnunet.dataset_conversion.mapping_file import read_mapping
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.tasks import ClassificationSchema, Task

SCHEMA = ClassificationSchema((Task("t", ("low", "high")),), "t")


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    convert.add_parser(parser.add_subparsers())
    return parser.parse_args(["convert", *words])


def data_set(folder: Path, splits: tuple[str, ...] = ("Tr", "Ts")) -> Path:
    dataset_json = {"classification": SCHEMA.to_block(), "numTraining": int("Tr" in splits)}
    for split in splits:
        (folder / f"images{split}").mkdir(parents=True)
        (folder / f"images{split}" / "a_0000.nii.gz").touch()
        labels = ("low", "high", None) if split == "Tr" else ("high",)
        nodules = (Nodule("a", str(i), "p", (0, 0, 0), labels={"t": label}) for i, label in enumerate(labels))
        NoduleTable(tuple(nodules)).write(folder / f"nodules{'Ts' if split == 'Ts' else ''}.csv", SCHEMA)
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    return folder


def test_description_counts_and_names_the_next_command(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "Dataset501_A")
    assert convert.describe(folder, 501).splitlines() == [
        f"Wrote {folder}",
        "  train: 1 cases, 3 nodules, 1 patients",
        "    t: 1 low, 1 high, 1 not known",
        "  test: 1 cases, 1 nodules, 1 patients",
        "    t: 0 low, 1 high",
        "Next: dsmt plan -d 501",
    ]


def test_description_points_at_outdated_preprocessed_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = data_set(tmp_path / "raw" / "Dataset501_A")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "pre"))
    assert "earlier version" not in convert.describe(folder, 501)
    (tmp_path / "pre" / "Dataset501_A").mkdir(parents=True)
    assert f"{tmp_path / 'pre' / 'Dataset501_A'} comes from an earlier version" in convert.describe(folder, 501)


def test_description_of_a_test_set(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "Dataset501_A", ("Ts",))
    assert f"Next: dsmt predict -i {folder / 'imagesTs'}" in convert.describe(folder, 501)


def test_table_arguments_reach_the_converter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    received: dict[str, Any] = {}

    def convert_table(**options: Any) -> Path:
        received.update(options)
        return data_set(tmp_path / "Dataset501_A")

    monkeypatch.setattr("dsmt_nnunet.dataset_conversion.table.convert_table", convert_table)
    words = ["labels.csv", "--images", "i", "--masks", "m", "-d", "501", "-n", "A", "--diameter-range", "10", "20"]
    args = parse("table", *words)
    assert args.run(args) == 0
    assert received == {
        "table": Path("labels.csv"),
        "images": Path("i"),
        "masks": Path("m"),
        "dataset_id": 501,
        "name": "A",
        "mapping": None,
        "diameter_range": (10.0, 20.0),
        "train_also_outside": False,
        "overwrite": False,
        "look_alike_patients": None,
        "encoding": None,
        "images_anywhere": False,
    }
    assert "Next: dsmt plan -d 501" in capsys.readouterr().out


def test_what_a_conversion_needs_is_named(tmp_path: Path) -> None:
    args = parse("table", "labels.csv", "--images", "i", "-d", "501")
    with pytest.raises(ValueError, match=r"--masks, -n must be given, or --suggest"):
        args.run(args)
    args = parse(
        "table", "labels.csv", "--images", "i", "--masks", "m", "-d", "501", "-n", "A", "--grades", "--mapping", "m"
    )
    with pytest.raises(ValueError, match="--grades is for tables without a mapping file"):
        args.run(args)


def test_a_suggested_mapping_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.csv").write_text("case_id,pathology\na,AIS\nb,IAC\nc,carcinoid\n", encoding="utf-8")
    args = parse("table", "labels.csv", "--suggest")
    assert args.run(args) == 0
    out = capsys.readouterr().out
    assert "task invasiveness: column 'pathology': 1 non-invasive, 1 invasive, 0 not known, 1 'carcinoid' (?)" in out
    assert "Not known, see '# Not sorted' in the file: carcinoid" in out
    assert read_mapping(tmp_path / "labels-mapping.yaml").tasks[0].label("IAC") == "invasive"
    with pytest.raises(FileExistsError, match="may have been corrected"):
        args.run(args)
    again = parse("table", "labels.csv", "--suggest", "labels-mapping.yaml", "--overwrite", "--grades")
    assert again.run(again) == 0
    assert read_mapping(tmp_path / "labels-mapping.yaml").tasks[0].ordered


def test_phantom_arguments_reach_the_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received: dict[str, Any] = {}

    def convert_phantom(**options: Any) -> Path:
        received.update(options)
        return data_set(tmp_path / "Dataset500_Phantom")

    module = ModuleType("phantom")
    module.convert_phantom = convert_phantom  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dsmt_nnunet.dataset_conversion.phantom", module)
    args = parse("phantom", "-d", "500", "--cases", "9", "--external-cases", "2", "-np", "3", "--overwrite")
    assert args.run(args) == 0
    assert received == {
        "dataset_id": 500,
        "name": "Phantom",
        "cases": 9,
        "test_cases": 0,
        "external_cases": 2,
        "seed": 1,
        "size": 112,
        "overwrite": True,
        "processes": 3,
    }
