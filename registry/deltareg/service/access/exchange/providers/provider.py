"""What each provider has to say: what it may be asked for, what fits, and whose workflow it is."""

import re
from collections.abc import Mapping
from typing import Protocol

from deltareg.errors import InvalidInput
from deltareg.wire import TrustAdd

Claims = Mapping[str, object]
Conditions = Mapping[str, object]
NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_REF = re.compile(r"refs/[A-Za-z0-9._-]+/[^\s*?\[\\]{0,200}\*?")
BRANCHES_AND_TAGS = ("refs/heads/", "refs/tags/")
"""What a trust accepts that names no ref: never a pull request or a merge request."""


class AssertionProvider(Protocol):
    """One kind of issuer."""

    def conditions(self, request: TrustAdd) -> dict[str, object]:
        """Return what the claims have to be, from what an owner asks for.

        Raises:
            InvalidInput: It would not bind the trust to one thing for good.
        """
        ...

    def misfit(self, conditions: Conditions, claims: Claims, *, issuer: str) -> str | None:
        """Return what does not fit, in words; None if all does.

        It is empty where the assertion is about somebody else's workflow, who learns nothing of the trust.
        """
        ...

    def workflow(self, claims: Claims) -> dict[str, object]:
        """Return the facts that name a workflow in the trail: `source`, `workflow`, `ref`, `run`, …."""
        ...

    def sentence(self, conditions: Conditions, *, note: str) -> str:
        """Say in one sentence whose workflows are accepted."""
        ...


def refuse_claims(request: TrustAdd) -> None:
    """Refuse conditions on claims by name, for a provider that has options of its own for them.

    Raises:
        InvalidInput: The request has some.
    """
    if request.claims:
        raise InvalidInput(
            "other claims are for other issuers", fix="--id, --owner-id, --ref, --workflow, --environment"
        )


def is_text(value: object, wanted: object) -> bool:
    """Whether a claim is what a trust has, and a text: GitHub and GitLab write ids as texts."""
    return isinstance(value, str) and value == wanted


def check_number(text: str, option: str) -> str:
    """Check an id of a provider: a number that names one thing for good.

    Raises:
        InvalidInput: It is none.
    """
    if not NUMBER.fullmatch(text):
        raise InvalidInput(f"{option} is a number, not {text[:60]!r}", fix=_IDS)
    return text


def whole_ref(text: str) -> str:
    """Return a ref in full: `main` is `refs/heads/main`; `refs/heads/release-*` stands for more.

    Raises:
        InvalidInput: It is none, or it would match nearly everything.
    """
    ref = text if text.startswith("refs/") else f"refs/heads/{text}"
    if not text or not _REF.fullmatch(ref):
        raise InvalidInput(
            f"no branch, tag or ref: {text[:80]!r}", fix="write main, refs/tags/v*, or refs/pull/* for pull requests"
        )
    return ref


def ref_misfit(wanted: object, ref: object) -> str | None:
    """Return why a ref is not one that a trust names; None if it is."""
    if not isinstance(ref, str):
        return "the assertion names no ref"
    if wanted is None:
        is_fit = ref.startswith(BRANCHES_AND_TAGS)
        return None if is_fit else f"{ref[:120]} is neither a branch nor a tag, and the trust names no other ref"
    text = str(wanted)
    is_fit = ref.startswith(text[:-1]) and len(ref) >= len(text) if text.endswith("*") else ref == text
    return None if is_fit else f"the trust is for {text}, and this is {ref[:120]}"


def environment_misfit(wanted: object, environment: object) -> str | None:
    """Return why an environment is not the one that a trust names; None if it is, or it names none."""
    if wanted is None or (isinstance(environment, str) and environment == wanted):
        return None
    has = f"is in {environment[:80]!r}" if isinstance(environment, str) else "names none"
    return f"the trust is for the environment {wanted}, and this job {has}"


def check_environment(text: str) -> str:
    """Check the name of an environment.

    Raises:
        InvalidInput: It is none; one with a wildcard is not one.
    """
    if not 0 < len(text) <= 255 or not text.isprintable() or "*" in text:
        raise InvalidInput(f"no environment: {text[:80]!r}", fix="write it as the CI calls it, such as production")
    return text


_IDS = "GitHub: gh api repos/OWNER/REPO --jq '.id, .owner.id'; GitLab: on the project's and the group's page"
