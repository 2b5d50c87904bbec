"""What a training remembers in its own folder, whole or not at all."""

import json
from pathlib import Path


def keep(path: Path, document: object) -> None:
    """Write JSON in the place of what is there.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(document))
    draft.replace(path)
