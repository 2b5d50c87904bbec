"""What the client's longer methods give back, with the JSON that scripts may rely on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.digest import Digest
from deltareg.errors import Problem
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
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did."""

    version: VersionInfo
    created: bool
    uploaded_bytes: int
    seconds: float
    left_out: Sequence[str] = ()
    warnings: Sequence[Problem] = ()

    def to_json(self) -> dict[str, object]:
        """The object of `deltareg push --json`."""
        v = self.version
        return {
            "schema_version": SCHEMA_VERSION,
            "ref": v.ref, "version": v.version, "digest": v.digest, "kind": v.kind,
            "foldable": v.foldable, "created": self.created, "logical_bytes": v.logical_bytes,
            "stored_bytes": v.stored_bytes, "uploaded_bytes": self.uploaded_bytes,
            "variant": v.variant, "base": v.base.model_dump(), "seconds": round(self.seconds, 3),
            "left_out": list(self.left_out),
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


@dataclass(slots=True)
class Traffic:
    """Bytes that a pull fetched and bytes that the cache saved it."""

    fetched_bytes: int = 0
    cached_bytes: int = 0
    seen: set[Digest] = field(default_factory=set[Digest])


@dataclass(frozen=True, slots=True)
class DiffReport:
    """Placeholder until compare lands."""

    def to_json(self) -> dict[str, object]:
        """Empty."""
        return {}
