"""The result of an update."""

from dataclasses import dataclass
from pathlib import Path

from deltareg.wire import SCHEMA_VERSION, Deprecation, Revocation
from deltareg.wire.tables import facts_html
from deltareg.words import UpdatePlan


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update did, or would do.

    Attributes:
        ref: The version that the folder holds now, or would hold.
        from_ref: The version that it held before.
        path: The folder.
        digest: The manifest's digest of `ref`.
        plan: `none` if it held that version already, `patch`, or `full` if nothing in the folder
            helps.
        fetched_bytes: Bytes that were transferred; in a plan, that would be.
        full_bytes: Bytes that a pull into another folder would have fetched.
        seconds: How long it took.
        is_plan: Whether this is only a plan.
        was_written_to: Whether the folder had been written to, so that nothing in it was used.
        revocation: The revocation, if `ref` is revoked.
        deprecation: The deprecation, if `ref` is deprecated.
    """

    ref: str
    from_ref: str
    path: Path
    digest: str
    plan: UpdatePlan
    fetched_bytes: int
    full_bytes: int
    seconds: float
    is_plan: bool
    was_written_to: bool = False
    revocation: Revocation | None = None
    deprecation: Deprecation | None = None

    @property
    def is_changed(self) -> bool:
        """Whether the folder holds other bytes now; in a plan, whether it would."""
        return self.plan != "none"

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg update --json`."""
        fields: dict[str, object] = {
            "schema_version": SCHEMA_VERSION,
            "ref": self.ref,
            "from": self.from_ref,
            "path": str(self.path),
            "digest": self.digest,
            "plan": self.plan,
            "fetched_bytes": self.fetched_bytes,
            "full_bytes": self.full_bytes,
            "seconds": round(self.seconds, 3),
            "is_plan": self.is_plan,
            "is_changed": self.is_changed,
            "was_written_to": self.was_written_to,
        }
        if self.revocation is not None:
            fields["revocation"] = self.revocation.model_dump()
        return fields

    def _repr_html_(self) -> str:
        return facts_html(f"{self.path}: {self.from_ref} → {self.ref}", self.to_dict())
