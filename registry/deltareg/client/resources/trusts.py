"""Trusts: whose workflows get a token without a stored secret."""

from collections.abc import Mapping, Sequence

from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.wire import Page, TrustAdd, TrustInfo, WorkerTrustAdd, WorkerTrustInfo, request_of


class Trusts(Resource):
    """Whose workflows get a token without a stored secret."""

    __slots__ = ()

    def add(
        self,
        provider: str,
        *,
        namespace: str,
        scopes: Sequence[str],
        source_id: str = "",
        owner_id: str = "",
        ref: str = "",
        environment: str = "",
        workflow: str = "",
        claims: Mapping[str, object] | None = None,
        issuer: str = "",
        audience: str = "",
        principal: str = "",
        note: str = "",
    ) -> TrustInfo:
        """Let workflows have tokens of a service account; the answer says what is accepted.

        Args:
            provider: `github`, `gitlab`, or `oidc` for another issuer.
            namespace: Where the tokens may do anything.
            scopes: What they are for.
            source_id: The number of the repository or project.
            owner_id: The number of its owner, or of the project's namespace.
            ref: A branch, or a ref in full, at whose end a star may stand; any branch or tag without.
            environment: An environment of the CI.
            workflow: The file of the workflow, or all of its reference.
            claims: For another issuer: the claims that have to be exactly so.
            issuer: Its name as `iss` writes it; github.com or gitlab.com without.
            audience: Whom an assertion has to be for; this client's server without.
            principal: The service account; `ci-NAMESPACE` without.
            note: What people call the repository; never compared.
        """
        body = request_of(
            TrustAdd,
            provider=provider,
            namespace=namespace,
            scopes=list(scopes),
            source_id=source_id,
            owner_id=owner_id,
            ref=ref,
            environment=environment,
            workflow=workflow,
            claims=dict(claims or {}),
            issuer=issuer,
            audience=audience or self._context.config.server,
            principal=principal,
            note=note,
        )
        return self._context.api.post("/trusts", body, TrustInfo)

    def list(self, namespace: str | None = None, *, cursor: str | None = None, limit: int = 50) -> Listing[TrustInfo]:
        """List the trusts of a namespace; without one all trusts, for admins."""
        return self._list("/trusts", Page[TrustInfo], namespace=namespace, cursor=cursor, limit=limit)

    def remove(self, trust_id: int) -> TrustInfo:
        """End a trust, and every token that came of it, at once."""
        return self._context.api.request("DELETE", f"/trusts/{trust_id}", TrustInfo)

    def add_worker(self, issuer: str, account: str, *, audience: str = "") -> WorkerTrustInfo:
        """Let the pods of a service account of a cluster be workers.

        Args:
            issuer: The cluster, as `iss` writes it.
            account: The service account as `NAMESPACE/NAME`.
            audience: Whom an assertion has to be for; this client's server without.
        """
        body = WorkerTrustAdd(issuer=issuer, account=account, audience=audience or self._context.config.server)
        return self._context.api.post("/worker-trusts", body, WorkerTrustInfo)

    def list_worker(self) -> Listing[WorkerTrustInfo]:
        """List the service accounts whose pods are workers, for admins."""
        return self._list("/worker-trusts", Page[WorkerTrustInfo])

    def remove_worker(self, trust_id: int) -> WorkerTrustInfo:
        """End such a trust and the tokens of its workers, at once."""
        return self._context.api.request("DELETE", f"/worker-trusts/{trust_id}", WorkerTrustInfo)
