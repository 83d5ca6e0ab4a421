"""Where a model was trained is nobody's business; nnU-Net's own export takes `debug.json` and `summary.json` along."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dsmt_nnunet.environment import FOLDERS
from dsmt_nnunet.files import write_text

_HOST = "hostname"


def forget_places(file: Path) -> None:
    """Takes the name of the host out of a JSON file of nnU-Net, and writes paths from nnU-Net's folders on.

    `/home/me/results/Dataset501_Nodules/...` becomes `nnUNet_results/Dataset501_Nodules/...`.

    Args:
        file: an object of JSON; NaN is kept as nnU-Net writes it.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    content.pop(_HOST, None)
    text = json.dumps(content, indent=4)
    for name in FOLDERS:
        folder = os.environ.get(name, "").rstrip("/\\")
        if folder:
            text = text.replace(json.dumps(folder)[1:-1], name)
    write_text(file, text)
