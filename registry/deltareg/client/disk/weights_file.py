"""Writes safetensors files: headers in a canonical form, data streamed behind them.

The library's writer leaves metadata in the order of its map; this one sorts, so that the same
tensors give the same file.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.disk.writeback import Writeback
from deltareg.client.progress import Meter
from deltareg.tensors.header import ITEM_BYTES

_ALIGN = 8
_STEP = 1 << 20  # Linux takes five times as long for the same bytes in calls of 8 MiB (6.18, ext4)


@dataclass(frozen=True, slots=True)
class TensorSlot:
    """A tensor to write.

    Attributes:
        name: Its name.
        dtype: The safetensors dtype.
        shape: Dimensions.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of its data."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


def write_header(slots: Iterable[TensorSlot], metadata: Mapping[str, str]) -> bytes:
    """Return the header of a file whose data follows in the order of the slots.

    Returns:
        The eight bytes of the length and the JSON, padded with spaces so that data is aligned.
    """
    entries: dict[str, object] = {}
    if metadata:
        entries["__metadata__"] = dict(sorted(metadata.items()))
    position = 0
    for slot in slots:
        end = position + slot.size_bytes
        entries[slot.name] = {"dtype": slot.dtype, "shape": list(slot.shape), "data_offsets": [position, end]}
        position = end
    raw = json.dumps(entries, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % _ALIGN)
    return len(raw).to_bytes(8, "little") + raw


def write_stream(target: Path, body: Iterable[memoryview | bytes], *, meter: Meter) -> None:
    """Write a new file piece by piece; it is durable once its folder has been placed.

    Raises:
        DiskFull: The disk is full.
    """
    with out_of_space(target.parent), target.open("xb") as out:
        writeback = Writeback(out)
        for chunk in body:
            data = memoryview(chunk)
            for start in range(0, len(data), _STEP):
                meter.add(out.write(data[start : start + _STEP]))
            writeback.wrote(len(data))
