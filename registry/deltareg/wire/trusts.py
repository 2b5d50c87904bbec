"""Trusts, and the tokens that come of them without a stored secret."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.access import Name
from deltareg.wire.messages import Answer, Request
from deltareg.words import Scope, TrustProvider

Claim = str | bool | int
"""What a claim of an assertion may have to be; texts and numbers are never alike."""


class TrustAdd(Request):
    """A trust: whose workflows get a token, and for what.

    Attributes:
        provider: Who issues what is accepted.
        issuer: Its name as `iss` writes it; empty for github.com or gitlab.com.
        audience: Whom an assertion has to be for: this server's address, as the workflow names it.
        namespace: Where its tokens may do anything.
        scopes: What its tokens are for.
        principal: The service account that they are of; `ci-NAMESPACE` if empty.
        source_id: The number of the repository or project.
        owner_id: The number of its owner, or of the project's namespace.
        ref: A branch, or a ref in full, at whose end a star may stand.
        environment: An environment of the CI.
        workflow: The file of the workflow, or all of its reference.
        claims: For other issuers, the claims that have to be exactly so.
        note: What people call the repository; never compared.
    """

    provider: TrustProvider
    issuer: Annotated[str, Field(max_length=300)] = ""
    audience: Annotated[str, Field(min_length=1, max_length=300)]
    namespace: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=8)]
    principal: Name = ""
    source_id: Annotated[str, Field(max_length=64)] = ""
    owner_id: Annotated[str, Field(max_length=64)] = ""
    ref: Annotated[str, Field(max_length=255)] = ""
    environment: Annotated[str, Field(max_length=255)] = ""
    workflow: Annotated[str, Field(max_length=300)] = ""
    claims: dict[str, Claim] = {}
    note: Annotated[str, Field(max_length=200)] = ""


class TrustInfo(Answer):
    """A trust; `accepts` says in one sentence what it accepts and gives."""

    id: int
    provider: TrustProvider
    issuer: str
    audience: str
    namespace: str
    scopes: list[Scope]
    principal: str
    conditions: dict[str, Claim]
    note: str
    accepts: str
    created_at: str
    created_by: str


class TokenExchanged(Answer):
    """A token that an assertion was exchanged for, in the fields of RFC 8693."""

    access_token: Annotated[str, Field(repr=False)]
    issued_token_type: str
    token_type: str
    expires_in: int
    scope: str
    principal: str
    namespace: str
    trust: int


class WorkerTrustAdd(Request):
    """A service account of a cluster whose pods are workers.

    Attributes:
        issuer: The cluster, as `iss` writes it.
        audience: Whom an assertion has to be for: this server's address, as the workers name it.
        account: The account as `NAMESPACE/NAME`.
    """

    issuer: Annotated[str, Field(min_length=1, max_length=300)]
    audience: Annotated[str, Field(min_length=1, max_length=300)]
    account: Annotated[str, Field(min_length=3, max_length=320)]


class WorkerTrustInfo(Answer):
    """Whose pods are workers, and what the names of these begin with."""

    id: int
    issuer: str
    audience: str
    account: str
    workers: str
    created_at: str
    created_by: str


class PodEnrol(Request):
    """A pod that asks to be a worker: what its cluster says of it, its public key, and its signature over both."""

    assertion: Annotated[str, Field(max_length=16 << 10, repr=False)]
    key: Annotated[str, Field(max_length=100)]
    signature: Annotated[str, Field(max_length=128)]

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return f"deltareg-pod-enrol\n{self.key}\n{self.assertion}".encode()


class PodEnrolled(Answer):
    """The token of a pod that is a worker now, and how many seconds it lasts."""

    access_token: Annotated[str, Field(repr=False)]
    expires_in: int
    principal: str
    keyid: str
