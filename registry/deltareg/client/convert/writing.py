"""What a conversion will write, and writing it: the same tensors always make the same bytes."""

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
        blocks: Gives its bytes, a few megabytes at a time; called once.
    """

    slot: TensorSlot
    blocks: Callable[[], Iterable[bytes | memoryview]]


def no_proof(written: Assessment) -> None:
    """Ask for no proof beyond the strict reading that every new folder gets."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What will be written.

    Attributes:
        source: What there was.
        result: What there will be.
        files: New safetensors files -> their tensors.
        source_bytes: Bytes of the files that these are made of.
        metadata: Of every new file.
        beside: Other files -> their content.
        left_out: What is not taken over, each with the reason.
        prove: Holds what was written against what was read, where push takes it.
        reread: The same for a layout that push does not take, given the new folder.
        made: Files that are written by a library of their layout -> what writes each.
        made_tensors: How many tensors these hold.
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
        """The files that are written anew."""
        return sorted([*self.files, *self.made])

    @property
    def tensors(self) -> int:
        """How many tensors there are in them."""
        return sum(map(len, self.files.values())) + self.made_tensors

    @property
    def size_bytes(self) -> int:
        """Bytes of tensors."""
        own = sum(part.slot.size_bytes for parts in self.files.values() for part in parts)
        return own + self.made_bytes


def write(draft: Path, conversion: Conversion, meter: Meter) -> None:
    """Write all files into a folder.

    Raises:
        Refused: A tensor has a name or a shape that no reader would take.
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
    """Take a tensor over as it is, under a name and perhaps in another shape."""
    slot = TensorSlot(name, tensor.dtype, tensor.shape if shape is None else shape)
    return OutputTensor(slot, lambda: (tensor.read(*rows) for rows in row_blocks(tensor)))


def documents(folder: Folder) -> dict[str, bytes | memoryview]:
    """Give the files that go along unchanged: all but weights and what lists them."""
    return {
        name: file.data for name, file in folder.contents.items() if file.header is None and not name.endswith(_INDEX)
    }


def _body(parts: list[OutputTensor], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    header = write_header([part.slot for part in parts], metadata)
    parse_header(header, len(header) + sum(part.slot.size_bytes for part in parts))
    yield header
    for part in parts:
        yield from part.blocks()
