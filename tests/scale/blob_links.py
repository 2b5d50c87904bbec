"""The objects of copied packs: links to the template's, in the folder of a local store."""

import os
import shutil
from pathlib import Path


class BlobLinks:
    """Gives a key the bytes of another one."""

    def __init__(self, root: Path):
        self._root = root
        self._sources: dict[str, Path] = {}

    def add(self, key: str, like: str) -> None:
        """Link a key to the object of `like`.

        A file has only so many links on most file systems; the last one is copied then.
        """
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        source = self._sources.setdefault(like, self._root / like)
        try:
            os.link(source, path)
        except OSError:
            shutil.copyfile(source, path)
            self._sources[like] = path
