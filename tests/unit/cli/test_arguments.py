"""Arguments that cannot be are told in one sentence, before any work is done, by every command that has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsmt_nnunet.cli.main import main
from dsmt_nnunet.environment import EXT_TRAINER, FOLDERS

_TABLE = "--truth truth --score s"
_CLASSES = "--truth truth --classes a b --model m"
_A_FILE_NOT_A_FOLDER = {
    "evaluate table t.csv " + _TABLE + " -o taken",
    "evaluate table t.csv " + _TABLE + " -o taken/deeper/still",
    "evaluate classes t.csv " + _CLASSES + " -o taken",
    "evaluate readers t.csv -o taken",
    "evaluate predictions folder --truth t.csv -o taken",
    "evaluate crossval -d 1 -o taken",
    "export dicom folder --series folder -o taken",
    "study -o taken",
    "demo -o taken",
    "report folder -o taken/report.html",
    "model export -d 1 -o taken/model.zip",
}
_A_FOLDER_NOT_A_FILE = {
    "evaluate table folder " + _TABLE + " -o out",
    "evaluate classes folder " + _CLASSES + " -o out",
    "evaluate readers folder -o out",
    "evaluate predictions folder --truth folder -o out",
    "convert table folder --suggest",
    "convert table t.csv --images folder --masks folder -d 1 -n A --mapping folder",
    "convert dicom folder folder -d 1 -n A",
    "convert dicom folder t.csv -d 1 -n A --pseudonyms folder",
    "report folder -o folder",
    "model export -d 1 -o folder",
    "model install folder",
    "study -o out --preregister folder",
}
_SEEDS = {
    "evaluate table t.csv " + _TABLE + " -o out --seed -1",
    "evaluate table t.csv " + _TABLE + " -o out --seed 1_0",
    "evaluate table t.csv " + _TABLE + " -o out --seed 4294967296",
    "evaluate predictions folder --truth t.csv -o out --seed -1",
    "convert phantom -d 1 --seed -1",
    "study --seeds 0 -1",
    "study --cohort-seed -1",
    "study -d 1 --fold-seed -1",
}
_TWICE = {
    "evaluate crossval -d 1 -f 0 0",
    "study -d 1 -f 1 0 1",
    "study --seeds 2 2",
    "study --trainers DSMTTrainer DSMTTrainer",
    "plan -d 5 5",
    "model export -d 1 -o m.zip -f 0 0",
    "explain -i folder -o folder -d 1 -f 0 0",
    "explain -i folder -o folder -d 1 --cases a a",
}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        *((words, "taken is a file; results go into a folder") for words in sorted(_A_FILE_NOT_A_FOLDER)),
        *((words, "folder is a folder;") for words in sorted(_A_FOLDER_NOT_A_FILE)),
        *((words, "a seed is a whole number from 0 to 4294967295, got") for words in sorted(_SEEDS)),
        *((words, "each counts once, but") for words in sorted(_TWICE)),
        ("plan -d 5 -np 0", "a whole number from 1, got '0'"),
        ("convert phantom -d 1 -np 0", "a whole number from 1, got '0'"),
    ],
)
def test_it_is_told_and_nothing_is_written(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "t.csv").write_text("truth,s\n0,0.1\n1,0.9\n")
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "t.csv", "taken"]


def test_what_can_be_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("truth,s\n" + "0,0.1\n1,0.9\n0,0.2\n1,0.3\n" * 3)
    words = f"evaluate table t.csv {_TABLE} -o new/folder --seed 4294967295 --bootstrap 100"
    assert main(words.split()) == 0
    assert (tmp_path / "new" / "folder" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("evaluate readers t.csv --cut nan -o out", "--cut is a finite rating, got nan"),
        (
            "evaluate classes t.csv --truth g --classes a b c --model m --model m -o out",
            "['m'] are named more than once",
        ),
        (
            "evaluate classes t.csv --truth g --classes a b c --model m --reader g -o out",
            "['g'] are named more than once",
        ),
        ("evaluate power --aucs 0.8 0.9 --patients 0", "two patients or more"),
    ],
)
def test_what_no_table_could_answer_is_told(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("reader,modality,case,truth,rating,g\n")
    assert main(words.split()) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        "plan -d 777",
        "explain -i in -o out -d 777",
        "model export -d 777 -o model.zip",
        "model card -d 777",
        "predict -i in -o out -d 777 -c 3d_fullres",
        "evaluate crossval -d 777",
        "study -d 777 -o study",
        "train 777 3d_fullres --folds all --cluster local",
    ],
)
def test_a_data_set_that_there_is_not_is_named(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(EXT_TRAINER, "")
    for name in FOLDERS:
        monkeypatch.setenv(name, str(tmp_path / name))
    assert main(words.split()) == 2
    assert "-d 777: Could not find a dataset with the ID 777." in capsys.readouterr().err
