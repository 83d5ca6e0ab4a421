from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsmt_nnunet import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})

    def fail(place: Path) -> None:
        place.write_text('{"ne')
        raise RuntimeError

    with pytest.raises(RuntimeError), files.whole_file(path) as place:
        fail(place)
    assert json.loads(path.read_text()) == {"old": 1}
    assert names(tmp_path) == ["a.json"]


def test_bytes_and_rows_and_arrays_come_back(tmp_path: Path) -> None:
    files.write_rows(tmp_path / "a.csv", [("x", "y"), (1, "ä,b")])
    assert (tmp_path / "a.csv").read_bytes() == b'x,y\r\n1,"\xc3\xa4,b"\r\n'
    array = np.arange(24, dtype=np.float16).reshape(2, 3, 4).transpose(2, 0, 1)
    files.write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    assert names(tmp_path) == ["a.csv", "a.npy"]


def test_bytes_that_come_back_otherwise_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path)[:-1])
    with pytest.raises(OSError, match="bytes were read back"):
        files.write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == []


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"p": float("nan")})
    assert names(tmp_path) == []


def test_what_a_killed_run_left_is_removed_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = files.temporary_folder(tmp_path)
    dead = tmp_path / own.name.replace(str(os.getpid()), "4194999")
    elsewhere = tmp_path / ".dsmt-ffffffff-1-00000000.tmp"
    for folder in (own, dead, elsewhere):
        folder.mkdir()
    files.write_text(tmp_path / "a.txt", "x")
    assert dead.name in caplog.text
    assert not dead.exists()
    assert own.exists()
    assert elsewhere.exists()
    os.utime(elsewhere, (0, 0))
    assert files.clean_leftovers(tmp_path) == [elsewhere]
    assert not elsewhere.exists()


def test_a_folder_is_listed_once_however_many_files_are_written_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Path] = []
    monkeypatch.setattr(files, "clean_leftovers", listed.append)
    (tmp_path / "other").mkdir()
    for name in ("a", "b", "other/a", "c"):
        files.write_text(tmp_path / name, "x")
    assert listed == [tmp_path, tmp_path / "other"]


def test_a_check_of_the_caller_can_refuse(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"), files.whole_file(tmp_path / "a", refuse) as place:
        place.write_bytes(b"1")
    assert names(tmp_path) == []


def test_numbers_of_processes_beyond_the_system_are_left_alone(tmp_path: Path) -> None:
    odd: Any = files.temporary_folder(tmp_path).name.replace(f"-{os.getpid()}-", "-99999999999999999999-")
    (tmp_path / odd).mkdir()
    assert files.clean_leftovers(tmp_path) == []


def test_a_file_in_a_folder_that_there_is_not_is_refused_by_both_names(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sub/a\.txt cannot be written: there is no folder .*/sub\."):
        files.write_text(tmp_path / "sub" / "a.txt", "a")
    assert list(tmp_path.iterdir()) == []
