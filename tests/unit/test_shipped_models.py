"""Models that come with the package: here one that a test puts there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dsmt_nnunet as dsmt
from dsmt_nnunet import NOT_A_MEDICAL_DEVICE, shipped_models
from dsmt_nnunet.api.examples import example_model
from dsmt_nnunet.cli.main import main
from dsmt_nnunet.files import write_text
from dsmt_nnunet.inference.model_card import model_card
from dsmt_nnunet.inference.model_zip import export_model
from dsmt_nnunet.nodules import Nodule, NoduleTable
from dsmt_nnunet.shipped_models import (
    CARD_NAME,
    card_of,
    model_place,
    what_a_start_should_know,
    what_a_user_should_know,
)

PACKAGE = Path(dsmt.__file__ or "").parent


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of shipped models, in which lies one, with a card."""
    folder = example_model(tmp_path / "Dataset000_Example" / "DSMTTrainer__nnUNetPlans__3d_fullres")
    nodule = Nodule("secret", "1", "P1", (0.0, 0.0, 0.0), 9.0, {"invasiveness": "invasive"})
    write_text(folder / CARD_NAME, model_card(folder, NoduleTable((nodule,)), None))
    place = tmp_path / "weights"
    place.mkdir()
    export_model(folder, place / "example-xs.zip")
    monkeypatch.setattr(shipped_models, "FOLDER", place)
    return place


def test_a_model_is_asked_by_its_name(shipped: Path) -> None:
    image, centre_mm = dsmt.example_scan()
    by_name = dsmt.load_model("example-xs", device="cpu").predict(image, centre_mm)
    by_folder = dsmt.load_model(dsmt.example_model(), device="cpu").predict(image, centre_mm)
    assert by_name.nodules[0].tasks == by_folder.nodules[0].tasks


def test_a_name_may_be_cut_where_one_model_alone_begins_with_it(shipped: Path) -> None:
    assert model_place("example") == model_place("example-xs") == shipped / "example-xs.zip"
    (shipped / "example-s.zip").touch()
    with pytest.raises(FileNotFoundError, match="may be example-s or example-xs"):
        model_place("example")
    with pytest.raises(FileNotFoundError, match=r"'exam' is no file .* Shipped: example-s, example-xs\."):
        model_place("exam")


def test_a_path_is_a_path(tmp_path: Path, shipped: Path) -> None:
    own = tmp_path / "example-xs"
    own.mkdir()
    assert model_place(own) == own


def test_what_is_shipped_is_listed_from_the_folder(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "list"]) == 0
    assert re.fullmatch(r"example-xs \(\d\.\d MB\)\n", capsys.readouterr().out)
    assert main(["model", "path", "example-xs"]) == 0
    assert capsys.readouterr().out == f"{shipped / 'example-xs.zip'}\n"
    assert main(["model", "show", "example-xs"]) == 0
    assert capsys.readouterr().out.startswith("# Dataset000_Example")
    (shipped / "example-xs.zip").unlink()
    assert main(["model", "list"]) == 0
    assert capsys.readouterr().out == "No model comes with this version of the package.\n"
    assert main(["model", "path", "example-xs"]) == 2
    assert "No model comes with this version" in capsys.readouterr().err


def test_its_user_is_told_on_whom_it_learnt_how_good_it_is_and_what_it_is_not(shipped: Path) -> None:
    told = "\n".join(what_a_user_should_know(card_of(shipped / "example-xs.zip")))
    assert "1 nodules in 1 scans of 1 patients; each fold left its own out." in told
    assert "other scanners, protocols and populations" in told
    assert "Not measured" in told
    assert told.endswith(NOT_A_MEDICAL_DEVICE)
    assert "is not known" in what_a_user_should_know(None)[0]
    assert NOT_A_MEDICAL_DEVICE in what_a_user_should_know(None)
    start = "\n".join(what_a_start_should_know(card_of(shipped / "example-xs.zip")))
    assert "1 nodules in 1 scans of 1 patients; each fold left its own out." in start
    assert "too good" in start


@pytest.mark.parametrize("path", sorted((PACKAGE / "weights").glob("*.zip")), ids=lambda path: path.stem)
def test_what_really_comes_with_the_package_loads_and_has_a_card(path: Path) -> None:
    assert path.stat().st_size < 20e6
    card = card_of(path)
    assert card is not None
    assert "licence: not stated" not in card
    assert "Not measured" not in card
    assert dsmt.load_model(path.stem, device="cpu").primary_task
