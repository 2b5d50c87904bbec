"""What a conversion will write, and writing it: the same tensors always give the same bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.client.disk.weights_file import TensorSlot, write_header, write_stream
from deltareg.client.folders.folder import Folder
from deltareg.client.progress import Meter
from deltareg.delta.delta_manifest import Assessment
from deltareg.delta.examine import row_blocks
from deltareg.delta.maths.formula import Tensor
from deltareg.tensors.header import parse_header

PLAIN_METADATA = {"format": "pt"}
_INDEX = ".index.json"


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """A tensor of a new file.

    Attributes:
        slot: Name, dtype and shape.
        blocks: Returns its bytes, a few megabytes at a time; called once.
    """

    slot: TensorSlot
    blocks: Callable[[], Iterable[bytes | memoryview]]


def no_proof(written: Assessment) -> None:
    """Require no proof beyond the strict reading that every new folder gets."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion will write.

    Attributes:
        source: The source layout.
        result: The new layout.
        files: New safetensors files -> their tensors.
        source_bytes: Bytes of the source files.
        metadata: The metadata of every new file.
        beside: Other files -> their content.
        left_out: What is left out, each with the reason.
        prove: Compares the result with the source, for a layout that push accepts.
        reread: The same for a layout that push does not accept, given the new folder.
        made: Files that their layout's own library writes -> the function that writes each.
        made_tensors: How many tensors those hold.
        made_bytes: Bytes of those.
    """

    source: str
    result: str
    files: Mapping[str, list[OutputTensor]]
    source_bytes: int
    metadata: Mapping[str, str] = field(default_factory=lambda: PLAIN_METADATA)
    beside: Mapping[str, bytes | memoryview] = field(default_factory=dict[str, "bytes | memoryview"])
    left_out: tuple[str, ...] = ()
    prove: Callable[[Assessment], None] = no_proof
    reread: Callable[[Path], None] | None = None
    made: Mapping[str, Callable[[Path], None]] = field(default_factory=dict[str, "Callable[[Path], None]"])
    made_tensors: int = 0
    made_bytes: int = 0

    @property
    def names(self) -> list[str]:
        """The files that are newly written."""
        return sorted([*self.files, *self.made])

    @property
    def tensors(self) -> int:
        """How many tensors these files hold."""
        return sum(map(len, self.files.values())) + self.made_tensors

    @property
    def size_bytes(self) -> int:
        """Bytes of these tensors."""
        own = sum(part.slot.size_bytes for parts in self.files.values() for part in parts)
        return own + self.made_bytes


def write(draft: Path, conversion: Conversion, meter: Meter) -> None:
    """Write all files into a folder.

    Raises:
        Refused: A tensor has a name or a shape that no reader would accept.
    """
    for path, parts in conversion.files.items():
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        ordered = sorted(parts, key=lambda part: part.slot.name)
        write_stream(target, _body(ordered, conversion.metadata), meter=meter)
    for path, make in conversion.made.items():
        make(draft / path)
    for path, content in conversion.beside.items():
        target = draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def copy_tensor(name: str, tensor: Tensor, shape: tuple[int, ...] | None = None) -> OutputTensor:
    """Copy a tensor under a name, and optionally in another shape."""
    slot = TensorSlot(name, tensor.dtype, tensor.shape if shape is None else shape)
    return OutputTensor(slot, lambda: (tensor.read(*rows) for rows in row_blocks(tensor)))


def documents(folder: Folder) -> dict[str, bytes | memoryview]:
    """Return the files to copy unchanged: all but weights and their indexes."""
    return {
        name: file.data for name, file in folder.contents.items() if file.header is None and not name.endswith(_INDEX)
    }


def _body(parts: list[OutputTensor], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    header = write_header([part.slot for part in parts], metadata)
    parse_header(header, len(header) + sum(part.slot.size_bytes for part in parts))
    yield header
    for part in parts:
        yield from part.blocks()
