"""The strict safetensors header parser, used before any tensor is read.

The safetensors library accepts duplicate keys, unknown fields, zero-size floods and names with any
content; the format's own README forbids most of that. Here an ambiguous header is refused, before a
byte of data is read and in memory bounded by the header's own size.
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Never

from deltareg.documents.json_values import is_count, is_list, is_object, read_float
from deltareg.errors import Problem, Refused

LENGTH_BYTES = 8
ITEM_BYTES: dict[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
FLOAT_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})
_TENSOR_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,256}")
_MAX_RANK = 8
_MAX_DEPTH = 4
_FIELDS = {"dtype", "shape", "data_offsets"}
# A string may lack its end: it goes to that of the bytes then, so that nothing is looked at twice.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
_BRACKETS = bytes.maketrans(b"[{]}", b"(())")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_OPENING = ord("(")


@dataclass(frozen=True, slots=True)
class FileLimits:
    """The size limits for files of one profile.

    Attributes:
        header_bytes: Largest header.
        tensors: Most tensors in one file.
        metadata_bytes: Largest `__metadata__`, keys and values together.
        files: Most files of one upload.
        total_bytes: Most bytes of one upload; None leaves it to the quota.
    """

    header_bytes: int
    tensors: int
    metadata_bytes: int
    files: int
    total_bytes: int | None


ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_LIMITS = FileLimits(8 << 20, 50_000, 16 << 10, 64, 2 << 30)
FULL_LIMITS = FileLimits(100 << 20, 500_000, 16 << 10, 2_000, None)


def limits_for(paths: Iterable[str]) -> FileLimits:
    """Return the limits for a delta by its files: an adapter's config makes it an adapter."""
    return ADAPTER_LIMITS if ADAPTER_CONFIG in set(paths) else FULL_LIMITS


def check_size(files: int, total_bytes: int, limits: FileLimits) -> None:
    """Check the whole of an upload against a profile.

    Raises:
        Refused: `limits`.
    """
    if files > limits.files:
        _refuse("limits", f"{files} files, at most {limits.files}", "")
    if limits.total_bytes is not None and total_bytes > limits.total_bytes:
        most = limits.total_bytes
        _refuse("limits", f"{total_bytes} bytes, at most {most} for an adapter", "")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file: its position and type, without its data.

    Attributes:
        name: Its name in the file.
        dtype: The safetensors name of the element type.
        shape: Its dimensions; empty for a scalar.
        begin: First byte, counted from the end of the header.
        end: One past the last byte.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Bytes of data."""
        return self.end - self.begin

    @property
    def elements(self) -> int:
        """Count of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """A header that has passed every check.

    Attributes:
        tensors: By name, in the order of their data.
        metadata: The `__metadata__` strings.
        size_bytes: Bytes before the data, the eight of the length included.
    """

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0

    @property
    def data_bytes(self) -> int:
        """Bytes of data that follow the header."""
        return sum(info.size_bytes for info in self.tensors.values())


def header_length(first: bytes, file_bytes: int, limits: FileLimits = FULL_LIMITS) -> int:
    """Read the header's length from the first eight bytes of a file.

    Returns:
        The length of the JSON, without the eight bytes themselves.

    Raises:
        Refused: `empty`, `not_safetensors`, `header` or `limits`.
    """
    if file_bytes == 0:
        _refuse("empty", "the file is empty", "save it again; the copy was probably cut")
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    # The length of an honest header may begin with the bytes of a pickle, 0x0280 for 640; that of a
    # pickle, read as a length, is larger than the file.
    is_within = len(first) >= LENGTH_BYTES and length <= file_bytes - LENGTH_BYTES
    if looks_like_pickle(first) and not is_within:
        _refuse("pickle", "the file is a pickle, which can run code when it is read", CONVERT_FIX)
    if file_bytes < LENGTH_BYTES + 2 or len(first) < LENGTH_BYTES:
        _refuse("header", f"the file has {file_bytes} bytes, too few for a header", SAVE_FIX)
    if not is_within:
        code = "not_safetensors" if first[:1].isalpha() and first[:7].isascii() else "header"
        _refuse(code, f"the header claims {length} bytes, the file has {file_bytes}", SAVE_FIX)
    if length > limits.header_bytes:
        _refuse("limits", f"the header has {length} bytes, at most {limits.header_bytes}", SAVE_FIX)
    return length


def parse_header(raw: bytes, file_bytes: int, limits: FileLimits = FULL_LIMITS) -> SafetensorsHeader:
    """Parse and check a header.

    Args:
        raw: The file's first bytes: the eight of the length, then exactly the header's JSON.
        file_bytes: Size of the whole file.
        limits: The profile to hold the file to.

    Raises:
        Refused: With one of the file codes of `deltareg explain`.
    """
    length = header_length(raw[:LENGTH_BYTES], file_bytes, limits)
    body = raw[LENGTH_BYTES:]
    if len(body) != length:
        _refuse("header", f"{len(body)} header bytes at hand, {length} expected", SAVE_FIX)
    entries = strict_json_object(body, max_depth=_MAX_DEPTH, code="header")
    metadata = _metadata(entries.pop("__metadata__", {}), limits)
    if not entries:
        _refuse("empty", "the file holds no tensor", "take the file out, or save it again")
    if len(entries) > limits.tensors:
        _refuse("limits", f"{len(entries)} tensors, at most {limits.tensors}", "")
    infos = sorted((_tensor(name, entry) for name, entry in entries.items()), key=_by_offset)
    _check_layout(infos, file_bytes - LENGTH_BYTES - length)
    return SafetensorsHeader({i.name: i for i in infos}, metadata, LENGTH_BYTES + length)


def strict_json_object(raw: bytes, *, max_depth: int = 32, code: str = "bad_config") -> dict[str, object]:
    """Parse one JSON object: UTF-8, no duplicate key, no NaN, bounded depth, nothing around it.

    Raises:
        Refused: With `code`, or `duplicate_key`.
    """
    fix = SAVE_FIX if code == "header" else JSON_FIX
    if not raw.startswith(b"{"):
        _refuse(code, "JSON must start with {", fix)
    if _is_deeper(raw, max_depth):
        _refuse(code, f"JSON nested deeper than {max_depth}", fix)
    try:
        value: object = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=read_float
        )
        _check_text(raw, value)
    except (ValueError, RecursionError) as error:
        raise Refused([Problem(code, f"not valid JSON: {error}", fix=fix)]) from error
    if not is_object(value):
        _refuse(code, "JSON is not an object", fix)
    return value


def looks_like_pickle(first: bytes) -> bool:
    """Whether a file's first bytes are those of a pickle or of a torch zip archive."""
    return (first[:1] == b"\x80" and first[1:2] in {b"\x02", b"\x03", b"\x04", b"\x05"}) or (first[:4] == b"PK\x03\x04")


SAVE_FIX = "save the tensors again with safetensors"
_EMPTY_FIX = "leave it out: save_file({n: t for n, t in load_file(FILE).items() if t.numel()}, FILE, {'format': 'pt'})"
_DTYPE_FIX = f"save it in one of {', '.join(ITEM_BYTES)}"
JSON_FIX = "write the file again as one JSON object; NaN and Infinity are no JSON"
CONVERT_FIX = "convert it without executing it: deltareg convert PATH --out DIR"


def _refuse(code: str, message: str, fix: str, tensor: str = "") -> Never:
    raise Refused([Problem(code, message, tensor=tensor, fix=fix)])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for key, value in pairs:
        if key in fields:
            _refuse("duplicate_key", f"the JSON key {key[:80]!r} occurs twice", SAVE_FIX)
        fields[key] = value
    return fields


def _no_constant(text: str) -> Never:
    raise ValueError(f"{text} is not JSON")


def _check_text(raw: bytes, value: object) -> None:
    """Refuse half of a character, which JSON may escape: no other format could write it."""
    if _HALF.search(raw) is not None:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it escapes half of a character") from None


def _is_deeper(raw: bytes, most: int) -> bool:
    """Whether brackets outside of strings are nested deeper than `most`, or do not match.

    Takes linear time on any bytes: removing the innermost pairs removes one level, and the rest is
    inspected once. The parser refuses brackets that do not match.
    """
    brackets = _STRING.sub(b"", raw).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(most):
        brackets = brackets.replace(b"()", b"")
    depth = deepest = 0
    for bracket in brackets:
        depth += 1 if bracket == _OPENING else -1
        deepest = max(deepest, depth)
        if depth < 0 or deepest > most:
            break
    return deepest > most or (deepest > 0 and depth == 0)


def _metadata(value: object, limits: FileLimits) -> dict[str, str]:
    if value is None:  # MLX writes null where it has none, and the library reads it so
        return {}
    if not is_object(value):
        _refuse("header", "__metadata__ is not an object", SAVE_FIX)
    metadata: dict[str, str] = {}
    for key, text in value.items():
        if not isinstance(text, str):
            _refuse("header", f"__metadata__[{key!r}] is not a string", SAVE_FIX)
        metadata[key] = text
    size = sum(len(key.encode()) + len(text.encode()) for key, text in metadata.items())
    if size > limits.metadata_bytes:
        _refuse("limits", f"__metadata__ has {size} bytes, at most {limits.metadata_bytes}", "")
    return metadata


def _tensor(name: str, entry: object) -> TensorInfo:
    if _TENSOR_NAME.fullmatch(name) is None:
        _refuse("header", f"not a tensor name: {name[:80]!r}", "use letters, digits and . _ -")
    if not is_object(entry) or set(entry) != _FIELDS:
        _refuse("header", "an entry must have exactly dtype, shape, data_offsets", SAVE_FIX, name)
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        _refuse("header", f"unknown dtype {str(dtype)[:40]!r}", _DTYPE_FIX, name)
    shape = _integers(entry["shape"], name, "shape")
    offsets = _integers(entry["data_offsets"], name, "data_offsets")
    if len(shape) > _MAX_RANK:
        _refuse("limits", f"{len(shape)} dimensions, at most {_MAX_RANK}", "", name)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        _refuse("header", f"data_offsets {list(offsets)[:4]} are not begin <= end", SAVE_FIX, name)
    size = math.prod(shape) * ITEM_BYTES[dtype]
    if size == 0:
        _refuse("header", f"shape {list(shape)} holds nothing", _EMPTY_FIX, name)
    if size != offsets[1] - offsets[0]:
        span = offsets[1] - offsets[0]
        _refuse("header", f"{dtype} {list(shape)} is {size} bytes, offsets say {span}", SAVE_FIX, name)
    return TensorInfo(name, dtype, shape, offsets[0], offsets[1])


def _integers(value: object, name: str, what: str) -> tuple[int, ...]:
    if not is_list(value):
        _refuse("header", f"{what} is not a list", SAVE_FIX, name)
    integers: list[int] = []
    for item in value:
        if not is_count(item):
            _refuse("header", f"{what} holds {str(item)[:40]!r}", SAVE_FIX, name)
        integers.append(item)
    return tuple(integers)


def _by_offset(info: TensorInfo) -> tuple[int, int]:
    return info.begin, info.end


def _check_layout(infos: Iterable[TensorInfo], data_bytes: int) -> None:
    position = 0
    for info in infos:
        if info.begin < position:
            _refuse("overlap", "its bytes are also another tensor's", SAVE_FIX, info.name)
        if info.begin > position:
            gap = info.begin - position
            _refuse("hole", f"{gap} bytes before it belong to no tensor", SAVE_FIX, info.name)
        position = info.end
    if position > data_bytes:
        _refuse("truncated", f"{position - data_bytes} bytes are missing at the end", "copy it again")
    if position < data_bytes:
        extra = data_bytes - position
        _refuse("trailing_bytes", f"{extra} bytes follow the last tensor", SAVE_FIX)
