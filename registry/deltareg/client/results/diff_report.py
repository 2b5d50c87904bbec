"""The comparison of two versions, with JSON that scripts may rely on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from deltareg.client.results.html import diff_html
from deltareg.client.results.reports import side_of
from deltareg.delta.compare import FieldChange, FileChange, TensorChanges, WeightDifference
from deltareg.wire import SCHEMA_VERSION, VersionInfo
from deltareg.wire.findings import GeneralFound


@dataclass(frozen=True, slots=True)
class DiffReport:
    """How two versions differ.

    Attributes:
        a: The version before.
        b: The version after.
        files: Files that differ.
        config: Settings that differ.
        tensors: Tensors that differ, by name and digest.
        modules: What the two do to each weight, those that differ most first.
        note: Why modules are missing or not all measured; empty if all are there.
        general: What both do on the general probe set of their base; None if no worker ran it.
    """

    a: VersionInfo
    b: VersionInfo
    files: Sequence[FileChange]
    config: Sequence[FieldChange]
    tensors: TensorChanges
    modules: Sequence[WeightDifference]
    note: str = ""
    general: GeneralFound | None = None

    @property
    def is_different(self) -> bool:
        """Whether the contents of the two versions differ."""
        return self.a.digest != self.b.digest

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg diff --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "a": side_of(self.a),
            "b": side_of(self.b),
            "files": [{"path": f.path, "change": f.change} for f in self.files],
            "config": [{"key": c.field, "a": c.a, "b": c.b} for c in self.config],
            "tensors": {
                "added": list(self.tensors.added),
                "removed": list(self.tensors.removed),
                "changed": list(self.tensors.changed),
                "identical": self.tensors.identical,
            },
            "modules": [asdict(module) for module in self.modules],
            "note": self.note,
            **({} if self.general is None else {"general": self.general.to_dict()}),
        }

    def _repr_html_(self) -> str:
        words = "differ" if self.is_different else "are the same"
        title = f"{self.a.ref} → {self.b.ref}: the two {words}"
        return diff_html(title, self._facts(), self.modules, note=self.note)

    def _facts(self) -> dict[str, object]:
        """The differences, each in one line."""
        counts = {
            "changed": len(self.tensors.changed),
            "added": len(self.tensors.added),
            "removed": len(self.tensors.removed),
            "identical": self.tensors.identical,
        }
        return {
            "tensors": ", ".join(f"{count:,} {word}" for word, count in counts.items() if count),
            **{change.field: f"{change.a} → {change.b}" for change in self.config},
            "files": ", ".join(f"{file.path} {file.change}" for file in self.files),
        }
