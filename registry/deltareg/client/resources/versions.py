"""Versions: push, look at, pull, combine and withdraw them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deltareg.client import use_cases
from deltareg.client.asking.lines import label_query, line_path
from deltareg.client.asking.resolving import BASE, base_path, path_of_one, resolve, resolve_live, version_path
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import NotFound
from deltareg.refs import LineRef, Ref
from deltareg.wire import (
    Deprecate,
    LineageAnswer,
    LineState,
    Page,
    Revoke,
    Unrevoke,
    VersionChange,
    VersionDetail,
    VersionInfo,
    VersionPulls,
    request_of,
)
from deltareg.words import BareName

if TYPE_CHECKING:
    from deltareg.client.pull.version_files import VersionFiles
    from deltareg.client.push.merge import MergeOptions, Weighted
    from deltareg.client.push.push import PushOptions
    from deltareg.client.push.push_several import PushedFolder
    from deltareg.client.results import reports
    from deltareg.client.results.diff_report import DiffReport
    from deltareg.client.results.pull_report import MaterializeReport, PullReport
    from deltareg.client.trust.signers import TrustedSigner
    from deltareg.signing.making import SigningCredentials
    from deltareg.wire import CardInfo, RunInfo, SearchHit


class Versions(Resource):
    """The versions of a registry; a reference is `ns/name:v3`, `ns/name@prod` and the like."""

    __slots__ = ()

    def push(
        self,
        path: AnyPath,
        line: str,
        *,
        base: str | None = None,
        kind: str = "auto",
        convention: str = "",
        parents: Sequence[str] = (),
        message: str = "",
        semver: str | None = None,
        labels: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        golden: "AnyPath | Literal[False] | None" = None,
        sign: "AnyPath | SigningCredentials | None" = None,
        trained_on: str | None = None,
        wait: bool = False,
        timeout_s: float = 3600.0,
    ) -> "reports.PushReport":
        """Push a folder as a new version; the same push again returns the same version.

        The folder is only read. Without `base` it is the one that its own files name. Golden outputs that were
        recorded into it (`deltareg.golden`) are pushed with it; where there are none, the library that wrote the
        delta computes some, as for the command line. `golden` names a file with others, or is False for none. With
        `sign`, a file with a private key or the word `sigstore`, the files are signed. `trained_on` insists on a
        base that the files deny. With `wait`, it returns once verified, or after `timeout_s`: see `report.run`.

        Raises:
            Refused: The folder is not a delta of this base, or its files name another one
                (`base_mismatch`); `problems` lists everything that is wrong.
            WaitTimeout: It was pushed, and its verification goes on.
        """
        options = use_cases.push.PushOptions(
            kind=kind,
            convention=convention,
            parents=parents,
            message=message,
            semver=semver,
            labels=dict(labels or {}),
            idempotency_key=idempotency_key,
            golden=use_cases.golden_of_push.GoldenChoice(
                None if golden is None or golden is False else Path(golden), is_left_out=golden is False
            ),
            sign=None if sign is None else use_cases.signers.sign_with(sign),
            trained_on=trained_on,
        )
        report = use_cases.push.push(self._context, Path(path), LineRef.parse(line), base=base, options=options)
        return self._wait_for_verdict(report, timeout_s=timeout_s) if wait else report

    def push_several(
        self, paths: Sequence[AnyPath], to: str, *, base: str | None = None, options: "PushOptions | None" = None
    ) -> "Iterator[PushedFolder]":
        """Push folders one after another, their base looked up once: to a line, or `ns/` for a line each."""
        several = use_cases.push_several.push_several
        return several(self._context, [Path(path) for path in paths], to, base=base, options=options)

    def pull(
        self,
        ref: str,
        to: AnyPath | None = None,
        *,
        include: Sequence[str] = (),
        is_temporary: bool = False,
        signers: Sequence[str] = (),
        sigstore_trust: AnyPath | None = None,
    ) -> "PullReport":
        """Write a version's files into a folder, or into the cache.

        Args:
            ref: The version; a bare `ns/name` means what `prod` serves.
            to: The folder.
            include: Patterns of the files to pull, such as `text_encoder/*`; all without any.
                Updates of the folder keep to them.
            is_temporary: Whether the folder will be removed soon and need not be remembered.
            signers: Who must have signed the files, all of them: public keys in files, keyids and
                so on.
            sigstore_trust: The trust configuration of a Sigstore, for identities among them.

        Raises:
            BadSignature: A signer has not signed; nothing was fetched.
            Conflict: The folder exists and holds something else.
            IntegrityFailure: A byte is not what was pushed.
            InvalidInput: A pattern matches no file.
        """
        folder = None if to is None else Path(to)
        trusted = _parse_signers(signers, sigstore_trust)
        from deltareg.client.pull.pull import pull  # who asks about versions need not load it

        return pull(self._context, Ref.parse(ref), folder, include=include, is_temporary=is_temporary, signers=trusted)

    def pull_several(
        self,
        refs: Sequence[str],
        to: AnyPath,
        *,
        include: Sequence[str] = (),
        signers: Sequence[str] = (),
        sigstore_trust: AnyPath | None = None,
    ) -> "list[PullReport]":
        """Pull versions into folders below one, each named like its line; arguments as of `pull`.

        What several of them need is fetched once. Nothing is pulled if a reference leads nowhere.

        Raises:
            InvalidInput: Two of them would lie in one folder.
        """
        trusted = _parse_signers(signers, sigstore_trust)
        parsed = [Ref.parse(ref) for ref in refs]
        from deltareg.client.pull.pull import pull_several  # as above

        return pull_several(self._context, parsed, Path(to), include=include, signers=trusted)

    def files(self, ref: str) -> "VersionFiles":
        """Return a version's files to read in parts; a bare `ns/name` means what `prod` serves.

        Raises:
            Blocked: The version is deleted.
        """
        version = resolve_live(self._context, Ref.parse(ref), bare="prod")
        return use_cases.version_files.VersionFiles(self._context, version)

    def materialize(
        self, ref: str, out: AnyPath, *, base: AnyPath | None = None, dtype: str = "keep", expect: str | None = None
    ) -> "MaterializeReport":
        """Fold a version into its base and write the full model."""
        folder = None if base is None else Path(base)
        return use_cases.materialize.materialize(
            self._context, Ref.parse(ref), Path(out), base=folder, dtype=dtype, expect=expect
        )

    def merge(
        self,
        parents: "Weighted",
        line: str,
        *,
        options: "MergeOptions | None" = None,
        wait: bool = False,
        timeout_s: float = 3600.0,
    ) -> "reports.MergeReport":
        """Merge versions, each with a weight, and push the result as a version of a line.

        With `wait`, it returns once the version has been verified: `report.pushed.run` has the
        verdict.
        """
        merge_options = options or use_cases.merge.MergeOptions()
        report = use_cases.merge.merge(self._context, parents, LineRef.parse(line), options=merge_options)
        return replace(report, pushed=self._wait_for_verdict(report.pushed, timeout_s=timeout_s)) if wait else report

    def plan_merge(self, parents: "Weighted", *, options: "MergeOptions | None" = None) -> "reports.MergePlan":
        """Plan a merge: show its conflicts and hindrances without making it."""
        merge_options = options or use_cases.merge.MergeOptions()
        return use_cases.merge.plan(self._context, parents, options=merge_options)

    def show(self, ref: str) -> "VersionDetail":
        """Show a version; a bare `ns/name` means the newest."""
        return resolve(self._context, Ref.parse(ref), bare="newest")

    def list(
        self, line: str, *, labels: Mapping[str, str | None] | None = None, cursor: str | None = None, limit: int = 50
    ) -> Listing[VersionInfo]:
        """List the versions of a line, newest first, optionally only those with certain labels.

        A label whose value is None may have any value.
        """
        path = f"{line_path(LineRef.parse(line))}/versions"
        query = label_query(labels or {})
        return self._list(path, Page[VersionInfo], cursor=cursor, limit=limit, **query)

    def search(
        self,
        text: str = "",
        *,
        labels: Mapping[str, str | None] | None = None,
        base: str = "",
        kind: str = "",
        metrics: Sequence[str] = (),
        within: str = "",
        newest: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> "Listing[SearchHit]":
        """Find versions, newest first, among the readable ones; all conditions have to hold.

        Args:
            text: Words in the card, the message, the labels or the names; `chat*` matches a
                beginning.
            labels: Labels; one whose value is None may have any value.
            base: The base, by name.
            kind: The kind.
            metrics: Conditions on metrics of verdicts and cards: `accuracy>=0.9`.
            within: A namespace or a line.
            newest: Whether only the newest version of each line counts.
            cursor: The page to begin with.
            limit: How many versions a page has.
        """
        parameters = {"text": text, "base": base, "kind": kind, "metric": ",".join(metrics), "within": within}
        query = {key: value for key, value in parameters.items() if value}
        from deltareg.wire import SearchHit  # as in pull

        return self._list(
            "/search",
            Page[SearchHit],
            newest=newest or None,
            cursor=cursor,
            limit=limit,
            **(query | label_query(labels or {})),
        )

    def lineage(self, ref: str, *, depth: int = 10) -> LineageAnswer:
        """Show a version's parents and base, and the versions made from it.

        `base:NAME` shows the newest versions on a base, and what was made from those.
        """
        if ref.startswith(BASE):
            return self._context.api.get(f"{base_path(ref)}/lineage", LineageAnswer, depth=depth)
        version = resolve(self._context, Ref.parse(ref), bare="newest")
        path = f"{version_path(Ref.parse(version.ref))}/lineage"
        return self._context.api.get(path, LineageAnswer, depth=depth)

    def pulls(self, ref: str) -> VersionPulls:
        """Return how often a version was pulled, when last, and by whom, as far as one may know."""
        version = resolve(self._context, Ref.parse(ref), bare="newest")
        return self.pulls_of(version)

    def pulls_of(self, version: VersionInfo) -> VersionPulls:
        """Return how often a shown version was pulled; a server of the release before counts none."""
        path = f"{version_path(Ref.parse(version.ref))}/pulls"
        try:
            return self._context.api.get(path, VersionPulls)
        except NotFound:
            return VersionPulls(pulls=0, pullers=0, last_at=None)

    def diff(self, a: str, b: str, *, top: int = 20, has_numbers: bool = True) -> "DiffReport":
        """Compare two versions: files, config, tensors, and what each does to every module."""
        return use_cases.diff.diff(self._context, Ref.parse(a), Ref.parse(b), top=top, has_numbers=has_numbers)

    def label(self, ref: str, labels: Mapping[str, str] | None = None, *, remove: Sequence[str] = ()) -> VersionInfo:
        """Set labels of a version and remove others; the version itself stays what it is.

        Raises:
            InvalidInput: The reference does not name one version, or a label is malformed.
        """
        body = request_of(VersionChange, labels={**dict.fromkeys(remove), **(labels or {})})
        path = path_of_one(self._context, ref)
        return self._context.api.request("PATCH", path, VersionInfo, body=body)

    def edit(self, ref: str, *, semver: str | None = None, message: str | None = None) -> VersionInfo:
        """Give a version its semver, which is never moved, or another message.

        Raises:
            InvalidInput: The reference does not name one version, or the semver is none.
            Conflict: The semver stands elsewhere, or the version has another one.
        """
        body = request_of(VersionChange, semver=semver, message=message)
        return self._context.api.request("PATCH", path_of_one(self._context, ref), VersionInfo, body=body)

    def card_of(self, version: VersionDetail) -> "CardInfo | None":
        """Return what the README.md of a shown version says; None if it has none."""
        return use_cases.written_card.show_card(self._context, version)

    def card(self, ref: str, *, text: bool = False) -> "CardInfo | None":
        """Return what a version's README.md says, with `text` also its text; None without one."""
        version = resolve(self._context, Ref.parse(ref), bare="newest")
        return use_cases.written_card.show_card(self._context, version, text=text)

    def write_card(self, ref: str, *, bare: BareName = "newest") -> str:
        """Return the card of a version with its base, kind, verdict and lineage added.

        The version does not change: the result is for a copy, or for a hub.

        Raises:
            InvalidInput: The front matter cannot be read.
        """
        return use_cases.written_card.write_card(self._context, Ref.parse(ref), bare=bare)

    def delete(self, ref: str, *, dry_run: bool = False) -> VersionInfo:
        """Delete a version, or with `dry_run` only check whether that is allowed.

        Its number is never used again.

        Raises:
            InvalidInput: The reference does not name one version.
        """
        query = {"dry_run": True} if dry_run else {}
        return self._context.api.request("DELETE", path_of_one(self._context, ref), VersionInfo, query=query)

    def restore(self, ref: str) -> VersionInfo:
        """Undo the deletion of a version, unless collection has freed its bytes.

        Raises:
            InvalidInput: The reference does not name one version.
            Blocked: Its bytes are gone.
            Conflict: The same files were pushed again since, or something that the version needs is
                deleted.
        """
        return self._context.api.post(f"{path_of_one(self._context, ref)}:restore", None, VersionInfo)

    def revoke(self, ref: str, *, reason: str, even_if_served: bool = False, dry_run: bool = False) -> VersionInfo:
        """Revoke a version, or with `dry_run` only show what would happen.

        No channel accepts it any more, and everybody who pulls it is warned.

        Raises:
            InvalidInput: The reference does not name one version.
            Conflict: A channel serves it, and `even_if_served` is not set.
        """
        request = request_of(Revoke, reason=reason, even_if_served=even_if_served, dry_run=dry_run)
        return self._context.api.post(f"{path_of_one(self._context, ref)}:revoke", request, VersionInfo)

    def unrevoke(self, ref: str, *, reason: str) -> VersionInfo:
        """End the revocation of a version.

        Raises:
            InvalidInput: The reference does not name one version.
        """
        request = request_of(Unrevoke, reason=reason)
        return self._context.api.post(f"{path_of_one(self._context, ref)}:unrevoke", request, VersionInfo)

    def deprecate(self, ref: str, *, reason: str, successor: str = "") -> VersionInfo | LineState:
        """Warn whoever takes a version, or any of a line, and name what to use instead.

        An empty reason takes it back.

        Raises:
            Conflict: The successor is deprecated itself.
        """
        body = request_of(Deprecate, reason=reason, successor=successor)
        named = Ref.parse(ref)
        if named.is_bare:
            return self._context.api.post(f"{line_path(named.line)}:deprecate", body, LineState)
        return self._context.api.post(f"{path_of_one(self._context, ref)}:deprecate", body, VersionInfo)

    def flatten(self, ref: str) -> "RunInfo":
        """Queue a run that stores a version against its base alone, or join the one under way.

        Raises:
            InvalidInput: The reference does not name one version.
        """
        from deltareg.wire import RunInfo  # as in pull

        return self._context.api.post(f"{path_of_one(self._context, ref)}:flatten", None, RunInfo)

    def _wait_for_verdict(self, report: "reports.PushReport", *, timeout_s: float) -> "reports.PushReport":
        """Wait for the verification of a version that was pushed."""
        from deltareg.client.resources.runs import Runs  # as in pull

        run = Runs(self._context).verify(report.ref, wait=True, timeout_s=timeout_s)
        return replace(report, version=self.show(report.ref), run=run)


def _parse_signers(signers: Sequence[str], sigstore_trust: AnyPath | None) -> "Sequence[TrustedSigner]":
    trust = None if sigstore_trust is None else Path(sigstore_trust)
    return use_cases.signers.parse_signers(signers, trust=trust) if signers else ()
