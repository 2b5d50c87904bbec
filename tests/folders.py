"""Folders read into what kinds look at: what `deltareg.testing` ships, under a shorter name."""

import json
import shutil
from pathlib import Path

from deltareg.testing.folders import SampleFolder, open_base, open_folder, read_file

__all__ = ["SampleFolder", "naming_base", "open_base", "open_folder", "read_file"]


def naming_base(adapter: Path, base: str, to: Path) -> Path:
    """Copy an adapter whose config then names another base; give the copy."""
    shutil.copytree(adapter, to)
    config = json.loads((to / "adapter_config.json").read_text())
    (to / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": base}))
    return to
