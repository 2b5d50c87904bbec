"""Folders fetched from elsewhere and ready to be pushed, with their origin."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = "imported.from"
DIGEST = "imported.digest"
_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class ImportedFolder:
    """A local folder with files from elsewhere.

    Attributes:
        folder: The folder, in the form that push accepts.
        source: Where the files were: `hf://…`, `mlflow:…`, `oci://…`.
        digest: Their digest at the source, if it has digests.
        base: The base named by the source, as push names it; empty if none.
        labels: Further labels from the source.
    """

    folder: Path
    source: str
    digest: str = ""
    base: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def all_labels(self) -> dict[str, str]:
        """Return the labels of a version made from it, including its origin."""
        labels = {SOURCE: self.source[:_CHARACTERS], DIGEST: self.digest}
        return {**self.labels, **{key: text for key, text in labels.items() if text}}


def bring(source: Path, target: Path) -> None:
    """Put a file under another name: by a hard link on the same disk, else as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
