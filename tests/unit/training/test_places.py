from __future__ import annotations

import json
from pathlib import Path

import pytest

from dsmt_nnunet.training.places import forget_places


@pytest.mark.parametrize("results", ["/home/me/re sults", "/home/me/re sults/", r"C:\Users\me\results"])
def test_paths_begin_at_nnunets_folders_and_the_host_is_not_named(
    results: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_results", results)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.setenv("nnUNet_preprocessed", "/data/pre")
    folder = results.rstrip("/")
    file = tmp_path / "debug.json"
    content = {
        "hostname": "machine-7",
        "log_file": f"{folder}/Dataset501_N/log.txt",
        "metric_per_case": [{"reference_file": "/data/pre/gt/a.nii.gz", "Dice": float("nan")}],
    }
    file.write_text(json.dumps(content))
    forget_places(file)
    left = json.loads(file.read_text())
    assert set(left) == {"log_file", "metric_per_case"}
    assert left["log_file"] == "nnUNet_results/Dataset501_N/log.txt"
    assert left["metric_per_case"][0]["reference_file"] == "nnUNet_preprocessed/gt/a.nii.gz"
    assert left["metric_per_case"][0]["Dice"] != left["metric_per_case"][0]["Dice"], "NaN stays"
