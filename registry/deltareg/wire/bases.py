"""Bases on the wire."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.messages import Answer, Request, Text
from deltareg.words import Fit, Proof, ProofState, Relation, Scheme


class BaseRelation(Answer):
    """A recorded fact about two bases."""

    relation: Relation
    root: str
    name: str | None = None


class BaseName(Answer):
    """The base of a version: its name, and the digests over its tensors and over all of it."""

    name: str
    root: str
    identity: str = ""


class BaseForm(Request):
    """Facts about a base that come with its registration, beside its bytes.

    `variant_of` names the base in full precision of which it is a form, packed as `quantised` says.
    `hub_ids` are `ORG/NAME` or `ORG/NAME@REVISION`: by them a config that names one finds the base.
    """

    variant_of: Text = ""
    quantised: Scheme | None = None
    hub_ids: Annotated[list[Annotated[str, Field(max_length=330)]], Field(max_length=16)] = []


class BaseInfo(Answer):
    """A base as registered.

    For one that is a version folded into its base: `version` names it, `depth` counts the versions
    that are folded, `bottom` is the base at the foot, and `recipe` says by what values were
    computed (empty when all are stored values).

    For one with packed weights: `variant_of` is the base in full precision, `quantised` the scheme,
    and `deltas` counts what was trained on it. `variants` names those of a base.

    `identity` is over all `parts` that decide what it does: tensors, config, tokenizer, chat
    template and so on, each with its digest; `root` is over the tensors alone. A base is partial
    that an older release stored and of which more may become known. `aliases` lead to it, too.

    `proof` is of its stored bytes; None where it has none here.
    """

    name: str
    root: str
    manifest_digest: str
    model_type: str
    is_stored: bool
    location: str | None
    tensors: int
    logical_bytes: int
    stored_bytes: int
    uploaded_bytes: int = 0
    created: bool = False
    created_at: str
    created_by: str
    deltas: int = 0
    relations: list[BaseRelation] = []
    version: str | None = None
    depth: int = 0
    bottom: BaseName | None = None
    recipe: str = ""
    variant_of: BaseName | None = None
    quantised: str = ""
    variants: list[str] = []
    hub_ids: list[str] = []
    proof: ProofState | None = None
    identity: str = ""
    parts: dict[str, str] = {}
    is_partial: bool = False
    aliases: list[str] = []

    def _in_short(self) -> str:
        stored = "stored" if self.is_stored else "not stored here"
        return f"{self.name}: {self.model_type or 'a base'}, {self.tensors} tensors, {stored}"


class BaseFigures(Answer):
    """What a worker found of a base on its probes, in some surroundings, as it signed it."""

    surroundings: str
    keyid: str
    signed_by: str
    created_at: str
    envelope: str


class BaseProbeSet(Answer):
    """The general probe set of a base: what every delta on it is held against.

    `document` is canonical JSON, `digest` its sha256; `texts` counts the texts in it.
    """

    base: str
    root: str
    identity: str
    digest: str
    modalities: list[str]
    texts: int
    document: str
    figures: list[BaseFigures] = []


class FiguresReport(Request):
    """What a worker found of a base: a DSSE envelope of an in-toto statement, in JSON."""

    envelope: Annotated[str, Field(max_length=256 << 10)]


class BasePart(Answer):
    """A part in which two bases differ: in which keys of the config, or in which files."""

    part: str
    details: list[str] = []


class BaseDiff(Answer):
    """In which parts a base differs from another; `without_effect` decides nothing of either."""

    base: str
    other: str
    same_tensors: bool
    differences: list[BasePart]
    without_effect: list[str] = []


class FitInfo(Answer):
    """What becomes of a version on another base.

    `verify`: all of it has its place there as it is, and a verification has to show what it does.
    `merge`: it has, and would undo what that base changed. `retrain`: it has not. `weights` counts
    those of the base that it starts from, `changed` those with other values than in its own.
    """

    ref: str
    base: str
    outcome: Fit
    reasons: list[str] = []
    weights: int = 0
    changed: int = 0


class BaseRename(Request):
    """Call a base something else, within its namespace."""

    name: Annotated[str, Field(min_length=1, max_length=140)]


class CompatRow(Answer):
    """A version of a base, and on which forms of the base it is proven.

    `on` has the base itself and each of its variants by name. Proven is what has a verdict of the
    suite that counts and passed; verdicts of another suite or verifier count as not run.
    """

    ref: str
    trained_on: str = ""
    created_at: str
    on: dict[str, Proof]
