"""What the client's longer methods give back, with the JSON that scripts may rely on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deltareg.compare import FieldChange, FileChange, TensorChanges, WeightDifference
from deltareg.digest import Digest
from deltareg.errors import Problem
from deltareg.injection import InjectionPoint
from deltareg.wire import SCHEMA_VERSION, VersionInfo


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a local base is.

    Attributes:
        root: Over all tensors; the same for any sharding, order and metadata.
        tensors: How many there are.
        size_bytes: Bytes of all carried files.
        model_type: As its config says.
        config_digest: Over `config.json`.
        tokenizer_digest: Over the tokenizer's files; None when there are none.
    """

    root: Digest
    tensors: int
    size_bytes: int
    model_type: str
    config_digest: Digest
    tokenizer_digest: Digest | None


@dataclass(frozen=True, slots=True)
class LintReport:
    """What a folder is and what is wrong with it."""

    kind: str = ""
    variant: str = ""
    foldable: bool = False
    base_match: str = "none"
    modules: int = 0
    tensors: int = 0
    problems: Sequence[Problem] = ()
    evidence: str = ""
    rank: str = ""
    scale: str = ""
    dtype: str = ""
    targets: Sequence[str] = ()
    left_out: Sequence[str] = ()
    injection: Sequence[InjectionPoint] = ()

    @property
    def is_accepted(self) -> bool:
        """Whether a push would accept it as far as this can tell."""
        return not any(problem.severity == "error" for problem in self.problems)

    def to_json(self) -> dict[str, object]:
        """The object of `deltareg lint --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind, "variant": self.variant, "foldable": self.foldable,
            "base_match": self.base_match, "modules": self.modules, "tensors": self.tensors,
            "problems": [
                {
                    "code": p.code, "severity": p.severity, "tensor": p.tensor,
                    "message": p.message, "fix": p.fix,
                }
                for p in self.problems
            ],
            "evidence": self.evidence, "rank": self.rank, "scale": self.scale,
            "dtype": self.dtype, "targets": list(self.targets), "left_out": list(self.left_out),
            "injection": [
                {"within": p.within, "module": p.module, "layers": list(p.layers)}
                for p in self.injection
            ],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did.

    Attributes:
        version: The version.
        created: Whether it is new.
        uploaded_bytes: Bytes that were sent for it.
        seconds: How long it took.
        left_out: Files that are no part of a delta.
        warnings: What is odd about it.
        base_uploaded_bytes: Bytes that were sent for its base, a version that became one with this
            push; None when it was one before.
    """

    version: VersionInfo
    created: bool
    uploaded_bytes: int
    seconds: float
    left_out: Sequence[str] = ()
    warnings: Sequence[Problem] = ()
    base_uploaded_bytes: int | None = None

    def to_json(self) -> dict[str, object]:
        """The object of `deltareg push --json`."""
        v = self.version
        return {
            "schema_version": SCHEMA_VERSION,
            "ref": v.ref, "version": v.version, "digest": v.digest, "kind": v.kind,
            "foldable": v.foldable, "created": self.created, "logical_bytes": v.logical_bytes,
            "stored_bytes": v.stored_bytes, "uploaded_bytes": self.uploaded_bytes,
            "variant": v.variant, "base": v.base.model_dump(), "seconds": round(self.seconds, 3),
            "left_out": list(self.left_out), "base_uploaded_bytes": self.base_uploaded_bytes or 0,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PullReport:
    """What a pull or materialize wrote."""

    ref: str
    path: Path
    digest: str
    fetched_bytes: int
    cached_bytes: int
    seconds: float
    root: str = ""
    recipe: str = ""

    def to_json(self) -> dict[str, object]:
        """The object of `deltareg pull --json` and `deltareg materialize --json`."""
        found: dict[str, object] = {
            "schema_version": SCHEMA_VERSION,
            "ref": self.ref, "path": str(self.path), "digest": self.digest,
            "fetched_bytes": self.fetched_bytes, "cached_bytes": self.cached_bytes,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip
        if self.root:
            found |= {"root": self.root, "recipe": self.recipe}
        return found


@dataclass(frozen=True, slots=True)
class DiffReport:
    """What differs between two versions.

    Attributes:
        a: The one before.
        b: The one after.
        files: Files that differ.
        config: Settings that differ.
        tensors: Tensors that differ, by name and digest.
        modules: What the two do to each weight, those that differ most first.
        note: Why modules are missing or not all measured; empty when nothing is.
    """

    a: VersionInfo
    b: VersionInfo
    files: Sequence[FileChange]
    config: Sequence[FieldChange]
    tensors: TensorChanges
    modules: Sequence[WeightDifference]
    note: str = ""

    @property
    def is_different(self) -> bool:
        """Whether the two are not one and the same version's content."""
        return self.a.digest != self.b.digest

    def to_json(self) -> dict[str, object]:
        """The object of `deltareg diff --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "a": _side(self.a), "b": _side(self.b),
            "files": [{"path": f.path, "change": f.change} for f in self.files],
            "config": [{"key": c.field, "a": c.a, "b": c.b} for c in self.config],
            "tensors": {
                "added": list(self.tensors.added), "removed": list(self.tensors.removed),
                "changed": list(self.tensors.changed), "identical": self.tensors.identical,
            },
            "modules": [asdict(module) for module in self.modules],
            "note": self.note,
        }  # fmt: skip


def _side(version: VersionInfo) -> dict[str, object]:
    return {
        "ref": version.ref, "digest": version.digest, "kind": version.kind,
        "variant": version.variant, "base": version.base.model_dump(),
        "verdict": version.verdict,
    }  # fmt: skip
