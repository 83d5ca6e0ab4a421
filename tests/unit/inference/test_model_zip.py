from __future__ import annotations

import getpass
import json
import shutil
import socket
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from dsmt_nnunet.api.examples import example_model
from dsmt_nnunet.inference.model_files import check_model, load_predictor
from dsmt_nnunet.inference.model_zip import export_model, install_model, opened_model
from dsmt_nnunet.predictions.operating_point import OperatingPoint, TaskOperatingPoint

CHECKPOINT = "checkpoint_final.pth"
CASE = "hospital_case_0815"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder as a training leaves it, with all that tells who trained it on whom."""
    folder = example_model(tmp_path / "home" / getpass.getuser() / "Dataset501_A" / "DSMTTrainer__P__3d_fullres")
    secret = {"path": str(tmp_path), "host": socket.gethostname(), "case": CASE}
    (folder / "fold_0" / "debug.json").write_text(json.dumps(secret))
    (folder / "fold_0" / "validation").mkdir()
    (folder / "fold_0" / "validation" / "summary.json").write_text(json.dumps(secret))
    (folder / "fold_0" / "validation" / f"{CASE}.json").write_text("{}")
    dataset = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**dataset, "training": [CASE], "made_in": str(tmp_path)}))
    content = torch.load(folder / "fold_0" / CHECKPOINT, weights_only=False)
    content["init_args"] |= {"dataset_json": {"training": [CASE]}, "device": torch.device("cpu")}
    content |= {"optimizer_state": {"state": torch.zeros(5)}, "logging": secret}
    torch.save(content, folder / "fold_0" / CHECKPOINT)
    return folder


def everything_in(archive: Path) -> bytes:
    """Names and contents, the files of torch unpacked too."""
    found = b""
    with zipfile.ZipFile(archive) as content:
        for name in content.namelist():
            found += name.encode() + content.read(name)
            if name.endswith(".pth"):
                inner = archive.with_name("inner.zip")
                inner.write_bytes(content.read(name))
                with zipfile.ZipFile(inner) as parts:
                    found += b"".join(part.encode() + parts.read(part) for part in parts.namelist())
    return found


def test_a_model_that_is_handed_on_tells_nothing_of_where_and_on_whom_it_was_trained(
    model: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "model.zip"
    assert export_model(model, archive) is False
    content = everything_in(archive)
    words = (CASE, str(tmp_path), socket.gethostname(), "optimizer", "validation", "debug", str(Path.home()))
    assert [word for word in words if word.encode() in content] == []
    assert b"network_weights" in content


def test_an_installed_model_answers_as_before_at_its_operating_point(model: Path, tmp_path: Path) -> None:
    before = load_predictor(model, device="cpu")
    OperatingPoint({"invasiveness": TaskOperatingPoint(1.5, 0.2)}, {}, before.weights).write(model)
    archive, results = tmp_path / "model.zip", tmp_path / "results"
    assert export_model(model, archive) is True
    (folder,) = install_model(archive, results)
    assert folder == results / "Dataset501_A" / "DSMTTrainer__P__3d_fullres"
    after = load_predictor(folder, device="cpu")
    assert after.weights == before.weights
    assert after.operating_point is not None
    with pytest.raises(FileExistsError, match="exists already"):
        install_model(archive, results)
    assert [path.name for path in results.iterdir()] == ["Dataset501_A"]


def test_nnunets_own_zip_is_taken_too(model: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "stock"), "zip", model.parents[1])
    (folder,) = install_model(Path(archive), tmp_path / "results")
    assert (folder / "plans.json").is_file()


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("where", ["checkpoint", "plans"])
def test_what_could_run_code_is_neither_installed_nor_exported(model: Path, tmp_path: Path, where: str) -> None:
    if where == "checkpoint":
        content = torch.load(model / "fold_0" / CHECKPOINT, weights_only=False)
        torch.save({**content, "logging": Touch(tmp_path / "ran")}, model / "fold_0" / CHECKPOINT)
    else:
        plans = json.loads((model / "plans.json").read_text())
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["conv_op"] = "evil.Net"
        (model / "plans.json").write_text(json.dumps(plans))
    archive = Path(shutil.make_archive(str(tmp_path / "foreign"), "zip", model.parents[1]))
    with pytest.raises(ValueError, match="--trust"):
        install_model(archive, tmp_path / "results")
    assert list((tmp_path / "results").iterdir()) == []
    with pytest.raises(ValueError, match="--trust"):
        check_model(model, None)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "C:evil.txt", "..\\evil.txt"])
def test_names_that_lead_elsewhere_are_refused(model: Path, tmp_path: Path, name: str) -> None:
    archive = tmp_path / "model.zip"
    export_model(model, archive)
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr(name, "x")
    with pytest.raises(ValueError, match="leads out of the folder"):
        install_model(archive, tmp_path / "results")
    assert list((tmp_path / "results").glob("*")) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["plans.json", "PLANS.json"])
def test_a_name_that_is_there_twice_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    archive = tmp_path / "model.zip"
    export_model(model, archive)
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr(f"{model.parent.name}/{model.name}/{name}", "{}")
    with pytest.raises(ValueError, match=r"plans\.json' twice"):
        install_model(archive, tmp_path / "results")
    with pytest.raises(ValueError, match=r"plans\.json' twice"), opened_model(archive):
        pass


def test_a_zip_that_would_fill_the_disk_is_refused_before_it_does(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "model.zip"
    export_model(model, archive)
    monkeypatch.setattr("dsmt_nnunet.inference.model_zip._HARMLESS_BYTES", 10**6)
    with zipfile.ZipFile(archive) as content:
        assert sum(entry.file_size for entry in content.infolist()) < 10**6 < 2**25
    with opened_model(archive):  # a model is none
        pass
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as content:
        content.writestr("Dataset501_A/zeros.bin", bytes(2**25))
    with pytest.raises(ValueError, match="weights do not shrink so"):
        install_model(archive, tmp_path / "results")
    assert list((tmp_path / "results").glob("*")) == []


def test_a_locked_zip_is_refused(model: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    export_model(model, archive)
    content = bytearray(archive.read_bytes())
    content[content.find(b"PK\x01\x02") + 8] |= 1  # what the list of files says of the first
    archive.write_bytes(content)
    with pytest.raises(ValueError, match="locked with a password"):
        install_model(archive, tmp_path / "results")


def test_a_cut_zip_and_a_zip_without_a_model_are_refused(model: Path, tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    export_model(model, archive)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged or cut off"):
        install_model(cut, tmp_path / "results")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as content:
        content.writestr("readme.txt", "x")
    with pytest.raises(ValueError, match="holds no model"):
        install_model(tmp_path / "empty.zip", tmp_path / "results")


def test_half_an_export_is_none(model: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folds \['4'\]"):
        export_model(model, tmp_path / "model.zip", folds=[0, 4])
    assert not (tmp_path / "model.zip").exists()


def test_a_folder_may_hold_the_models_folder_or_its_zip(model: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    export_model(model, given / "any.zip")
    with opened_model(given) as opened:
        assert (opened / "fold_0" / CHECKPOINT).is_file()
        assert given not in opened.parents
    shutil.copytree(model.parent, given / "Dataset501_A")
    several = r"must hold one model, it holds 2 \(DSMTTrainer__P__3d_fullres, any\.zip\)"
    with pytest.raises(ValueError, match=several), opened_model(given):
        pass
    (given / "any.zip").unlink()
    for place in (given, given / "Dataset501_A" / model.name):
        with opened_model(place) as opened:
            assert opened == given / "Dataset501_A" / model.name
