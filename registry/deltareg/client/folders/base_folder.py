"""A local base: opened, fingerprinted, and remembered so that the next command finds it at once."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ValidationError

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.folder import Folder, MappedFile, open_folder
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
from deltareg.digest import Digest, sha256_of
from deltareg.identity.manifest import BASE_KIND, COMPONENTS, Manifest, ManifestFile, Piece
from deltareg.identity.whole_base import WholeBase, whole_base
from deltareg.tensors.header import strict_json_object

_INDEX = ".safetensors.index.json"
_NO_PIECE = Piece(Digest("blake3", "0" * 64), "U8", (0,), 0)
_OF_SENTENCES = f"0_Transformer/{CONFIG_FILE}"  # sentence-transformers of old


class _Note(BaseModel):
    """The recorded fingerprint of a base folder, and the state of its files at the time."""

    form: Literal["deltareg.base-note/1"] = "deltareg.base-note/1"
    stat: dict[str, list[int]]
    manifest: str


@dataclass(frozen=True, slots=True)
class BaseFolder:
    """An opened base.

    Attributes:
        path: Its folder's path.
        folder: Its files.
        manifest: Its manifest.
        view: The part of it that kinds may see.
        identity: Its digests: root and identity.
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
        """Enter a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the folder at the end of the block."""
        self.folder.close()


def open_base(path: Path, cache: Cache, *, progress: Progress = SILENT) -> BaseFolder:
    """Open a base folder and fingerprint it; unchanged files are not hashed again.

    Raises:
        NotFound: The path does not exist.
        Refused: A file may not be in such a folder, or has an invalid header.
    """
    folder = open_folder(path, purpose="base")
    try:
        manifest = _recall_manifest(folder, cache) or _fingerprint(folder, cache, progress)
    except BaseException:
        folder.close()
        raise
    return BaseFolder(path, folder, manifest, base_view(manifest), base_identity(manifest))


def as_recorded(base: BaseFolder, record: Manifest) -> BaseFolder:
    """Return the base as the registry recorded it, read from a folder that holds its weights.

    The files beside the weights are those of the record: files in the folder that differ from it,
    or that it does not have, are hidden, and the config is the recorded one.
    """
    recorded, actual = (
        {file.path: file.digest for file in manifest.files if not file.is_tensors}
        for manifest in (record, base.manifest)
    )
    folder = base.folder
    for path in [path for path, file in folder.contents.items() if file.header is None]:
        if not path.endswith(_INDEX) and recorded.get(path) != actual.get(path):
            del folder.contents[path]
            folder.documents.pop(path, None)
    for path, text in _recorded_configs(record, recorded).items():
        data = text.encode()
        folder.contents[path] = MappedFile(path, memoryview(data))
        folder.documents[path] = strict_json_object(data)
    manifest = replace(base.manifest, config=record.config)
    return replace(base, manifest=manifest, view=base_view(manifest))


def whole_beside(path: Path, root: Digest) -> WholeBase:
    """Read the parts of a base beside its weights, whose root is already known, from its folder.

    Raises:
        Refused: A file may not be in such a folder, or has an invalid header.
    """
    with open_folder(path, purpose="base") as folder:
        config_text, components = _configs(folder)
        files = [
            ManifestFile(name, file.size_bytes, sha256_of(file.data), _NO_PIECE, is_tensors=False)
            for name, file in folder.contents.items()
            if file.header is None
        ]
        config: dict[str, object] = {"config_json": config_text}
        if components:
            config[COMPONENTS] = components
    return whole_base(
        Manifest(kind=BASE_KIND, variant="", foldable=False, base=None, config=config, tensors=(), files=tuple(files)),
        root=root,
    )


def _recorded_configs(record: Manifest, wanted: Mapping[str, Digest]) -> dict[str, str]:
    """Return the texts of a base's configs, by path, from its manifest."""
    components = components_of(record)
    texts = {f"{part}/{CONFIG_FILE}": text for part, text in components.items()}
    own = (INDEX_FILE,) if components else (CONFIG_FILE, _OF_SENTENCES)
    place = next((path for path in own if path in wanted), None)
    if place is not None:
        texts[place] = str(record.config["config_json"])
    return texts


def _fingerprint(folder: Folder, cache: Cache, progress: Progress) -> Manifest:
    total = sum(file.size_bytes for file in folder.contents.values())
    meter = progress.task(f"fingerprinting {folder.path.name}", total)
    hashed = hash_folder(folder, meter=meter)
    config_text, components = _configs(folder)
    manifest = build_base_manifest(
        headers=folder.files.headers,
        files=hashed.files,
        digests=hashed.digests,
        config_text=config_text,
        components=components,
    )
    note = _Note(stat=_stat(folder), manifest=manifest.encode().decode())
    cache.keep_note(_note_name(folder), note.model_dump_json().encode())
    return manifest


def _configs(folder: Folder) -> tuple[str, dict[str, str]]:
    """Return the text of a base's config, and the configs of its components if it is a pipeline."""
    texts = {
        path: bytes(file.data).decode("utf-8")
        for path, file in folder.contents.items()
        if path == INDEX_FILE or path.rpartition("/")[2] == CONFIG_FILE
    }
    if CONFIG_FILE not in texts and INDEX_FILE in texts:
        return texts[INDEX_FILE], component_texts(texts)
    return texts.get(CONFIG_FILE) or texts.get(_OF_SENTENCES, "{}"), {}


def _recall_manifest(folder: Folder, cache: Cache) -> Manifest | None:
    """Return the manifest noted earlier, if no file was touched since."""
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
    stats: dict[str, list[int]] = {}
    for name in folder.contents:
        stat = (folder.path / name).stat()
        stats[name] = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    return stats


def _note_name(folder: Folder) -> str:
    return hashlib.sha256(str(folder.path.absolute()).encode()).hexdigest()
