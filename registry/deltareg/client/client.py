"""The client: every method of the command line, for Python.

::

    from deltareg import Client

    with Client() as client:
        pushed = client.push(Path("lora"), "team/summaries", base="minilm")
        run = client.verify(pushed.version.ref)
        client.wait_run(run.id, timeout_s=600)
        client.promote(pushed.version.ref, "prod")
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client import use_cases
from deltareg.client.fleet import Fleet
from deltareg.client.pull import pull
from deltareg.client.resources import (
    deltas,
    resolving,
    runs,
    stats,
    verdicts,
)
from deltareg.client.results.pull_report import PullReport
from deltareg.client.results.update_report import UpdateReport
from deltareg.client.serving import Serving
from deltareg.client.verifying import Verifying
from deltareg.refs import LineRef, Ref, parse_id
from deltareg.wire import (
    AuditRow,
    BaseInfo,
    CollectReport,
    FsckReport,
    LineageAnswer,
    LineInfo,
    LogEntry,
    Page,
    RunInfo,
    StorageReport,
    TokenCreate,
    TokenCreated,
    TokenInfo,
    VerdictInfo,
    VersionDetail,
    VersionInfo,
)

if TYPE_CHECKING:
    from deltareg.client.folders.base_folder import BaseFolder
    from deltareg.client.push.merge import MergeOptions, Weighted
    from deltareg.client.results import reports


class Client(Fleet, Serving, Verifying):
    """A registry, as one user sees it. Synchronous; safe to use from several threads."""

    # Access

    def create_token(self, request: TokenCreate) -> TokenCreated:
        """Make a token for a named principal."""
        return self._api.post("/tokens", request, TokenCreated)

    def tokens(self, *, cursor: str | None = None, limit: int = 50) -> Page[TokenInfo]:
        """List tokens without secrets."""
        return self._api.get("/tokens", Page[TokenInfo], cursor=cursor, limit=limit)

    def revoke_token(self, token_id: int) -> TokenInfo:
        """Revoke a token at once."""
        return self._api.post(f"/tokens/{token_id}:revoke", None, TokenInfo)

    # Bases

    def push_base(self, path: Path, name: str) -> BaseInfo:
        """Store a base with its bytes."""
        return use_cases.push_base.push_base(self._context, path, name)

    def register_base(self, path: Path, name: str) -> BaseInfo:
        """Record a base's fingerprint; its bytes stay where they are."""
        return use_cases.push_base.register_base(self._context, path, name)

    def bases(self, *, cursor: str | None = None, limit: int = 50) -> Page[BaseInfo]:
        """List bases by name."""
        return self._api.get("/bases", Page[BaseInfo], cursor=cursor, limit=limit)

    def base(self, name: str) -> BaseInfo:
        """Show one base."""
        return deltas.show_base(self._context, name)

    def fetch_base(self, info: BaseInfo) -> "BaseFolder":
        """Open a base on this machine, or bring its bytes into the cache; the caller closes it."""
        return use_cases.fetching.bring_base(self._context, info)

    def fingerprint(self, path: Path) -> "reports.Fingerprint":
        """Fingerprint a local base; no server is asked."""
        return use_cases.push_base.fingerprint(self._context, path)

    # Deltas

    def lint(
        self, path: Path, *, base: str | None = None, convention: str = ""
    ) -> "reports.LintReport":
        """Say what a folder is and what is wrong with it; offline when the base is a folder."""
        return use_cases.lint.lint(self._context, path, base=base, convention=convention)

    def convert(self, path: Path, to: Path, *, base: str | None = None) -> "reports.ConvertReport":
        """Write what a folder holds in a layout that push takes; nothing in it is carried out."""
        return use_cases.convert.convert(self._context, path, to, base=base)

    def push(
        self,
        path: Path,
        line: str,
        *,
        base: str,
        kind: str = "auto",
        convention: str = "",
        parents: Sequence[str] = (),
        message: str = "",
        semver: str | None = None,
        labels: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        golden: Path | None = None,
    ) -> "reports.PushReport":
        """Push a folder as a new version; the same push again gives the same version."""
        options = use_cases.push.PushOptions(
            kind=kind, convention=convention, parents=parents, message=message, semver=semver,
            labels=dict(labels or {}), idempotency_key=idempotency_key, golden=golden,
        )  # fmt: skip
        return use_cases.push.push(
            self._context, path, LineRef.parse(line), base=base, options=options
        )

    def pull(self, ref: str, to: Path | None = None, *, is_temporary: bool = False) -> PullReport:
        """Write a version's files into a folder, or into the cache."""
        return pull.pull(self._context, Ref.parse(ref), to, is_temporary=is_temporary)

    def materialize(
        self,
        ref: str,
        out: Path,
        *,
        base: Path | None = None,
        dtype: str = "keep",
        expect: str | None = None,
    ) -> PullReport:
        """Fold a version into its base and write the full model."""
        return use_cases.materialize.materialize(
            self._context, Ref.parse(ref), out, base=base, dtype=dtype, expect=expect
        )

    def update(self, folder: Path, to: str, *, is_plan: bool = False) -> UpdateReport:
        """Make a folder that holds a version hold another one; only what differs travels."""
        return use_cases.update.update(self._context, folder, to, is_plan=is_plan)

    def merge(
        self, parents: "Weighted", line: str, *, options: "MergeOptions"
    ) -> "reports.MergeReport":
        """Merge versions, each with a weight, and push the result as a version of a line."""
        return use_cases.merge.merge(self._context, parents, LineRef.parse(line), options=options)

    def plan_merge(self, parents: "Weighted", *, options: "MergeOptions") -> "reports.MergePlan":
        """Say what a merge would meet, without making it."""
        return use_cases.merge.plan(self._context, parents, options=options)

    def show(self, ref: str) -> VersionDetail:
        """Show a version; a bare `ns/name` means the newest."""
        return resolving.resolve(self._context, Ref.parse(ref), bare="newest")

    def lines(
        self,
        namespace: str | None = None,
        *,
        filters: Mapping[str, str] | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[LineInfo]:
        """List delta lines by name."""
        return deltas.lines(self._context, namespace, filters or {}, cursor=cursor, limit=limit)

    def versions(
        self, line: str, *, cursor: str | None = None, limit: int = 50
    ) -> Page[VersionInfo]:
        """List the versions of a line, newest first."""
        return deltas.versions(self._context, LineRef.parse(line), cursor=cursor, limit=limit)

    def log(
        self, line: str, *, channel: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[LogEntry]:
        """List what happened to a line, newest first."""
        return deltas.log(
            self._context, LineRef.parse(line), channel=channel, cursor=cursor, limit=limit
        )

    def lineage(self, ref: str, *, depth: int = 10) -> LineageAnswer:
        """Walk to a version's parents and base, and to what was made from it."""
        return deltas.lineage(self._context, Ref.parse(ref), depth=depth)

    def diff(
        self, a: str, b: str, *, top: int = 20, has_numbers: bool = True
    ) -> "reports.DiffReport":
        """Compare two versions: files, config, tensors, and what each does to every module."""
        return use_cases.diff.diff(
            self._context, Ref.parse(a), Ref.parse(b), top=top, has_numbers=has_numbers
        )

    def delete_version(self, ref: str, *, dry_run: bool = False) -> VersionInfo:
        """Delete a version; its number is never used again."""
        return deltas.delete(self._context, Ref.parse(ref), dry_run=dry_run)

    def revoke(
        self, ref: str, *, reason: str, even_if_served: bool = False, dry_run: bool = False
    ) -> VersionInfo:
        """Revoke a version: no channel takes it any more, and whoever pulls it is warned."""
        return deltas.revoke(
            self._context, Ref.parse(ref), reason=reason, even_if_served=even_if_served,
            dry_run=dry_run,
        )  # fmt: skip

    def unrevoke(self, ref: str, *, reason: str) -> VersionInfo:
        """End the revocation of a version."""
        return deltas.unrevoke(self._context, Ref.parse(ref), reason=reason)

    def flatten(self, ref: str) -> RunInfo:
        """Queue a run that stores a version against its base alone, or join the one under way."""
        return runs.flatten(self._context, Ref.parse(ref))

    # Verdicts

    def verdicts(
        self, ref: str | None = None, *, cursor: str | None = None, limit: int = 50
    ) -> Page[VerdictInfo]:
        """List verdicts, of one version or of all, newest first."""
        return self._api.get("/verdicts", Page[VerdictInfo], ref=ref, cursor=cursor, limit=limit)

    def verdict(self, verdict_id: str) -> VerdictInfo:
        """Show a verdict and what it is bound to."""
        return self._api.get(f"/verdicts/{parse_id(verdict_id, 'verdict')}", VerdictInfo)

    def waive(
        self, verdict_id: str, check: str, *, reason: str, expires: str = "30d"
    ) -> VerdictInfo:
        """Waive a failed check of a verdict for a while (`30d`), or until a time or date."""
        return verdicts.waive(self._context, verdict_id, check, reason=reason, expires=expires)

    def unwaive(self, verdict_id: str, check: str) -> VerdictInfo:
        """End the waiver of a check before its time."""
        return verdicts.unwaive(self._context, verdict_id, check)

    # Operators

    def collect(self, *, dry_run: bool, grace_s: float | None = None) -> CollectReport:
        """Free what nothing needs, or say what that would be."""
        if dry_run:
            return self._api.get("/gc/plans", CollectReport, grace_s=grace_s)
        return self._api.request("POST", "/gc/runs", CollectReport, query={"grace_s": grace_s})

    def fsck(self, *, read_data: bool = False) -> FsckReport:
        """Hold the store against the database."""
        return self._api.request("POST", "/fsck", FsckReport, query={"read_data": read_data})

    def storage_stats(self, of: str | None = None, *, limit: int = 50) -> StorageReport:
        """Show what is stored of everything, or of a namespace, a line or a version."""
        return stats.storage(self._context, of, limit=limit)

    def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[AuditRow]:
        """List who did what, newest first."""
        return self._api.get(
            "/audit", Page[AuditRow], actor=actor, action=action, subject=subject,
            cursor=cursor, limit=limit,
        )  # fmt: skip
