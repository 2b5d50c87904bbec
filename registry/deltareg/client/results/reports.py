"""Results of the client's longer methods, with JSON that scripts may rely on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, DeltaregError, Problem
from deltareg.wire import SCHEMA_VERSION, ReferrerInfo, RunInfo, VersionInfo
from deltareg.wire.tables import facts_html, one_line

if TYPE_CHECKING:
    from deltareg.delta.injection import InjectionPoint
    from deltareg.delta.merge.conflicts import WeightConflict
    from deltareg.delta.merge.recipe import MergeRecipe
    from deltareg.delta.serving import Servability


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The fingerprint of a local base.

    Attributes:
        root: The digest over all tensors; the same for any sharding, order and metadata.
        tensors: How many tensors there are.
        size_bytes: Bytes of all its files.
        model_type: The model type in its config.
        config_digest: The digest over `config.json`.
        tokenizer_digest: The digest over the tokenizer's files; None if there are none.
        identity: The digest over all parts that decide what the base does.
        parts: The digest of each of these parts, by name.
    """

    root: Digest
    tensors: int
    size_bytes: int
    model_type: str
    config_digest: Digest
    tokenizer_digest: Digest | None
    identity: Digest
    parts: Mapping[str, Digest]

    def to_dict(self) -> dict[str, object]:
        """Return the fingerprint as plain values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "root": str(self.root),
            "tensors": self.tensors,
            "size_bytes": self.size_bytes,
            "model_type": self.model_type,
            "config_digest": str(self.config_digest),
            "tokenizer_digest": str(self.tokenizer_digest or ""),
            "identity": str(self.identity),
            "parts": {name: str(digest) for name, digest in self.parts.items()},
        }

    def _repr_html_(self) -> str:
        return facts_html("a base", self.to_dict())


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
    injection: "Sequence[InjectionPoint]" = ()
    servable: "Sequence[Servability]" = ()

    @property
    def is_accepted(self) -> bool:
        """Whether a push would accept it, as far as this can tell."""
        return not any(problem.severity == "error" for problem in self.problems)

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg lint --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "variant": self.variant,
            "foldable": self.foldable,
            "base_match": self.base_match,
            "modules": self.modules,
            "tensors": self.tensors,
            "problems": [
                {"code": p.code, "severity": p.severity, "tensor": p.tensor, "message": p.message, "fix": p.fix}
                for p in self.problems
            ],
            "evidence": self.evidence,
            "rank": self.rank,
            "scale": self.scale,
            "dtype": self.dtype,
            "targets": list(self.targets),
            "left_out": list(self.left_out),
            "injection": [{"within": p.within, "module": p.module, "layers": list(p.layers)} for p in self.injection],
            "servable": [
                {
                    "engine": one.engine,
                    "is_servable": one.is_servable,
                    "needs": one.needs,
                    "obstacles": list(one.obstacles),
                }
                for one in self.servable
            ],
        }

    def _repr_html_(self) -> str:
        from deltareg.client.results.html import lint_html  # it draws, for notebooks alone

        fields = self.to_dict()
        del fields["problems"]
        accepted = "a push would take it" if self.is_accepted else "a push would refuse it"
        return lint_html(accepted, fields, self.problems)


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did.

    Attributes:
        version: The version.
        created: Whether it is new.
        uploaded_bytes: Bytes that were sent for it.
        seconds: How long it took.
        left_out: Files that were left out because they are not part of a delta.
        warnings: What is odd about the folder.
        base_uploaded_bytes: Bytes that were sent for its base, if that is a version that this push
            turned into a base; else None.
        signature: The signature that was made, if any.
        golden: Where its golden outputs come from; empty if it has none.
        golden_missing: Why it has none although they were wanted.
        run: The verification that was waited for; None if nobody waited.
        notes: What a person should know of its base and its golden outputs, a line each.
    """

    version: VersionInfo
    created: bool
    uploaded_bytes: int
    seconds: float
    left_out: Sequence[str] = ()
    warnings: Sequence[Problem] = ()
    base_uploaded_bytes: int | None = None
    signature: ReferrerInfo | None = None
    golden: str = ""
    golden_missing: str = ""
    run: RunInfo | None = None
    notes: Sequence[str] = ()

    @property
    def ref(self) -> str:
        """The version's reference: `ns/name:v3`."""
        return self.version.ref

    def __repr__(self) -> str:
        """Return one line: the version, and what was sent for it."""
        from deltareg.drawing.wording import size  # for people alone

        what = f"new, {size(self.uploaded_bytes)} sent" if self.created else "was there already"
        return one_line("PushReport", f"{self.ref}: {what}, {self.version.verdict or 'no verdict'}")

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg push --json`."""
        v = self.version
        return {
            "schema_version": SCHEMA_VERSION,
            "ref": v.ref,
            "version": v.version,
            "digest": v.digest,
            "kind": v.kind,
            "foldable": v.foldable,
            "created": self.created,
            "logical_bytes": v.logical_bytes,
            "stored_bytes": v.stored_bytes,
            "cold_bytes": v.cold_bytes,
            "uploaded_bytes": self.uploaded_bytes,
            "variant": v.variant,
            "base": v.base.model_dump(),
            "seconds": round(self.seconds, 3),
            "left_out": list(self.left_out),
            "base_uploaded_bytes": self.base_uploaded_bytes or 0,
            **({} if self.signature is None else {"signed_by": self.signature.signed_by}),
            "golden": self.golden,
            "golden_missing": self.golden_missing,
            "base_claim": v.base_claim,
            "notes": list(self.notes),
            "alike": [each.to_dict() for each in v.alike],
        }

    def _repr_html_(self) -> str:
        return facts_html(f"pushed {self.version.ref}", self.to_dict())


@dataclass(frozen=True, slots=True)
class RecordedForward:
    """One forward pass whose outputs were recorded: the names of its inputs and outputs."""

    inputs: Sequence[str]
    outputs: Sequence[str]


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """The golden outputs of a folder.

    Attributes:
        told: Where they come from, in words.
        how: `in_training`, `by_library` or `by_publisher`.
        dtype: The dtype that the network ran in; empty if unknown.
        device: The device that it ran on.
        quantised: How its base was packed; empty if it was not.
        software: Package versions, by package.
        changed: Tensor files that have changed since.
        samples: The recorded forward passes, in order.
        first_batches: The first batches that the network was trained on, and what is odd about
            them; empty if they were not recorded.
        progress: How far the training had come; empty if unknown.
    """

    description: str
    how: str
    dtype: str
    device: str
    quantised: str
    software: Mapping[str, str]
    changed: Sequence[str]
    samples: Sequence[RecordedForward]
    first_batches: str = ""
    progress: str = ""

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg golden show --json`."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def _repr_html_(self) -> str:
        return facts_html(f"golden outputs: {self.description}", self.to_dict())


@dataclass(frozen=True, slots=True)
class ConvertReport:
    """What a conversion wrote.

    Attributes:
        path: The folder.
        source: The source layout: `pickle`, `kohya`, `diffusers` or `full`.
        result: The new layout: `safetensors`, or a kind.
        files: The files that were written.
        tensors: How many tensors they hold.
        size_bytes: Bytes of these tensors.
        source_bytes: Bytes of the files that they were made of.
        left_out: What was left out, each with the reason.
    """

    path: Path
    source: str
    result: str
    files: Sequence[str]
    tensors: int
    size_bytes: int
    source_bytes: int
    left_out: Sequence[str] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg convert --json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "path": str(self.path),
            "source": self.source,
            "result": self.result,
            "files": list(self.files),
            "tensors": self.tensors,
            "size_bytes": self.size_bytes,
            "source_bytes": self.source_bytes,
            "left_out": list(self.left_out),
        }

    def _repr_html_(self) -> str:
        return facts_html(f"converted to {self.path}", self.to_dict())


@dataclass(frozen=True, slots=True)
class MergeReport:
    """The result of a merge.

    Attributes:
        pushed: The report of pushing the merged version.
        recipe: How it was made.
        seconds: How long everything took.
    """

    pushed: PushReport
    recipe: "MergeRecipe"
    seconds: float

    @property
    def ref(self) -> str:
        """The merged version's reference."""
        return self.pushed.ref

    def __repr__(self) -> str:
        """Return one line: the version, and how it was made."""
        parents = ", ".join(parent.ref for parent in self.recipe.parents)
        return one_line("MergeReport", f"{self.ref}: {self.recipe.method} of {parents}")

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg merge --json`: that of a push, and the recipe."""
        recipe = self.recipe
        modules = {name: error for name, error in recipe.relative_error.items() if name}
        return self.pushed.to_dict() | {
            "seconds": round(self.seconds, 3),
            "method": recipe.method,
            "parents": [asdict(parent) for parent in recipe.parents],
            "parameters": dict(recipe.parameters),
            "relative_error": recipe.relative_error.get(""),
            "modules": [{"module": n, "relative_error": e} for n, e in sorted(modules.items())],
        }

    def _repr_html_(self) -> str:
        return facts_html(f"merged into {self.pushed.version.ref}", self.to_dict())


@dataclass(frozen=True, slots=True)
class MergePlan:
    """What a merge would do; nothing was pushed.

    Attributes:
        method: The method's name.
        parents: The versions, in order.
        weights: Their weights.
        hindrance: Why they cannot be merged; None if they can.
        conflicts: The conflicts of every pair on every weight that either changes; one without a
            module is over all weights.
    """

    method: str
    parents: Sequence[VersionInfo]
    weights: Sequence[float]
    hindrance: DeltaregError | None
    conflicts: "Sequence[WeightConflict]"

    @property
    def bases_differ(self) -> bool:
        """Whether the parents are on different bases."""
        return isinstance(self.hindrance, BaseMismatch)

    @property
    def pairs(self) -> "list[WeightConflict]":
        """The conflicts of every pair over all weights."""
        return [conflict for conflict in self.conflicts if not conflict.module]

    @property
    def modules(self) -> "list[WeightConflict]":
        """The conflicts of every pair on every weight, those whose signs agree least first."""
        conflicts = [conflict for conflict in self.conflicts if conflict.module]
        return sorted(conflicts, key=lambda c: (c.sign_agreement is None, c.sign_agreement, c.module))

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg merge --plan --json`."""
        pairs, stops = zip(self.parents, self.weights, strict=True), self.hindrance
        return {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "can_merge": stops is None,
            "bases_differ": self.bases_differ,
            "problem": None if stops is None else {"code": stops.code, "message": stops.message, "fix": stops.fix},
            "parents": [{**side_of(version), "weight": weight} for version, weight in pairs],
            "pairs": [_pair(conflict) for conflict in self.pairs],
            "modules": [{"module": c.module, **_pair(c)} for c in self.modules],
        }

    def _repr_html_(self) -> str:
        return facts_html(f"a merge by {self.method}", self.to_dict())


def _pair(conflict: "WeightConflict") -> dict[str, object]:
    return {name: value for name, value in asdict(conflict).items() if name != "module"}


def side_of(version: VersionInfo) -> dict[str, object]:
    """Return the object for one of the versions that a report compares."""
    return {
        "ref": version.ref,
        "digest": version.digest,
        "kind": version.kind,
        "variant": version.variant,
        "base": version.base.model_dump(),
        "verdict": version.verdict,
    }
