"""The client: a registry with everything in it, for Python programs and notebooks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

from deltareg.client.cache.cache import Cache
from deltareg.client.config import ClientConfig, load_config
from deltareg.client.context import Context
from deltareg.client.http.api import Api
from deltareg.client.progress import SILENT, Progress
from deltareg.client.resources import load_on_use
from deltareg.client.resources.resource import AnyPath
from deltareg.errors import InvalidInput
from deltareg.host.lean_httpx import httpx
from deltareg.words import Priority

if TYPE_CHECKING:
    from deltareg.client.compare.behavior import Behavior
    from deltareg.client.compare.bisect import Bisection
    from deltareg.client.compare.bisect_by_hand import HandBisection
    from deltareg.client.push.merge import MergeOptions, Weighted
    from deltareg.client.resources.access import Access
    from deltareg.client.resources.audit import Audit
    from deltareg.client.resources.bases import Bases
    from deltareg.client.resources.cached import Cached
    from deltareg.client.resources.channels import Channels
    from deltareg.client.resources.events import Events
    from deltareg.client.resources.evidence import Evidence
    from deltareg.client.resources.fleet import Fleet
    from deltareg.client.resources.floors import Floors
    from deltareg.client.resources.folders import Folders
    from deltareg.client.resources.groups import Groups
    from deltareg.client.resources.keys import Keys
    from deltareg.client.resources.lines import Lines
    from deltareg.client.resources.members import Members
    from deltareg.client.resources.mirrors import Mirrors
    from deltareg.client.resources.namespaces import Namespaces
    from deltareg.client.resources.principals import Principals
    from deltareg.client.resources.quotas import Quotas
    from deltareg.client.resources.requests import Requests
    from deltareg.client.resources.runs import Runs
    from deltareg.client.resources.signatures import Signatures
    from deltareg.client.resources.signins import Signins
    from deltareg.client.resources.storage import Storage
    from deltareg.client.resources.suites import Suites
    from deltareg.client.resources.tokens import Tokens
    from deltareg.client.resources.trusts import Trusts
    from deltareg.client.resources.verdicts import Verdicts
    from deltareg.client.resources.versions import Versions
    from deltareg.client.resources.webhooks import Webhooks
    from deltareg.client.results import reports
    from deltareg.client.results.diff_report import DiffReport
    from deltareg.client.results.pull_report import MaterializeReport, PullReport
    from deltareg.signing.making import SigningCredentials
    from deltareg.wire import GateAnswer, Meta, MoveResult, RunInfo, VersionDetail, WhoAmI


class Client:
    """A registry, as one user sees it.

    ::

        from deltareg import Client
        with Client("https://registry", token="...") as client:
            pushed = client.push("my-lora", "team/chat", base="llama")
            run = client.verify(pushed.ref, wait=True)
            client.promote(pushed.ref, "prod", reason="better answers")
            print(client.pull("team/chat@prod").path)

    Everything that a registry has is an attribute: `client.versions`, `client.runs` and so on; what is done most is a
    method, too. Paths are `str` or `Path`. Lists iterate over all pages. Results have `to_dict()` and are tables in a
    notebook. Errors are classes of `deltareg.errors`. Several threads may use it; `close` or `with` ends it.
    """

    lines: "Lines" = load_on_use()
    """Lines: list them, read their log."""
    versions: "Versions" = load_on_use()
    """Versions: push, show, list, diff, pull, materialize, merge, revoke, delete and so on."""
    bases: "Bases" = load_on_use()
    """Bases: push, register, list, show, fetch."""
    channels: "Channels" = load_on_use()
    """Channels: promote, roll back, freeze, history, policies, gates."""
    requests: "Requests" = load_on_use()
    """Requests for moves that others have to approve."""
    runs: "Runs" = load_on_use()
    """Runs: verify, wait, list, log, cancel, and the workers that make them."""
    verdicts: "Verdicts" = load_on_use()
    """Verdicts: list, show, waive."""
    keys: "Keys" = load_on_use()
    """Keys of workers and servers: list, enrol, revoke, trust."""
    signatures: "Signatures" = load_on_use()
    """Signatures of versions, and attestations about them: add, list, verify."""
    evidence: "Evidence" = load_on_use()
    """What others say about versions: attestations and evaluations, added, listed, withdrawn."""
    suites: "Suites" = load_on_use()
    """Suites that versions are verified with: list, show, push."""
    fleet: "Fleet" = load_on_use()
    """Who follows channels, and an agent for this host."""
    events: "Events" = load_on_use()
    """Events: listed, and heard as they come."""
    webhooks: "Webhooks" = load_on_use()
    """Webhooks: made, tried, rotated, and what was delivered to them."""
    access: "Access" = load_on_use()
    """Access: roles, some of your own, and all of it as one document to export and apply."""
    groups: "Groups" = load_on_use()
    """Groups: make them, say who is in them, show what they hold."""
    members: "Members" = load_on_use()
    """Roles: given, listed, taken away, explained, reviewed."""
    principals: "Principals" = load_on_use()
    """People, service accounts and machines: listed, disabled, handed over."""
    namespaces: "Namespaces" = load_on_use()
    """Namespaces: made or asked for, listed, shown, made private or public."""
    floors: "Floors" = load_on_use()
    """What the server and its namespaces ask of every channel: show, set."""
    quotas: "Quotas" = load_on_use()
    """What namespaces and people may have, and use: listed, shown, set."""
    signins: "Signins" = load_on_use()
    """Who signs in with a provider, and signing in: providers, list, link."""
    tokens: "Tokens" = load_on_use()
    """Tokens: create, renew, list, revoke."""
    trusts: "Trusts" = load_on_use()
    """Trusts: whose workflows get a token without a stored secret."""
    audit: "Audit" = load_on_use()
    """Who did what."""
    mirrors: "Mirrors" = load_on_use()
    """Mirrors: what another registry, or a bundle, has and this one has not."""
    storage: "Storage" = load_on_use()
    """What is stored, its integrity, and freeing what nothing needs."""

    behavior: "Behavior" = load_on_use("compare.behavior.Behavior")
    """Compares what versions do."""
    bisection: "Bisection" = load_on_use("compare.bisect.Bisection")
    """Searches for the version that made a line bad."""
    bisection_by_hand: "HandBisection" = load_on_use("compare.bisect_by_hand.HandBisection")
    """The same search with a person as the judge, remembered between judgements."""

    # What is on this machine

    folders: "Folders" = load_on_use()
    """Folders: lint, convert, extract, update."""
    cached: "Cached" = load_on_use()
    """Things of the cache by what people call them: pin, unpin, remove."""

    def __init__(
        self,
        server: str | ClientConfig | None = None,
        *,
        token: str | None = None,
        profile: str | None = None,
        cache_dir: AnyPath | None = None,
        config: ClientConfig | None = None,
        progress: Progress | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Configure the client for a registry; no request is sent yet.

        Anything left out here comes from the environment (`DELTAREG_SERVER`, `DELTAREG_TOKEN`) and
        the settings files, as for the command line. A token that `deltareg auth login` stored for
        an address is used for that address.

        Args:
            server: The registry's address, such as `https://registry`.
            token: The token to authenticate with.
            profile: The profile of `config.toml` to use.
            cache_dir: The folder that caches pulled bytes.
            config: All settings at once, in place of the others; also as the first argument.
            progress: Receives the progress of transfers; none is reported by default.
            transport: A replacement for the network connection, for tests.

        Raises:
            InvalidInput: The server is not an address, or settings are given twice.
            Misconfigured: Others can read the token file.
        """
        if isinstance(server, ClientConfig):
            if config is not None:
                raise InvalidInput("two configs are given", fix="leave one out")
            config, server = server, None
        flags = {"server": server, "profile": profile, "cache_dir": cache_dir}
        settings = {key: str(value) for key, value in flags.items() if value is not None}
        if config is None:
            config = load_config(flags=settings).config
        elif settings:
            raise InvalidInput(f"both config and {next(iter(settings))} are given", fix="leave one out")
        self.config = config if token is None else replace(config, token=token)
        self.cache = Cache(self.config.cache_dir)
        self._api = Api(self.config, transport=transport, progress=progress or SILENT)
        self._context = Context(self._api, self.cache, self.config, progress or SILENT)

    def __enter__(self) -> Self:
        """Enter a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client at the end of the block."""
        self.close()

    def __repr__(self) -> str:
        """Describe which registry it is."""
        return f"<{type(self).__name__} of {self.config.server}>"

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    def lint(
        self, path: AnyPath, *, base: str | None = None, convention: str = "", trained_on: str | None = None
    ) -> "reports.LintReport":
        """Report what a folder is and what is wrong with it; see `folders.lint`."""
        return self.folders.lint(path, base=base, convention=convention, trained_on=trained_on)

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
        wait: bool = False,
        timeout_s: float = 3600.0,
        trained_on: str | None = None,
    ) -> "reports.PushReport":
        """Push a folder as a new version of a line; see `versions.push`."""
        return self.versions.push(
            path,
            line,
            base=base,
            kind=kind,
            convention=convention,
            parents=parents,
            message=message,
            semver=semver,
            labels=labels,
            idempotency_key=idempotency_key,
            golden=golden,
            sign=sign,
            wait=wait,
            timeout_s=timeout_s,
            trained_on=trained_on,
        )

    def verify(
        self,
        ref: str,
        *,
        suite: str = "smoke",
        again: bool = False,
        labels: Mapping[str, str] | None = None,
        priority: Priority = "normal",
        channel: str | None = None,
        variant: str = "",
        independent: bool = False,
        wait: bool = False,
        timeout_s: float = 3600.0,
    ) -> "RunInfo":
        """Queue a verification of a version, or join the one under way; see `runs.verify`."""
        return self.runs.verify(
            ref,
            suite=suite,
            again=again,
            labels=labels,
            priority=priority,
            channel=channel,
            variant=variant,
            independent=independent,
            wait=wait,
            timeout_s=timeout_s,
        )

    def show(self, ref: str) -> "VersionDetail":
        """Show a version; see `versions.show`."""
        return self.versions.show(ref)

    def diff(self, a: str, b: str, *, top: int = 20, has_numbers: bool = True) -> "DiffReport":
        """Compare two versions, down to what each does to every module; see `versions.diff`."""
        return self.versions.diff(a, b, top=top, has_numbers=has_numbers)

    def merge(
        self,
        parents: "Weighted",
        line: str,
        *,
        options: "MergeOptions | None" = None,
        wait: bool = False,
        timeout_s: float = 3600.0,
    ) -> "reports.MergeReport":
        """Merge versions and push the result as a version of a line; see `versions.merge`."""
        return self.versions.merge(parents, line, options=options, wait=wait, timeout_s=timeout_s)

    def gate(
        self,
        ref: str,
        channel: str,
        *,
        accept_warnings: bool = False,
        new_base: bool = False,
        accept_undecided: bool = False,
    ) -> "GateAnswer":
        """Return whether a version may go to a channel, and what is unmet; see `channels.gate`."""
        return self.channels.gate(
            ref, channel, accept_warnings=accept_warnings, new_base=new_base, accept_undecided=accept_undecided
        )

    def promote(
        self,
        ref: str,
        channel: str,
        *,
        reason: str = "",
        if_current: int | None = None,
        break_glass: bool = False,
        accept_warnings: bool = False,
        new_base: bool = False,
        accept_undecided: bool = False,
        wait: bool = False,
        timeout_s: float = 3600.0,
    ) -> "MoveResult":
        """Move a channel to a version that passes its gate; see `channels.promote`."""
        return self.channels.promote(
            ref,
            channel,
            reason=reason,
            if_current=if_current,
            break_glass=break_glass,
            accept_warnings=accept_warnings,
            new_base=new_base,
            accept_undecided=accept_undecided,
            wait=wait,
            timeout_s=timeout_s,
        )

    def rollback(
        self,
        line: str,
        channel: str,
        *,
        version: int | None = None,
        revision: int | None = None,
        steps: int | None = None,
        reason: str = "",
        break_glass: bool = False,
        dry_run: bool = False,
    ) -> "MoveResult":
        """Move a channel back to a version that it served before; see `channels.rollback`."""
        return self.channels.rollback(
            line,
            channel,
            version=version,
            revision=revision,
            steps=steps,
            reason=reason,
            break_glass=break_glass,
            dry_run=dry_run,
        )

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
        """Write a version's files into a folder, or into the cache; see `versions.pull`."""
        return self.versions.pull(
            ref, to, include=include, is_temporary=is_temporary, signers=signers, sigstore_trust=sigstore_trust
        )

    def materialize(
        self, ref: str, out: AnyPath, *, base: AnyPath | None = None, dtype: str = "keep", expect: str | None = None
    ) -> "MaterializeReport":
        """Fold a version into its base and write the full model; see `versions.materialize`."""
        return self.versions.materialize(ref, out, base=base, dtype=dtype, expect=expect)

    def ready(self) -> bool:
        """Whether the server answers and is ready."""
        return self._api.is_ready()

    def whoami(self) -> "WhoAmI":
        """Return whose token is in use."""
        from deltareg.wire import WhoAmI  # a client that asks for something else need not load it

        return self._api.get("/whoami", WhoAmI)

    def meta(self) -> "Meta":
        """Return what the server is; fails at once, without retries, if it is not there."""
        from deltareg.client.http.answers import read_answer
        from deltareg.wire import Meta  # as above

        return read_answer(self._api.send("GET", "/meta", is_patient=False), Meta)
