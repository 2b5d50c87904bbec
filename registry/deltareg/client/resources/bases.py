"""Bases: what deltas are made for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client import use_cases
from deltareg.client.asking.resolving import base_path, resolve
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import NotFound
from deltareg.refs import Ref, parse_base, plain_base
from deltareg.wire import BaseDiff, BaseForm, BaseInfo, BaseProbeSet, BaseRename, CompatRow, Page, Scheme, request_of

if TYPE_CHECKING:
    from deltareg.client.campaign.campaign import CampaignReport
    from deltareg.client.campaign.campaign_start import CampaignStart
    from deltareg.client.folders.base_folder import BaseFolder
    from deltareg.client.results import reports
    from deltareg.delta.kind import BaseView
    from deltareg.identity.manifest import Manifest


class Bases(Resource):
    """The bases of a registry, and those on this machine."""

    __slots__ = ()

    def push(
        self,
        path: AnyPath,
        name: str,
        *,
        variant_of: str = "",
        quantised: Scheme | None = None,
        hub_ids: Sequence[str] = (),
    ) -> BaseInfo:
        """Push a base with its bytes; the arguments are those of `register`."""
        form = _form(variant_of, quantised, hub_ids)
        return use_cases.push_base.push_base(self._context, Path(path), name, form=form)

    def register(
        self,
        path: AnyPath,
        name: str,
        *,
        variant_of: str = "",
        quantised: Scheme | None = None,
        hub_ids: Sequence[str] = (),
    ) -> BaseInfo:
        """Register a base by its fingerprint; its bytes stay where they are.

        Args:
            path: The folder, or the id of a model in the Hugging Face cache.
            name: The name to register it under.
            variant_of: The base in full precision whose weights it holds in packed form.
            quantised: How they are packed; given together with `variant_of`.
            hub_ids: Its ids on the hub, `ORG/NAME` or `ORG/NAME@REVISION`; that of a snapshot in
                the cache is found automatically.

        Raises:
            Refused: The name belongs to another base, or the folder is not a variant of
                `variant_of`.
        """
        form = _form(variant_of, quantised, hub_ids)
        return use_cases.push_base.register_base(self._context, Path(path), name, form=form)

    def view(self, name: str) -> "BaseView":
        """Return names, shapes and config of a base, without its bytes."""
        info = self.show(name)
        return use_cases.base_fetching.view_of(self._context, info)

    def manifest(self, base: BaseInfo) -> "Manifest":
        """Return the manifest of a base, which lists its files and holds its config."""
        return use_cases.which.base_manifest(self._context.api, self._context.cache, base)

    def named_in(self, adapter: AnyPath) -> str:
        """Return the value of `base` for pushing an adapter, from what its own files name.

        Raises:
            InvalidInput: It names no base, an unknown one, or more than one.
            NotFound: There is no such adapter.
            Refused: It is part of an adapter, or a folder around one.
        """
        return use_cases.named.named_in(self._context, Path(adapter))[0]

    def compat(
        self, name: str, *, suite: str = "smoke", cursor: str | None = None, limit: int = 50
    ) -> Listing[CompatRow]:
        """List the versions of a base, newest first, with the variants that each is proven on."""
        return self._list(f"{base_path(name)}/compat", Page[CompatRow], suite=suite, cursor=cursor, limit=limit)

    def list(self, *, cursor: str | None = None, limit: int = 50) -> Listing[BaseInfo]:
        """List bases by name."""
        return self._list("/bases", Page[BaseInfo], cursor=cursor, limit=limit)

    def show(self, name: str) -> BaseInfo:
        """Show one base; one that is a version by its reference.

        Raises:
            NotFound: There is no such base, or the version was never a base.
        """
        if ":" not in name and "@" not in name:
            try:
                return self._context.api.get(base_path(name), BaseInfo)
            except NotFound:
                if "/" not in plain_base(name):
                    raise
        ref = resolve(self._context, Ref.parse(name), bare="newest").ref
        return self._context.api.get(base_path(ref), BaseInfo)

    def diff(self, name: str, other: str) -> BaseDiff:
        """Show in which parts two bases differ: tensors, config, tokenizer and so on."""
        one, two = self.show(name).name, self.show(other).name
        return self._context.api.get(f"{base_path(one)}/diff", BaseDiff, other=two)

    def campaign(self, old: str, new: str, *, within: str = "") -> "CampaignReport":
        """Show what becomes of every line on a base when another base takes its place."""
        return use_cases.campaign.campaign(self._context, old, new, within=within)

    def start_campaign(
        self,
        old: str,
        new: str,
        *,
        within: str = "",
        limit: int | None = None,
        is_dry_run: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> "CampaignStart":
        """Push each version that fits as it is onto the new base, which queues its verification.

        Args:
            old: The base that lines stand on.
            new: The base that is to take its place.
            within: A namespace or line to stay within.
            limit: How many lines to start at most.
            is_dry_run: Only report which lines would be started.
            tell: Called with each line that was started.
        """
        report = self.campaign(old, new, within=within)
        return use_cases.campaign_start.start(self._context, report, limit=limit, is_dry_run=is_dry_run, tell=tell)

    def probes(self, name: str) -> BaseProbeSet:
        """Show the general probe set of a base, which every delta on it is measured on."""
        return self._context.api.get(f"{base_path(self.show(name).name)}/probes", BaseProbeSet)

    def rename(self, name: str, to: str) -> BaseInfo:
        """Rename a base within its namespace; the old name keeps leading to it.

        Raises:
            Conflict: Another base has that name, or had it.
        """
        body = BaseRename(name=parse_base(to))
        return self._context.api.post(f"{base_path(name)}:rename", body, BaseInfo)

    def delete(self, name: str, *, dry_run: bool = False) -> BaseInfo:
        """Delete a base that nothing stands on; its bytes go with the next collection.

        Raises:
            Conflict: Versions or variants stand on it.
        """
        return self._context.api.request("DELETE", base_path(name), BaseInfo, query={"dry_run": dry_run or None})

    def fetch(self, base: BaseInfo | str) -> "BaseFolder":
        """Open a base on this machine, or fetch it into the cache first; the caller closes it."""
        info = self.show(base) if isinstance(base, str) else base
        return use_cases.base_fetching.bring_base(self._context, info)

    def fingerprint(self, path: AnyPath) -> "reports.Fingerprint":
        """Fingerprint a local base without asking a server."""
        return use_cases.push_base.fingerprint(self._context, Path(path))


def _form(variant_of: str, quantised: Scheme | None, hub_ids: Sequence[str]) -> BaseForm:
    return request_of(BaseForm, variant_of=variant_of, quantised=quantised, hub_ids=list(hub_ids))
