"""The manifest: what a version is. Its sha256 is the version's identity.

It names every tensor and file by content and says nothing of chunks, codecs, references or packs,
so storing a version in another way never makes another version (docs/design.md, Identity).
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from deltareg.digest import Digest, sha256_of
from deltareg.documents.json_values import is_count, is_list, is_object
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.identity.fingerprint import TensorRecord
from deltareg.tensors.header import ITEM_BYTES, strict_json_object

SCHEMA = "deltareg.manifest/1"
BASE_KIND = "base"
COMPONENTS = "components"
"""Where the config of a base that is a pipeline has the `config.json` of each component."""
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAX_DEPTH = 4
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of bytes stored under one digest: a tensor, a header or a whole small file.

    Attributes:
        digest: `blake3:` over dtype, shape and bytes.
        dtype: Element type; `U8` for headers and files.
        shape: Dimensions; `(n,)` for headers and files.
        size_bytes: Bytes when decoded.
    """

    digest: Digest
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ManifestTensor:
    """One tensor of the delta.

    Attributes:
        file: The file it came in.
        name: Its name in that file.
        role: Its role in its kind: `lora_A`, `bias`, `weight`, ….
        target: The base tensor or module that it changes.
        dtype: The safetensors dtype.
        shape: Dimensions.
        digest: `blake3:` over dtype, shape and bytes.
    """

    file: str
    name: str
    role: str
    target: str
    dtype: str
    shape: tuple[int, ...]
    digest: Digest

    @property
    def piece(self) -> Piece:
        """The tensor as a run of stored bytes."""
        size = ITEM_BYTES[self.dtype]
        for dim in self.shape:
            size *= dim
        return Piece(self.digest, self.dtype, self.shape, size)


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file that a pull restores byte for byte.

    Attributes:
        path: Relative, with `/`, checked by `check_path`.
        size_bytes: Size of the whole file.
        digest: `sha256:` of the whole file.
        part: The safetensors header (tensors follow it), or the whole content of any other file.
        is_tensors: Whether `part` is a header.
    """

    path: str
    size_bytes: int
    digest: Digest
    part: Piece
    is_tensors: bool


@dataclass(frozen=True, slots=True)
class Source:
    """The library that wrote the delta, as far as its files show."""

    library: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version, or a base, is.

    Attributes:
        kind: A name of the table of kinds, or `base`.
        variant: The kind's variant; empty when it has none.
        foldable: Whether the delta can be folded into weights.
        base: The base's exact root; None for a base itself.
        config: The kind's normalised configuration: strings, integers, booleans, lists, objects.
        tensors: Sorted by (file, name).
        files: Sorted by path.
        parents: Manifest digests of the versions that this one was made from.
        source: The library that wrote the files.
    """

    kind: str
    variant: str
    foldable: bool
    base: Digest | None
    config: Mapping[str, object]
    tensors: tuple[ManifestTensor, ...]
    files: tuple[ManifestFile, ...]
    parents: tuple[Digest, ...] = ()
    source: Source = field(default_factory=Source)

    def encode(self) -> bytes:
        """Write canonical JSON: sorted keys, compact, no floats.

        Raises:
            InvalidInput: The config holds a float.
        """
        return canonical_json(_to_json(self))

    @property
    def digest(self) -> Digest:
        """The identity: sha256 of the encoded bytes."""
        return self.digest_of(self.encode())

    @staticmethod
    def digest_of(raw: bytes) -> Digest:
        """Return the identity of manifest bytes as received."""
        return sha256_of(raw)

    @staticmethod
    def decode(raw: bytes) -> "Manifest":
        """Read manifest bytes; unknown fields are allowed and stay in the bytes.

        Raises:
            Refused: Not a manifest, or an inconsistent one.
        """
        manifest = _from_json(raw)
        _check(manifest)
        return manifest

    def pieces(self) -> dict[Digest, Piece]:
        """Every run of bytes that must be stored, each once."""
        pieces = {file.part.digest: file.part for file in self.files}
        pieces.update({tensor.digest: tensor.piece for tensor in self.tensors})
        return pieces

    @property
    def logical_bytes(self) -> int:
        """Bytes of all files, as a pull writes them."""
        return sum(file.size_bytes for file in self.files)

    def records(self) -> dict[str, TensorRecord]:
        """The tensors by name, for a base (whose names are unique over its files)."""
        named_tensors = ((self.base_name(t.file, t.name), t) for t in self.tensors)
        return {name: TensorRecord(name, t.dtype, t.shape, t.digest) for name, t in named_tensors}

    def base_name(self, file: str, name: str) -> str:
        """Return a tensor's name in the base: in a pipeline with its folder in front."""
        folder, slash, _ = file.partition("/")
        components = self.config.get(COMPONENTS)
        is_part = self.kind == BASE_KIND and slash and is_object(components) and folder in components
        return f"{folder}.{name}" if is_part else name


def canonical_json(value: object) -> bytes:
    """Encode JSON in the canonical form that digests are taken over.

    Raises:
        InvalidInput: It contains a float; write fractions as strings.
    """
    _no_floats(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def check_path(path: str) -> str:
    """Check a file path of a manifest: relative, portable, nothing hidden, at most 4 deep.

    Raises:
        InvalidInput: Some file system would interpret the path differently.
    """
    segments = path.split("/")
    plain = all(_SEGMENT.fullmatch(s) and not s.endswith(".") for s in segments)
    device = any(_WINDOWS_DEVICES.fullmatch(s) for s in segments)
    if not plain or device or len(segments) > _MAX_DEPTH:
        raise InvalidInput(
            f"not a portable file name: {path[:120]!r}",
            fix="rename it: letters, digits and . _ - only, at most 4 folders deep",
        )
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Check paths: no two are equal on a file system that ignores case, and no file is also a folder.

    Raises:
        InvalidInput: A path is not portable, or two collide.
    """
    by_folded: dict[str, str] = {}
    for path in paths:
        key = unicodedata.normalize("NFC", check_path(path)).casefold()
        if key in by_folded:
            raise InvalidInput(f"{path!r} and {by_folded[key]!r} differ in case only: rename one")
        by_folded[key] = path
    for key, path in by_folded.items():
        parts = key.split("/")
        for depth in range(1, len(parts)):
            other = by_folded.get("/".join(parts[:depth]))
            if other is not None:
                raise InvalidInput(f"{path!r} lies in {other!r}, which is a file: rename one")


def _no_floats(value: object) -> None:
    if isinstance(value, float):
        raise InvalidInput(f"a float ({value}) has no one way of being written: use a string")
    for item in _inside(value):
        if not isinstance(item, (str, int)):  # which most are, and hold nothing
            _no_floats(item)


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value).values()
    return cast("Iterable[object]", value) if isinstance(value, (list, tuple)) else ()


def _to_json(manifest: Manifest) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "kind": manifest.kind,
        "variant": manifest.variant,
        "foldable": manifest.foldable,
        "base": None if manifest.base is None else str(manifest.base),
        "config": dict(manifest.config),
        "parents": [str(parent) for parent in manifest.parents],
        "source": {"library": manifest.source.library, "version": manifest.source.version},
        "tensors": [
            {
                "file": t.file,
                "name": t.name,
                "role": t.role,
                "target": t.target,
                "dtype": t.dtype,
                "shape": list(t.shape),
                "digest": str(t.digest),
            }
            for t in manifest.tensors
        ],
        "files": [
            {
                "path": f.path,
                "size_bytes": f.size_bytes,
                "digest": str(f.digest),
                "part": str(f.part.digest),
                "part_bytes": f.part.size_bytes,
                "is_tensors": f.is_tensors,
            }
            for f in manifest.files
        ],
    }


def _from_json(raw: bytes) -> Manifest:
    reader = _Reader(strict_json_object(raw, code="header"))
    if reader.text("schema") != SCHEMA:
        raise _build_refusal(f"schema {reader.text('schema')!r} is not {SCHEMA!r}")
    base = reader.get("base")
    source = _Reader(reader.mapping("source"))
    return Manifest(
        kind=reader.text("kind"),
        variant=reader.text("variant"),
        foldable=reader.flag("foldable"),
        base=None if base is None else Digest.parse(reader.text("base")),
        config=_config(reader.mapping("config")),
        tensors=tuple(_tensor(_Reader(item)) for item in reader.items("tensors")),
        files=tuple(_file(_Reader(item)) for item in reader.items("files")),
        parents=tuple(Digest.parse(str(item)) for item in reader.list("parents")),
        source=Source(source.text("library"), source.text("version")),
    )


def _config(config: Mapping[str, object]) -> Mapping[str, object]:
    try:
        _no_floats(config)
    except InvalidInput as error:
        raise _build_refusal(error.message) from error
    return config


def _tensor(read: "_Reader") -> ManifestTensor:
    shape = read.list("shape")
    dims = tuple(dim for dim in shape if isinstance(dim, int) and 0 < dim < 1 << 48)
    if len(dims) != len(shape) or len(dims) > 8 or read.text("dtype") not in ITEM_BYTES:
        raise _build_refusal(f"tensor {read.text('name')[:80]!r} has no valid dtype and shape")
    return ManifestTensor(
        read.text("file"),
        read.text("name"),
        read.text("role"),
        read.text("target"),
        read.text("dtype"),
        dims,
        Digest.parse(read.text("digest")),
    )


def _file(read: "_Reader") -> ManifestFile:
    size = read.count("part_bytes")
    part = Piece(Digest.parse(read.text("part")), "U8", (size,), size)
    digest = Digest.parse(read.text("digest"))
    is_tensors = read.flag("is_tensors")
    return ManifestFile(read.text("path"), read.count("size_bytes"), digest, part, is_tensors)


def _check(manifest: Manifest) -> None:
    check_paths(file.path for file in manifest.files)
    if list(manifest.tensors) != sorted(manifest.tensors, key=lambda t: (t.file, t.name)):
        raise _build_refusal("tensors are not sorted by file and name")
    if list(manifest.files) != sorted(manifest.files, key=lambda f: f.path):
        raise _build_refusal("files are not sorted by path")
    names = [(tensor.file, tensor.name) for tensor in manifest.tensors]
    if len(set(names)) != len(names):
        raise _build_refusal("a tensor is listed twice")
    data = {file.path: file.part.size_bytes for file in manifest.files if file.is_tensors}
    for tensor in manifest.tensors:
        if tensor.file not in data:
            raise _build_refusal(f"tensor {tensor.name[:80]!r} is in no listed file")
        data[tensor.file] += tensor.piece.size_bytes
    for file in manifest.files:
        if file.size_bytes != data.get(file.path, file.part.size_bytes):
            raise _build_refusal(f"{file.path} is not as long as its parts")


def _build_refusal(message: str) -> Refused:
    return Refused([Problem("header", f"manifest: {message}", fix="push it with a current client")])


class _Reader:
    """Typed access to a JSON object; every mismatch raises the same refusal."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def get(self, key: str) -> object:
        if key not in self._fields:
            raise _build_refusal(f"{key} is missing")
        return self._fields[key]

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or len(value) > 1024:
            raise _build_refusal(f"{key} is not a short string")
        return value

    def flag(self, key: str) -> bool:
        value = self.get(key)
        if not isinstance(value, bool):
            raise _build_refusal(f"{key} is not true or false")
        return value

    def count(self, key: str) -> int:
        value = self.get(key)
        if not is_count(value):
            raise _build_refusal(f"{key} is not a count")
        return value

    def list(self, key: str) -> list[object]:
        value = self.get(key)
        if not is_list(value):
            raise _build_refusal(f"{key} is not a list")
        return value

    def mapping(self, key: str) -> Mapping[str, object]:
        value = self.get(key)
        if not is_object(value):
            raise _build_refusal(f"{key} is not an object")
        return value

    def items(self, key: str) -> Iterable[Mapping[str, object]]:
        for item in self.list(key):
            if not is_object(item):
                raise _build_refusal(f"{key} holds something that is not an object")
            yield item
