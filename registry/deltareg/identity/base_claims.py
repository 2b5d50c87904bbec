"""What the files of a delta say about the base that it was trained on.

A claim is where to look, and no more: which base a name means is resolved by whoever reads it. Programs
write the config and the metadata as they train, so these come before what a card says. The first claim
that leads to a registered base decides; a card that names a path of the training machine decides nothing.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from deltareg.documents.json_values import is_list, is_object, is_text, parse_json
from deltareg.documents.model_card import CARD_FILE, MOST_CARD_BYTES, read_front, split_card
from deltareg.errors import InvalidInput

ADAPTER_CONFIG, MODEL_CONFIG = "adapter_config.json", "config.json"
_SNAPSHOT = re.compile(r"[/\\]models--([\w.-]+)[/\\]snapshots[/\\]([\w.-]+)[/\\]*$")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{7,40}")
_ANY_REVISION = frozenset({"", "main"})
_CHARACTERS, _REVISION_CHARACTERS = 1024, 120
_METADATA = ("ss_sd_model_name", "base_model_name_or_path", "base_model")
"""Keys of a safetensors header that trainers write: of kohya's scripts, of peft, of diffusers' examples."""
Found = TypeVar("Found")


class Named(Protocol):
    """A base as somebody knows it."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...


Known = TypeVar("Known", bound=Named)


@dataclass(frozen=True, slots=True)
class BaseClaim:
    """A base as one file names it.

    Attributes:
        where: The file, for people.
        name: A name in this registry, an id of the hub, or a path.
        revision: The revision on the hub; empty where it says none.
    """

    where: str
    name: str
    revision: str = ""

    @property
    def is_path(self) -> bool:
        """Whether it is spelled as a path on some machine."""
        return self.name.startswith((".", "/", "~", "\\")) or self.name[1:3] in {":\\", ":/"}

    @property
    def hub_id(self) -> str:
        """The id of the hub that it may be, of a snapshot in a hub's cache as well; empty for a mere path."""
        snapshot = _SNAPSHOT.search(self.name)
        if snapshot is not None:
            return snapshot[1].replace("--", "/", 1)
        name = self.name.partition("@")[0]
        return name if _HUB_ID.fullmatch(name) and not self.is_path else ""

    @property
    def hub_revision(self) -> str:
        """The revision that goes with the hub id; empty where any is meant."""
        snapshot = _SNAPSHOT.search(self.name)
        named = (
            snapshot[2] if snapshot is not None else self.revision or self.name.rpartition("@")[2] * ("@" in self.name)
        )
        return "" if named in _ANY_REVISION else named

    @property
    def location(self) -> str:
        """The path that it may be, as a registration records it."""
        return self.name.rstrip("/\\") or self.name

    def __str__(self) -> str:
        """Quote it: `org/llama at revision 4f2a`."""
        return f"{self.name[:120]}{f' at revision {self.revision[:40]}' if self.revision else ''}"


@dataclass(frozen=True, slots=True)
class BaseClaims:
    """All that a delta's files say about its base.

    Attributes:
        base: The base that the card names for this registry (`deltareg: {base: NAME}`); mostly empty.
        trained_on: The base that the card insists on against the other files; mostly empty.
        claims: What the files say, the most reliable first.
    """

    base: str = ""
    trained_on: str = ""
    claims: tuple[BaseClaim, ...] = ()

    @property
    def first(self) -> BaseClaim:
        """The most reliable claim; an empty one where there is none."""
        return next(iter(self.claims), BaseClaim("", ""))


@dataclass(frozen=True, slots=True)
class ClaimedBases(Generic[Found]):
    """The bases that a claim leads to.

    Attributes:
        bases: Those that it may mean.
        of_other_revisions: Those that the hub has under the same id at other revisions.
    """

    bases: Sequence[Found] = ()
    of_other_revisions: Sequence[Found] = ()


@dataclass(frozen=True, slots=True)
class Contradiction(Generic[Known]):
    """A claim that leads to another base than the one that is pushed onto, and the bases it leads to."""

    claim: BaseClaim
    found: ClaimedBases[Known]

    @property
    def in_short(self) -> str:
        """What the delta says of its base, in the words that its version keeps."""
        names = " or ".join(one.name for one in self.found.bases) or str(self.claim)
        spelled = f": {self.claim}" if str(self.claim) != names else ""
        return f"{names} ({self.claim.where}{spelled})"

    def describe(self, base: str) -> str:
        """Say what the files say against a base of that name."""
        names = " or ".join(one.name for one in [*self.found.bases, *self.found.of_other_revisions])
        if not self.found.bases:
            return f"{self.claim.where} says it was trained on {self.claim}, and only other revisions are here: {names}"
        spelled = f" ({self.claim})" if str(self.claim) != names else ""
        return f"{self.claim.where} says it was trained on {names}{spelled}, and you said {base}"

    @property
    def registering(self) -> str:
        """The command that registers the revision that only others are here of."""
        return f"deltareg base register PATH NAME --hub-id {self.claim.hub_id}@{self.claim.hub_revision}"


def find_contradiction(
    claims: Iterable[BaseClaim], find: Callable[[BaseClaim], ClaimedBases[Known]], *, is_same: Callable[[Known], bool]
) -> Contradiction[Known] | None:
    """Return the claim that contradicts a base; None where none does.

    Args:
        claims: What the files say, the most reliable first; the first that leads anywhere decides.
        find: Finds the bases that a claim leads to.
        is_same: Whether one of them is the base that is pushed onto.
    """
    for claim in claims:
        found = find(claim)
        if found.bases:
            return None if any(is_same(one) for one in found.bases) else Contradiction(claim, found)
        if found.of_other_revisions:
            return Contradiction(claim, found)
    return None


def split_revisions(claim: BaseClaim, known: Iterable[tuple[Found, str]]) -> ClaimedBases[Found]:
    """Sort bases with a claim's hub id by whether they are of its revision.

    Args:
        claim: The claim.
        known: Bases, each with a revision that was recorded with that id; empty where it may be any.
    """
    wanted = claim.hub_revision
    pairs = list(known)
    exact = [base for base, revision in pairs if wanted and _is_revision(wanted, revision)]
    exact = exact or [base for base, revision in pairs if not (wanted and revision)]
    return ClaimedBases(exact, () if exact else [base for base, _ in pairs])


def read_claims(
    documents: Mapping[str, Mapping[str, object]], card: bytes, metadata: Iterable[Mapping[str, str]] = ()
) -> BaseClaims:
    """Read what the files of a delta say about its base; what cannot be read says nothing.

    Args:
        documents: Its JSON files by path.
        card: Its README.md; empty where it has none.
        metadata: What the headers of its safetensors files say.
    """
    front = _front_matter(card)
    ours = front.get("deltareg")
    own = {key: text for key, value in ours.items() if (text := _text(value))} if is_object(ours) else {}
    claims = [
        *_in_config(documents.get(ADAPTER_CONFIG, {})),
        *_in_model_config(documents.get(MODEL_CONFIG, {})),
        *_in_metadata(metadata),
        *([BaseClaim(CARD_FILE, own["base"])] if own.get("base") else []),
        *_in_front_matter(front),
    ]
    return BaseClaims(own.get("base", ""), own.get("trained_on", ""), tuple(dict.fromkeys(claims)))


def parse_documents(raw: Mapping[str, bytes]) -> dict[str, Mapping[str, object]]:
    """Parse JSON files by path, leaving out what is none."""
    parsed: dict[str, Mapping[str, object]] = {}
    for path, text in raw.items():
        try:
            document = parse_json(text)
        except ValueError:  # none, or one that a push refuses in better words
            continue
        if is_object(document):
            parsed[path] = document
    return parsed


def _in_config(config: Mapping[str, object]) -> Iterator[BaseClaim]:
    revision = _text(config.get("revision"))[:_REVISION_CHARACTERS]
    for key in ("base_model_name_or_path", "model_name", "model"):  # of peft, of adapters, of mlx
        name = _text(config.get(key))
        if name:
            yield BaseClaim(ADAPTER_CONFIG, name, revision)
            return


def _in_model_config(config: Mapping[str, object]) -> Iterator[BaseClaim]:
    """Give what transformers notes of the folder or id that a fine-tune was loaded from."""
    name = _text(config.get("_name_or_path"))
    if name:
        yield BaseClaim(MODEL_CONFIG, name)


def _in_metadata(metadata: Iterable[Mapping[str, str]]) -> Iterator[BaseClaim]:
    for entries in metadata:
        for key in _METADATA:
            name = _text(entries.get(key))
            if name and not name.endswith((".safetensors", ".ckpt")):  # a file's name is no model's
                yield BaseClaim(f"the header ({key})", name)


def _in_front_matter(front: Mapping[str, object]) -> Iterator[BaseClaim]:
    base_model = front.get("base_model")
    names = base_model if is_list(base_model) else [base_model]
    base_names = [name for name in map(_text, names) if name]
    if len(base_names) == 1:
        yield BaseClaim(CARD_FILE, base_names[0])


def _front_matter(card: bytes) -> Mapping[str, object]:
    try:
        return read_front(split_card(card[:MOST_CARD_BYTES].decode("utf-8-sig", "replace"))[0])
    except InvalidInput:
        return {}


def _is_revision(wanted: str, recorded: str) -> bool:
    """Whether two revisions are one; a commit may be cut to its first digits."""
    if wanted == recorded:
        return True
    is_cut = bool(_HEX.fullmatch(wanted) and _HEX.fullmatch(recorded))
    return is_cut and (wanted.startswith(recorded) or recorded.startswith(wanted))


def _text(value: object) -> str:
    return value[:_CHARACTERS].strip() if isinstance(value, str) and is_text(value) else ""
