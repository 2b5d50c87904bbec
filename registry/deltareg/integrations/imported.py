"""Folders that were brought from elsewhere, ready to be pushed, and where they came from."""

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
    """A folder on this machine with what was somewhere else.

    Attributes:
        folder: The files, as a push takes them.
        source: Where they were: `hf://…`, `mlflow:…`, `oci://…`.
        digest: What they were there, where that place has digests.
        base: The base that the place names, as a push would name it; empty where it does not.
        labels: What else is told of them.
    """

    folder: Path
    source: str
    digest: str = ""
    base: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def all_labels(self) -> dict[str, str]:
        """The labels of a version that is made of it, which say where it came from."""
        labels = {SOURCE: self.source[:_CHARACTERS], DIGEST: self.digest}
        return {**self.labels, **{key: text for key, text in labels.items() if text}}


def bring(source: Path, target: Path) -> None:
    """Put a file under another name: by a second link where the disk is the same, else copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
