"""The base that a folder is pushed onto: the one that was said, if the folder's own files do not deny it.

Without a word it is the one that the files name. Whoever knows better than the files insists
(`--trained-on`), and the version keeps what they say.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Self

from deltareg.client.bases.bases import KnownBase, resolve_base
from deltareg.client.bases.claimed import MeantBase, check_claims, claims_in
from deltareg.client.bases.named import find_named_base
from deltareg.client.context import Context
from deltareg.client.fold.version_base import PushBase, find_push_base
from deltareg.client.folders.folder import Folder
from deltareg.errors import InvalidInput
from deltareg.identity.base_claims import BaseClaim, ClaimedBases
from deltareg.refs import LineRef


@dataclass(slots=True)
class PushBases:
    """The bases that pushes go onto: each is looked up once, and closed when the block ends.

    What is moved or revoked meanwhile, the server finds at each push.

    Attributes:
        context: The client's surroundings.
        claimed: What claims of the folders lead to, as far as it was asked.
    """

    context: Context
    claimed: dict[BaseClaim, ClaimedBases[MeantBase]] = field(
        default_factory=dict["BaseClaim", "ClaimedBases[MeantBase]"]
    )
    _found: dict[tuple[str, str], PushBase] = field(default_factory=dict[tuple[str, str], PushBase])

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the folders of all bases."""
        with ExitStack() as stack:
            for onto in self._found.values():
                stack.callback(onto.base.close)

    def find(self, text: str, insisted: str) -> PushBase:
        """Find what `--base` means, where somebody insists on it or on a variant of it.

        Raises:
            InvalidInput: They are two bases.
            NotFound: There is no such base.
        """
        key = text, insisted
        if key not in self._found:
            onto = self._found[key] = find_push_base(self.context, text)
            if insisted and insisted != text:
                onto.base = _agree(self.context, onto.base, text, insisted)
        return self._found[key]


@dataclass(frozen=True, slots=True)
class PushTarget:
    """The base of a push.

    Attributes:
        onto: The base.
        base_claim: What the folder's files say instead, where somebody insists; None where nobody does.
        notes: What a person should know of it, a line each.
    """

    onto: PushBase
    base_claim: str | None = None
    notes: Sequence[str] = ()


def find_push_target(
    bases: PushBases, folder: Folder, line: LineRef | None, *, base: str | None, trained_on: str | None
) -> PushTarget:
    """Find the base of a push.

    Args:
        bases: Those that are known by now.
        folder: The opened folder.
        line: The line that is pushed to, for advice; None where nothing is pushed yet.
        base: The base, as it was said; None for the one that the folder's files name.
        trained_on: The base, or a variant of it, that somebody insists it was trained on.

    Raises:
        Refused: `base_mismatch`: the files name another base, and nobody insists.
        InvalidInput: No base is said or named, or two are.
        NotFound: There is no such base.
    """
    claims, notes = claims_in(folder), list[str]()
    insisted = trained_on or (claims.trained_on if base in {None, claims.trained_on} else "")
    text = base or insisted
    if not text:
        text, where = find_named_base(bases.context, claims, folder)
        notes.append(f"base: {text}, which {where} names")
    onto = bases.find(text, insisted)
    command = f"deltareg push {folder.source} {line or 'NS/NAME'}"
    claim, remark = check_claims(
        bases.context, claims, onto.base, is_insisted=bool(insisted), command=command, known=bases.claimed
    )
    notes += [remark] if remark and base else []
    return PushTarget(onto, claim if insisted else None, notes)


def _agree(context: Context, base: KnownBase, said: str, insisted: str) -> KnownBase:
    """Return the base as insisted on, which is that very base or a variant of it."""
    trained = resolve_base(context.api, context.cache, insisted, progress=context.progress)
    trained.close()
    if trained.name != base.name:
        raise InvalidInput(
            f"--base {said} and --trained-on {insisted} are two bases", fix=f"say one of them: --trained-on {insisted}"
        )
    return replace(base, trained_on=trained.trained_on or base.trained_on)
