"""Results of pull and materialize."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from deltareg.identity.manifest import Manifest
from deltareg.wire import SCHEMA_VERSION, Deprecation, Revocation
from deltareg.wire.tables import facts_html, one_line


class Attachment(Protocol):
    """A version on a live model, until it is detached or a `with` block ends."""

    @property
    def hits(self) -> Mapping[str, int]:
        """How often each part that acts on activations has acted, by target or module."""
        ...

    def silent(self, inputs: Mapping[str, object]) -> Sequence[str]:
        """Run one forward pass and return the parts that took no part in it."""
        ...

    def detach(self) -> None:
        """Take it off the model, which is then the base again, bit for bit; may be called twice."""
        ...

    def __enter__(self) -> Self:
        """Enter a `with` block."""
        ...

    def __exit__(self, *_: object) -> None:
        """Detach at the end of the block."""
        ...


@dataclass(frozen=True, slots=True)
class PullReport:
    """A version on this machine.

    Attributes:
        ref: The version, by its number.
        path: The folder that holds its files.
        digest: The manifest's digest.
        fetched_bytes: Bytes that came over the network.
        cached_bytes: Bytes that the cache had.
        seconds: How long it took.
        manifest: What the version is: kind, base, config, tensors, files.
        revocation: The revocation, if it is revoked.
        deprecation: The deprecation, if it or its line is deprecated.
        signed_by: Which of the required signers have signed it.
    """

    ref: str
    path: Path
    digest: str
    fetched_bytes: int
    cached_bytes: int
    seconds: float
    manifest: Manifest = field(repr=False)
    _attach: Callable[[object, Sequence[str]], Attachment] = field(repr=False, compare=False)
    revocation: Revocation | None = None
    deprecation: Deprecation | None = None
    signed_by: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return one line: the version, and where it is."""
        return _tell(self, revoked=self.revocation is not None)

    def attach(self, model: object, *, include: Sequence[str] = ()) -> Attachment:
        """Attach the version to a running `transformers` model of its base.

        ::

            with client.pull("team/chat@prod").attach(model) as attached:
                model.generate(**inputs)

        Every weight of the model is compared with the base's first. The client has to be open; the
        base is fetched into the cache if it is not on this machine.

        Args:
            model: The base, as `AutoModelForCausalLM.from_pretrained` returns it.
            include: Patterns of module paths, such as `*.layers.0`; by default everything is
                attached.

        Raises:
            BaseMismatch: The model is not the base, or lacks a module of the version.
            Misconfigured: The part with torch is not installed: `pip install 'deltareg[verify]'`.
        """
        return self._attach(model, include)

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg pull --json`."""
        signed = {"signed_by": list(self.signed_by)} if self.signed_by else {}
        return _fields(self) | signed

    def _repr_html_(self) -> str:
        return facts_html(f"pulled {self.ref}", self.to_dict())


@dataclass(frozen=True, slots=True)
class MaterializeReport:
    """A full model on this machine.

    Attributes:
        ref: The version, by its number.
        path: The folder that holds the model.
        digest: The manifest's digest.
        fetched_bytes: Bytes that came over the network.
        cached_bytes: Bytes that the cache had.
        seconds: How long it took.
        root: The fingerprint of the written model.
        recipe: The name of the rule that folded it.
        revocation: The revocation, if the version is revoked.
        deprecation: The deprecation, if the version or its line is deprecated.
        trained_on: The variant of the base that it was trained on; empty if it was the base itself.
    """

    ref: str
    path: Path
    digest: str
    fetched_bytes: int
    cached_bytes: int
    seconds: float
    root: str
    recipe: str
    revocation: Revocation | None = None
    deprecation: Deprecation | None = None
    trained_on: str = ""

    def __repr__(self) -> str:
        """Return one line: the version, and where the model is."""
        return _tell(self, revoked=self.revocation is not None)

    def to_dict(self) -> dict[str, object]:
        """Return the object of `deltareg materialize --json`."""
        fields = _fields(self) | {"root": self.root, "recipe": self.recipe}
        return fields | ({"trained_on": self.trained_on} if self.trained_on else {})

    def _repr_html_(self) -> str:
        return facts_html(f"materialized {self.ref}", self.to_dict())


def _tell(report: PullReport | MaterializeReport, *, revoked: bool) -> str:
    from deltareg.drawing.wording import size  # for people alone

    facts = f"{report.ref} in {report.path}, {size(report.fetched_bytes)} fetched" + (", revoked" if revoked else "")
    return one_line(type(report).__name__, facts)


def _fields(report: PullReport | MaterializeReport) -> dict[str, object]:
    fields: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "ref": report.ref,
        "path": str(report.path),
        "digest": report.digest,
        "fetched_bytes": report.fetched_bytes,
        "cached_bytes": report.cached_bytes,
        "seconds": round(report.seconds, 3),
    }
    if report.deprecation is not None:
        fields["deprecation"] = report.deprecation.model_dump()
    if report.revocation is not None:
        fields["revocation"] = report.revocation.model_dump()
    return fields
