"""The base that a folder is pushed onto: the one that was said, if the folder's own files do not deny it.

Without a word it is the one that the files name. Whoever knows better than the files insists
(`--trained-on`), and the version keeps what they say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from deltareg.client.bases.bases import KnownBase, resolve_base
from deltareg.client.bases.claimed import check_claims, claims_in
from deltareg.client.bases.named import find_named_base
from deltareg.client.context import Context
from deltareg.client.fold.version_base import PushBase, find_push_base
from deltareg.client.folders.folder import Folder
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef


@dataclass(frozen=True, slots=True)
class PushTarget:
    """The base of a push; as a context manager it closes the base's folder at the end.

    Attributes:
        onto: The base.
        base_claim: What the folder's files say instead, where somebody insists; None where nobody does.
        notes: What a person should know of it, a line each.
    """

    onto: PushBase
    base_claim: str | None = None
    notes: Sequence[str] = ()

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the base's folder, if there is one."""
        self.onto.base.close()


def find_push_target(
    context: Context, folder: Folder, line: LineRef | None, *, base: str | None, trained_on: str | None
) -> PushTarget:
    """Find the base of a push.

    Args:
        context: The client's surroundings.
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
        text, where = find_named_base(context, claims, folder)
        notes.append(f"base: {text}, which {where} names")
    onto = find_push_base(context, text)
    try:
        if insisted and insisted != text:
            onto.base = _agree(context, onto.base, text, insisted)
        command = f"deltareg push {folder.source} {line or 'NS/NAME'}"
        claim, remark = check_claims(context, claims, onto.base, is_insisted=bool(insisted), command=command)
    except BaseException:
        onto.base.close()
        raise
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
