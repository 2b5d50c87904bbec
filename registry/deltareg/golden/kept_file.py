"""A file of a training's notes in its own folder, written whole or not at all."""

import json
from pathlib import Path


def keep(path: Path, document: object) -> None:
    """Replace a file by a JSON document.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(document))
    draft.replace(path)
