"""What is stored, whether it is intact, and what of it nothing needs any more."""

from deltareg.client.resources.resource import Resource
from deltareg.refs import Ref, parse_name
from deltareg.wire import CollectReport, FsckReport, StorageReport


class Storage(Resource):
    """The bytes of a registry, for those who run it."""

    __slots__ = ()

    def stats(self, of: str | None = None, *, limit: int = 50) -> StorageReport:
        """Show what is stored of everything, or of a namespace, a line or a version.

        Raises:
            NotFound: There is none of that name.
        """
        query: dict[str, str] = {}
        if of is not None and "/" not in of:
            query = {"namespace": parse_name(of, "namespace")}
        elif of is not None:
            ref = Ref.parse(of)
            query = {"line": str(ref.line)} if ref.is_bare else {"ref": of}
        return self._context.api.get("/stats/storage", StorageReport, limit=limit, **query)

    def collect(self, *, dry_run: bool, grace_s: float | None = None) -> CollectReport:
        """Free what nothing needs, or say what that would be."""
        api, query = self._context.api, {"grace_s": grace_s}
        if dry_run:
            return api.get("/gc/plans", CollectReport, grace_s=grace_s)
        return api.request("POST", "/gc/runs", CollectReport, query=query)

    def fsck(self, *, read_data: bool = False) -> FsckReport:
        """Hold the store against the database."""
        query = {"read_data": read_data}
        return self._context.api.request("POST", "/fsck", FsckReport, query=query)
