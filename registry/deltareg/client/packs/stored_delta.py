"""A delta in its stored form: its files without a copy of them, for folds that read whole tensors.

A full fine-tune is materialised by writing its tensors one after another, so each is decoded as it
is written, and no folder is needed before. Headers and documents are read first; they are small.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from deltareg.client.folders.folder import MappedFile
from deltareg.codec.rebuild import PieceRebuilder
from deltareg.delta.delta_manifest import is_document
from deltareg.delta.kind import DeltaFiles
from deltareg.delta.maths.formula import Tensor
from deltareg.identity.manifest import Manifest, ManifestTensor
from deltareg.tensors.derived import DerivedTensor
from deltareg.tensors.header import parse_header, strict_json_object


@dataclass(frozen=True, slots=True)
class StoredTensor(DerivedTensor[ManifestTensor]):
    """A tensor in packs; reading rows decodes and checks all of it, so it is streamed instead."""

    rebuild: PieceRebuilder

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Give the bytes of rows `start:stop`."""
        data = memoryview(b"".join(self.rebuild([self.origin.piece])))
        if not self.shape:
            return data
        row = data.nbytes // self.shape[0]
        return data[start * row : None if stop is None else stop * row]


class StoredDelta:
    """A version's files, with only headers and small files in memory."""

    def __init__(self, manifest: Manifest, rebuild: PieceRebuilder) -> None:
        """Read headers and small files.

        Raises:
            IntegrityFailure: A file is not what was pushed.
        """
        self._manifest, self._rebuild = manifest, rebuild
        self.contents: dict[str, MappedFile] = {}
        for file in manifest.files:
            raw = b"".join(rebuild([file.part]))
            header = parse_header(raw, file.size_bytes) if file.is_tensors else None
            self.contents[file.path] = MappedFile(file.path, memoryview(raw), header)

    @property
    def files(self) -> DeltaFiles:
        """The files as a kind sees them."""
        documents = {
            path: strict_json_object(bytes(file.data))
            for path, file in self.contents.items()
            if file.header is None and is_document(path)
        }
        return DeltaFiles(
            sizes={file.path: file.size_bytes for file in self._manifest.files},
            headers={p: f.header for p, f in self.contents.items() if f.header is not None},
            documents=documents,
            convention=str(self._manifest.config.get("convention", "")),
        )

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All tensors by name; files that repeat a name hold the same tensor, as push requires."""
        return {t.name: StoredTensor(t, self._rebuild) for t in self._manifest.tensors}

    def stream(self, names: Iterable[str]) -> Iterator[memoryview]:
        """Yield the bytes of tensors one after another, decoded ahead; see `Rebuild`."""
        pieces = {tensor.name: tensor.piece for tensor in self._manifest.tensors}
        return self._rebuild(pieces[name] for name in names)
