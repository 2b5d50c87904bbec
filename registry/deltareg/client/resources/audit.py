"""The audit log: who did what."""

from collections.abc import Sequence
from pathlib import Path

from deltareg.client import use_cases
from deltareg.client.quantities import read_moment
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.client.results.log_report import LogReport, RowProof
from deltareg.errors import NotFound
from deltareg.wire import AuditRow, CheckpointInfo, Page


class Audit(Resource):
    """The audit log of a registry: who did what."""

    __slots__ = ()

    def list(
        self,
        *,
        namespace: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: str | None = None,
        until: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Listing[AuditRow]:
        """List who did what, newest first.

        Args:
            namespace: Only what is about this namespace; its owners may ask for that, admins for
                all.
            actor: Only what this principal did.
            action: Only this action, `channel.promote`, or all on a kind of thing, `channel`.
            subject: Only what was done to this, and to what is below it.
            since: Only from this moment on: RFC 3339, a date (UTC), or a duration back, `7d`.
            until: Only before this moment.
            cursor: Where to go on.
            limit: How many rows a page has.
        """
        return self._list(
            "/audit",
            Page[AuditRow],
            namespace=namespace,
            actor=actor,
            action=action,
            subject=subject,
            since=read_moment(since),
            until=read_moment(until),
            cursor=cursor,
            limit=limit,
        )

    def checkpoint(self) -> CheckpointInfo:
        """Return the newest checkpoint of the log, checked against the last one seen here.

        Raises:
            LogRewritten: The checkpoint is older, of another log, or does not continue the one that
                was seen.
            NotFound: Nothing is sealed yet.
        """
        return self._see_checkpoint()

    def accept(self) -> CheckpointInfo:
        """Accept the log that the registry has now, whatever this machine saw before."""
        return self._see_checkpoint(is_accepted=True)

    def _see_checkpoint(self, *, is_accepted: bool = False) -> CheckpointInfo:
        """Return the verified checkpoint; if there is none, let the server's error say so."""
        see = use_cases.last_checkpoint.see_checkpoint
        checkpoint = see(self._context, is_accepted=is_accepted)
        if checkpoint is not None:
            return checkpoint
        self._context.api.get("/audit/checkpoint", CheckpointInfo)
        raise NotFound("nothing of the audit trail is sealed yet", fix="wait a moment, ask again")

    def export_log(self, path: AnyPath) -> int:
        """Write the log, with what is needed to verify it, to a file; return its number of rows."""
        return use_cases.audit_log.write_log(self._context, Path(path))

    def export_excerpt(
        self,
        path: AnyPath,
        *,
        namespace: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> int:
        """Write some rows, each with the proof that it is in the signed log; return how many.

        The arguments are those of `list`. `verify` reads the file without any server.

        Raises:
            Unavailable: A row is not sealed yet.
        """
        asked = {
            "namespace": namespace,
            "actor": actor,
            "action": action,
            "subject": subject,
            "since": read_moment(since),
            "until": read_moment(until),
        }
        wanted = {name: word for name, word in asked.items() if word is not None}
        return use_cases.audit_log.write_excerpt(self._context, Path(path), wanted)

    def verify(
        self,
        path: AnyPath | None = None,
        *,
        keys: AnyPath | None = None,
        against: Sequence[AnyPath] = (),
        whole: bool = False,
    ) -> LogReport:
        """Verify the log of the registry, or an exported one or a part of it without any server.

        Problems are in the report's `findings`. Of the registry's own log only the rows since the
        last verification on this machine are read, unless that was a week ago or finds a problem.

        Args:
            path: The file that `export_log` or `export_excerpt` wrote; None for the registry's own log.
            keys: A file with the keys to trust, from `keys.export`; the pinned keys by default.
            against: Files with checkpoints that were kept elsewhere; then all rows are read.
            whole: Whether to read all rows in any case.
        """
        return use_cases.audit_log.verify_log(
            self._context,
            None if path is None else Path(path),
            keys_file=None if keys is None else Path(keys),
            against=[Path(each) for each in against],
            whole=whole,
        )

    def prove(self, number: int) -> RowProof:
        """Have the registry prove that a row is in its log.

        Raises:
            LogRewritten: The log is not the one that this machine saw.
            IntegrityFailure: The proof does not hold.
        """
        return use_cases.audit_log.prove_row(self._context, number)
