"""The result of an extraction: the LoRA, its error, and what it leaves out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.wire import SCHEMA_VERSION
from deltareg.wire.tables import facts_html

if TYPE_CHECKING:
    from deltareg.delta.extraction.extraction import ExtractedModule, OtherChange


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """The result of an extraction.

    Attributes:
        path: The folder of the LoRA.
        source: The fine-tune: a version, or a folder.
        base: The base that the LoRA is for.
        modules: The modules that have factors.
        kept: What has no factors and is saved whole.
        left_out: What changed and the LoRA does not hold.
        size_bytes: Bytes of the LoRA's weights.
        source_bytes: Bytes of the fine-tune's.
        seconds: How long everything took.
    """

    path: Path
    source: str
    base: str
    modules: "Sequence[ExtractedModule]"
    kept: "Sequence[OtherChange]"
    left_out: "Sequence[OtherChange]"
    size_bytes: int
    source_bytes: int
    seconds: float

    @property
    def relative_error(self) -> float:
        """What the factors lost, as a share of the change of their modules (Frobenius)."""
        return self._lost / self._norm

    @property
    def total_error(self) -> float:
        """What the LoRA lacks of the whole change, with what is left out."""
        return hypot(self._lost, *(change.norm for change in self.left_out)) / self._whole

    @property
    def worst(self) -> "ExtractedModule":
        """The module with the largest relative error."""
        return max(self.modules, key=lambda module: module.relative_error)

    def share_of(self, changes: "Sequence[OtherChange]") -> float:
        """Return the share of the whole ‖ΔW‖² that some changes are."""
        return (hypot(*(change.norm for change in changes)) / self._whole) ** 2 if changes else 0.0

    @property
    def _whole(self) -> float:
        return hypot(self._norm, *(change.norm for change in (*self.kept, *self.left_out)))

    @property
    def _norm(self) -> float:
        return hypot(*(module.norm for module in self.modules))

    @property
    def _lost(self) -> float:
        return hypot(*(module.lost for module in self.modules))

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg extract --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "path": str(self.path),
            "source": self.source,
            "base": self.base,
            "relative_error": self.relative_error,
            "total_error": self.total_error,
            "modules": [asdict(module) | {"relative_error": module.relative_error} for module in self.modules],
            "kept": [asdict(change) for change in self.kept],
            "left_out": [asdict(change) for change in self.left_out],
            "left_out_share": self.share_of(self.left_out),
            "size_bytes": self.size_bytes,
            "source_bytes": self.source_bytes,
            "seconds": round(self.seconds, 3),
        }

    def _repr_html_(self) -> str:
        return facts_html(f"extracted to {self.path}", self.to_dict())
