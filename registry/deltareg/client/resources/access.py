"""Access as one document: who is who, and who may do what."""

from deltareg.client.resources.resource import Resource
from deltareg.wire import AccessApply, AccessDocument, AccessPlan


class Access(Resource):
    """Groups, roles, namespaces and members of a registry, all at once."""

    __slots__ = ()

    def export(self) -> AccessDocument:
        """Write down all about access that the caller sees."""
        return self._context.api.get("/access", AccessDocument)

    def apply(self, document: AccessDocument, *, prune: bool = False, dry_run: bool = False) -> AccessPlan:
        """Make access what a document says, all of it or nothing; with `dry_run`, say what would change.

        Args:
            document: What it is to be.
            prune: Whether to take away what the document leaves out of what it is about.
            dry_run: Whether to change nothing.
        """
        body = AccessApply(document=document, prune=prune, dry_run=dry_run)
        return self._context.api.post("/access:apply", body, AccessPlan)
