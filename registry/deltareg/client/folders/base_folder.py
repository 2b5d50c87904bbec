"""A local base: opened, fingerprinted, and remembered so that the next command finds it at once."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ValidationError

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.folder import Folder, open_folder
from deltareg.client.folders.hashing import hash_folder
from deltareg.client.progress import SILENT, Progress
from deltareg.delta.base_manifest import (
    CONFIG_FILE,
    BaseIdentity,
    base_identity,
    base_view,
    build_base_manifest,
    components_of,
)
from deltareg.delta.kind import BaseView
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.pipeline import INDEX_FILE, component_texts
from deltareg.identity.manifest import Manifest

_OF_SENTENCES = f"0_Transformer/{CONFIG_FILE}"  # sentence-transformers of old


class _Note(BaseModel):
    """What was found out about a base folder, and the files as they were then."""

    form: Literal["deltareg.base-note/1"] = "deltareg.base-note/1"
    stat: dict[str, list[int]]
    manifest: str


@dataclass(frozen=True, slots=True)
class BaseFolder:
    """An opened base.

    Attributes:
        path: Where it is.
        folder: Its files.
        manifest: What it is.
        view: What a kind may see of it.
        identity: Its digests.
    """

    path: Path
    folder: Folder
    manifest: Manifest
    view: BaseView
    identity: BaseIdentity

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        if not self.view.components:
            return self.folder.tensors
        return {
            self.manifest.base_name(path, name): tensor
            for path in self.folder.contents
            for name, tensor in self.folder.tensors_of(path).items()
        }

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close at the end of the block."""
        self.folder.close()


def open_base(path: Path, cache: Cache, *, progress: Progress = SILENT) -> BaseFolder:
    """Open a base folder and fingerprint it; unchanged files are not hashed again.

    Raises:
        NotFound: There is nothing at the path.
        Refused: A file that may not be carried, or a header that does not pass.
    """
    folder = open_folder(path, purpose="base")
    try:
        manifest = _remembered(folder, cache) or _fingerprint(folder, cache, progress)
    except BaseException:
        folder.close()
        raise
    return BaseFolder(path, folder, manifest, base_view(manifest), base_identity(manifest))


def _fingerprint(folder: Folder, cache: Cache, progress: Progress) -> Manifest:
    total = sum(file.size_bytes for file in folder.contents.values())
    meter = progress.task(f"fingerprinting {folder.path.name}", total)
    hashed = hash_folder(folder, meter=meter)
    config_text, components = _configs(folder)
    manifest = build_base_manifest(
        headers=folder.files.headers, files=hashed.files, digests=hashed.digests,
        config_text=config_text, components=components,
    )  # fmt: skip
    note = _Note(stat=_stat(folder), manifest=manifest.encode().decode())
    cache.keep_note(_note_name(folder), note.model_dump_json().encode())
    return manifest


def _configs(folder: Folder) -> tuple[str, dict[str, str]]:
    """Give the text of a base's config, and of its components' where it is a pipeline."""
    texts = {
        path: bytes(file.data).decode("utf-8")
        for path, file in folder.contents.items()
        if path == INDEX_FILE or path.rpartition("/")[2] == CONFIG_FILE
    }
    if CONFIG_FILE not in texts and INDEX_FILE in texts:
        return texts[INDEX_FILE], component_texts(texts)
    return texts.get(CONFIG_FILE) or texts.get(_OF_SENTENCES, "{}"), {}


def _remembered(folder: Folder, cache: Cache) -> Manifest | None:
    """Give the manifest of an earlier time, if no file was touched since."""
    raw = cache.note(_note_name(folder))
    if raw is None:
        return None
    try:
        note = _Note.model_validate_json(raw)
    except ValidationError:  # of another release, or damaged: find it out again
        return None
    manifest = Manifest.decode(note.manifest.encode()) if note.stat == _stat(folder) else None
    is_of_today = manifest is None or components_of(manifest) == _configs(folder)[1]
    return manifest if is_of_today else None  # older releases knew no pipelines


def _stat(folder: Folder) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name in folder.contents:
        stat = (folder.path / name).stat()
        found[name] = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    return found


def _note_name(folder: Folder) -> str:
    return hashlib.sha256(str(folder.path.absolute()).encode()).hexdigest()
