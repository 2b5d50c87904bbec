"""Storage: what is stored, whether it is intact, and what is no longer needed."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from deltareg.client.asking.resolving import path_of_one
from deltareg.client.resources.resource import Resource
from deltareg.refs import LineRef, Ref, parse_id, parse_name
from deltareg.wire import (
    CheckInfo,
    CheckMore,
    CollectReport,
    FormHistory,
    FormRevert,
    FsckReport,
    OperationChange,
    OperationInfo,
    OperationList,
    RetentionInfo,
    RetentionRule,
    RetentionSet,
    StorageReport,
    request_of,
)


class Storage(Resource):
    """The stored bytes of a registry, for its operators."""

    __slots__ = ()

    def stats(self, of: str | None = None, *, limit: int = 50) -> StorageReport:
        """Show how much is stored in total, or for a namespace, a line or a version.

        Raises:
            NotFound: There is nothing of that name.
        """
        query: dict[str, str] = {}
        if of is not None and "/" not in of:
            query = {"namespace": parse_name(of, "namespace")}
        elif of is not None:
            ref = Ref.parse(of)
            query = {"line": str(ref.line)} if ref.is_bare else {"ref": of}
        return self._context.api.get("/stats/storage", StorageReport, limit=limit, **query)

    def collect(
        self, *, dry_run: bool, grace_s: float | None = None, keep_forms_s: float | None = None
    ) -> CollectReport:
        """Free what nothing needs, or with `dry_run` report what that would be.

        Args:
            dry_run: Whether to only report it.
            grace_s: How long deleted versions and idle uploads stay, in seconds; None for the
                server's setting.
            keep_forms_s: How long former stored forms of versions stay, in seconds; None for the
                server's setting.
        """
        api, query = self._context.api, {"grace_s": grace_s, "keep_forms_s": keep_forms_s}
        if dry_run:
            return api.get("/gc/plans", CollectReport, **query)
        return api.request("POST", "/gc/runs", CollectReport, query=query)

    def history(self, ref: str) -> FormHistory:
        """List the stored forms of a version: served, former and proposed.

        Raises:
            NotFound: There is no such version.
        """
        return self._context.api.get(f"{path_of_one(self._context, ref)}/forms", FormHistory)

    def revert(self, ref: str, *, form: int | None = None) -> FormHistory:
        """Serve a version in a former stored form again: the newest that is kept, or a given one.

        Raises:
            NotFound: No such form is kept.
            Conflict: That form is damaged as well.
        """
        request = request_of(FormRevert, **({} if form is None else {"form": form}))
        return self._context.api.post(f"{path_of_one(self._context, ref)}:revert", request, FormHistory)

    def fsck(self, *, read_data: bool = False, repair: bool = False) -> FsckReport:
        """Compare the store with the database.

        Args:
            read_data: Whether to read and hash every pack.
            repair: Whether to repair what can be repaired, and mark the rest.
        """
        query: dict[str, bool] = {"read_data": read_data, **({"repair": True} if repair else {})}
        report = self._fsck_part(query, after="")
        findings = list(report.findings)
        while report.after is not None:
            before, report = report, self._fsck_part(query, after=report.after)
            findings += report.findings
            sums = {"packs": before.packs + report.packs, "bytes": before.bytes + report.bytes}
            report = report.model_copy(update=sums)
        return report.model_copy(update={"findings": findings})

    def _fsck_part(self, query: Mapping[str, bool], *, after: str) -> FsckReport:
        return self._context.api.request("POST", "/fsck", FsckReport, query={**query, "after": after})

    def check_pieces(self, *, share: float = 1.0, check: str = "") -> CheckInfo:
        """Have workers decode and hash the stored bytes, each version and base in a run of its own.

        Args:
            share: The share to check, drawn at random.
            check: The id of a check to continue.
        """
        request = CheckMore(check=check) if check else CheckMore(share=share)
        while True:
            info = self._context.api.post("/fsck/checks", request, CheckInfo)
            if info.is_queued:
                return info
            request = CheckMore(check=info.id)

    def show_check(self, check: str) -> CheckInfo:
        """Show how far a check of pieces is.

        Raises:
            NotFound: There is no check with that id.
        """
        return self._context.api.get(f"/fsck/checks/{parse_id(check, 'check')}", CheckInfo)

    def operations(self) -> Sequence[OperationInfo]:
        """List what the registry does by itself to stay in order."""
        return self._context.api.get("/operations", OperationList).items

    def operation(self, kind: str) -> OperationInfo:
        """Show one of these operations.

        Raises:
            NotFound: There is none of that name.
        """
        return self._context.api.get(f"/operations/{quote(kind, safe='')}", OperationInfo)

    def set_operation(
        self,
        kind: str,
        *,
        paused: bool | None = None,
        every_s: float | None = None,
        percent: int | None = None,
        now: bool = False,
    ) -> OperationInfo:
        """Pause or resume an operation, set how often it is done, or ask for it now.

        Args:
            kind: Its name.
            paused: Whether it waits until it is resumed; None for as it is.
            every_s: How often it is done, in seconds; 0 for never by itself.
            percent: Of the time of one server process, how much it may take.
            now: Whether to do it at once.

        Raises:
            NotFound: There is none of that name.
        """
        body = request_of(OperationChange, paused=paused, every_s=every_s, percent=percent, now=now)
        return self._context.api.request("PATCH", f"/operations/{quote(kind, safe='')}", OperationInfo, body=body)

    def retention(self, of: str) -> RetentionInfo:
        """Show which versions a namespace or a line keeps, and which would go now."""
        return self._context.api.get(_retention_of(of), RetentionInfo)

    def set_retention(
        self, of: str, rules: Sequence[RetentionRule], *, confirm: bool = False, dry_run: bool = False
    ) -> RetentionInfo:
        """Replace the rules of a namespace or a line; none ends them.

        Args:
            of: A namespace, or a line `ns/name`.
            rules: What is kept, by kind of delta.
            confirm: Whether a line may lose all of its versions.
            dry_run: Whether to only say what would go.

        Raises:
            Conflict: A line would lose all of its versions.
        """
        body = request_of(RetentionSet, rules=list(rules), confirm=confirm)
        query = {"dry_run": True} if dry_run else {}
        return self._context.api.request("PUT", _retention_of(of), RetentionInfo, body=body, query=query)


def _retention_of(of: str) -> str:
    if "/" not in of:
        return f"/namespaces/{parse_name(of, 'namespace')}/retention"
    line = LineRef.parse(of)
    return f"/deltas/{line.namespace}/{line.name}/retention"
