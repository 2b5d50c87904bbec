"""What pull and materialize give back."""

from dataclasses import dataclass
from pathlib import Path

from deltareg.wire import SCHEMA_VERSION, Revocation


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
    revocation: Revocation | None = None

    def to_json(self) -> dict[str, object]:
        """The object of `deltareg pull --json` and `deltareg materialize --json`."""
        found: dict[str, object] = {
            "schema_version": SCHEMA_VERSION,
            "ref": self.ref, "path": str(self.path), "digest": self.digest,
            "fetched_bytes": self.fetched_bytes, "cached_bytes": self.cached_bytes,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip
        if self.revocation is not None:
            found["revocation"] = self.revocation.model_dump()
        if self.root:
            found |= {"root": self.root, "recipe": self.recipe}
        return found
