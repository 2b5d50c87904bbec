"""Decides whether a base and a delta fit in memory whole, or their weights are streamed."""

# torch and transformers are typed in part only; mypy stays strict on the types that are our own.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from deltareg.delta.kind import BaseView, Effect
from deltareg.errors import Inconclusive
from deltareg.tensors.header import FLOAT_DTYPES, ITEM_BYTES
from deltareg_verify.engine.torch_engine.fold import chains
from deltareg_verify.engine.torch_engine.ops import NAMES
from deltareg_verify.engine.torch_engine.streamed import StreamPlacement
from deltareg_verify.sandbox import kernel

_FOR_WEIGHTS = 0.75  # the rest is for activations and what allocators keep


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that the weights of a base with a delta take, apart from mapped files.

    Attributes:
        whole: With all of them in place.
        least: When they are streamed: the largest one, and what is copied in any case.
    """

    whole: int
    least: int


@dataclass(slots=True)
class MemoryRoom:
    """The memory of one run.

    Attributes:
        device: The device that it computes on.
        budget_bytes: Private memory that this process may have; 0 sets no limit.
        is_streaming: Whether to stream weights; None decides by the sizes.
        placings: The decision for each network and delta.
    """

    device: torch.device
    budget_bytes: int = 0
    is_streaming: bool | None = None
    placings: list[StreamPlacement] = field(default_factory=list[StreamPlacement])

    def placing(self, need: MemoryNeed) -> StreamPlacement | None:
        """Choose a placement; None when everything fits in place.

        Raises:
            Inconclusive: The weights do not fit even one after the other.
        """
        free, used = self._memory()
        most = int(free * _FOR_WEIGHTS)
        is_streaming = need.whole > most if self.is_streaming is None else self.is_streaming
        if not is_streaming:
            return None
        if need.least > most:
            enough = used + math.ceil(need.least / _FOR_WEIGHTS)
            raise Inconclusive(
                f"the weights take {need.whole:,} bytes of memory, or {need.least:,} one after "
                f"the other; free are {free:,}, of which {most:,} are for weights",
                fix=f"run it where it may have {enough:,} bytes of {self._kind}; what a run may "
                "have is set by DELTAREG_WORKER_MEMORY_BYTES and by the suite's budget",
            )
        kernel.return_freed_memory()
        self.placings.append(StreamPlacement(self.device, is_forced=bool(self.is_streaming)))
        return self.placings[-1]

    def environment(self) -> Mapping[str, str]:
        """Report, for the verdict, whether weights were streamed."""
        return {"weights": "streamed" if self.placings else "whole"}

    @property
    def _kind(self) -> str:
        return "private memory" if self.device.type == "cpu" else "memory of the device"

    def _memory(self) -> tuple[int, int]:
        """Return the free bytes, and those that this process already uses."""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            return int(free), int(total - free)
        free = _table_bytes("/proc/meminfo", "MemAvailable", sys.maxsize)
        used = _table_bytes("/proc/self/status", "VmData", 0)  # what RLIMIT_DATA counts
        if self.budget_bytes:
            free = min(free, self.budget_bytes - used)
        return max(0, free), used


def estimate_need(view: BaseView, effects: Sequence[Effect], dtype: torch.dtype, device: torch.device) -> MemoryNeed:
    """Estimate the weights of a base in a dtype, and the new ones of a delta."""
    is_here = device.type == "cpu"
    whole = copied = largest = 0
    for name, record in view.tensors.items():
        size = _size(record.shape, record.dtype, dtype)
        is_part = view.names.part(name) is not None
        is_file = is_here and not is_part and _runs_as(record.dtype, dtype) == record.dtype
        whole += 0 if is_file else size
        copied += _size(record.shape, record.dtype) if is_part and is_here else 0
        largest = max(largest, size)
    for chain in chains(effects):
        source = view.tensors[chain.source]
        size = _size(chain.shape or source.shape, source.dtype, dtype)
        whole += size
        largest = max(largest, size)
    return MemoryNeed(whole, largest + copied)


def _size(shape: Sequence[int], stored: str, dtype: torch.dtype | None = None) -> int:
    """Return the bytes of a tensor, as it is stored or as it runs."""
    return math.prod(shape) * ITEM_BYTES[stored if dtype is None else _runs_as(stored, dtype)]


def _runs_as(stored: str, dtype: torch.dtype) -> str:
    return NAMES[dtype] if stored in FLOAT_DTYPES else stored


def _table_bytes(path: str, name: str, unknown: int) -> int:
    """Read bytes from one of Linux's tables, or return `unknown` on other systems."""
    try:
        text = Path(path).read_text("utf-8")
    except OSError:
        return unknown
    match = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) << 10 if match else unknown
