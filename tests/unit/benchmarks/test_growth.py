from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import growth
from benchmarks.growth_nodules import Row


def test_growth_is_a_command_of_the_benchmarks_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured() -> Iterator[Row]:
        yield {"what": "page", "nodules": 100, "seconds": 1.5}
        raise RuntimeError("out of patience")

    monkeypatch.setattr(growth, "RESULTS", tmp_path)
    monkeypatch.setattr(growth, "PARTS", {"nodules": ("nodules.csv", measured)})
    monkeypatch.setattr("sys.argv", ["benchmarks", "growth", "--only", "nodules"])
    with pytest.raises(RuntimeError, match="patience"):
        benchmarks.main()
    with (tmp_path / "nodules.csv").open() as stream:
        assert list(csv.DictReader(stream)) == [{"what": "page", "nodules": "100", "seconds": "1.5"}]


def test_all_groups_are_one_table_and_each_says_where_it_was_measured() -> None:
    row = {"what": "step", "ours": "2 ms", "theirs": "1 ms", "ratio": "2.0", "goal": "1.5"}
    groups: dict[str, benchmarks.Group] = {
        name: {"where": f"machine {name}.", "minutes": 1.0, "rows": [row]} for name in ("training", "loader")
    }
    lines = benchmarks.table(groups).splitlines()
    assert [line for line in lines if line.startswith("|")][2:] == ["| step | 2 ms | 1 ms | 2.0 | 1.5 |"] * 2
    assert "- loader: machine loader. It took 1 minutes." in lines
