from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.machine import Ratio, device


def test_parts_are_kept_as_they_come_and_those_without_time_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, kept = gpu.Workplace(tmp_path, ("DSMTPlansXS",), 1), tmp_path / "gpu.json"
    clock = iter([0.0, 1.0, 1.0, 40.0, 41.0, 41.0, 90.0])

    def out_of_memory(own: gpu.Workplace) -> list[Ratio]:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(clock))
    row = Ratio("step", "2 ms", "1 ms", "2.00", "1.25")
    monkeypatch.setitem(gpu.PARTS, "step", lambda own: [row])
    monkeypatch.setitem(gpu.PARTS, "supply", out_of_memory)
    found = gpu.measure(place, ["step", "supply", "memory"], 1.0, kept)
    parts = found["parts"]
    assert isinstance(parts, dict)
    assert parts["step"]["seconds"] == 39.0
    assert parts["supply"] == "failed: CUDA out of memory"
    assert parts["memory"] == "not measured: 1 minutes were over"
    written = json.loads(kept.read_text())["parts"]
    assert [Ratio(**own) for own in written["step"]["rows"]] == [row]
    assert written["memory"] == parts["memory"]


def test_a_device_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    other = {"cpu": "cuda", "cuda": "cpu"}[device().type]
    with pytest.raises(SystemExit):
        gpu.main(["--device", other])
    assert f"torch finds {device().type} here" in capsys.readouterr().err
