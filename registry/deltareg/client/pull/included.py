"""Parts of a version: the files that a host needs, chosen by patterns of their paths."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from deltareg.errors import InvalidInput
from deltareg.identity.carried import check_received
from deltareg.identity.manifest import Manifest

_SHOWN = 8


def select_files(manifest: Manifest, include: Sequence[str]) -> Manifest:
    """Return the manifest with only the files that a pattern matches; all of it without patterns.

    `*` stands for any characters, `/` among them. The result describes those files; its digest is
    not that of the version.

    Raises:
        InvalidInput: A pattern matches no file.
        Refused: There is a file among them that no push may have.
    """
    if not include:
        check_received(manifest.files)
        return manifest
    paths = [file.path for file in manifest.files]
    for pattern in include:
        if not any(fnmatchcase(path, pattern) for path in paths):
            more = ", …" if len(paths) > _SHOWN else ""
            raise InvalidInput(
                f"--include {pattern[:120]!r} matches no file of the version",
                fix=f"it has {', '.join(sorted(paths)[:_SHOWN])}{more}",
            )
    files = tuple(file for file in manifest.files if any(fnmatchcase(file.path, pattern) for pattern in include))
    check_received(files)
    chosen = {file.path for file in files}
    return replace(manifest, files=files, tensors=tuple(t for t in manifest.tensors if t.file in chosen))
