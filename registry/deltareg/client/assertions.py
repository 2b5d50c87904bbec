"""What a CI gives to a job so that it can say whose it is: no secret is stored for that."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from deltareg.signing.keys import SigningKey

ID_TOKEN = "DELTAREG_ID_TOKEN"  # noqa: S105  # the name of a variable
TRUST = "DELTAREG_TRUST"
_GITHUB_URL, _GITHUB_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_MOST_TOKENS = 9


@dataclass(frozen=True, slots=True)
class PodSource:
    """What a worker in a pod says who it is with: a file that its cluster keeps new, and its own key."""

    file: Path
    key: "SigningKey" = field(repr=False)


@dataclass(frozen=True, slots=True)
class AssertionSource:
    """Where a job's assertions come from.

    Attributes:
        ready: Those that the CI put into variables (GitLab's `id_tokens`); each works once.
        url: Where GitHub Actions gives new ones; empty if it does not.
        secret: What GitHub wants to see for that.
        trust: The number of the trust that is meant; empty for the one that says most.
    """

    ready: tuple[str, ...] = field(default=(), repr=False)
    url: str = ""
    secret: str = field(default="", repr=False)
    trust: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self | None:
        """Read the variables of a job; None outside of one."""
        names = [ID_TOKEN, *(f"{ID_TOKEN}_{number}" for number in range(2, _MOST_TOKENS + 1))]
        ready = tuple(text for name in names if (text := environ.get(name, "").strip()))
        url, secret = environ.get(_GITHUB_URL, ""), environ.get(_GITHUB_TOKEN, "")
        if not (ready or (url and secret)):
            return None
        return cls(ready, url if secret else "", secret, environ.get(TRUST, ""))
