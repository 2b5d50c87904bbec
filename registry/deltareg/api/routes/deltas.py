"""Delta lines and their versions."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel

from deltareg.api.app_state import state_of
from deltareg.api.auth import SECURITY, By, ByReading, InRegistry
from deltareg.api.closed import closed_router, reading_router
from deltareg.api.conditions import answer
from deltareg.api.parameters import Number
from deltareg.db.lines.deltas import AskedLabel, LineFilter
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef, Ref, parse_name
from deltareg.service.bases import bases as base_service
from deltareg.service.bases import fit as fit_service
from deltareg.service.bases import probes as probe_service
from deltareg.service.channels import gate as gate_service
from deltareg.service.lines import cards as card_service
from deltareg.service.lines import deprecations as deprecation_service
from deltareg.service.lines import details as detail_service
from deltareg.service.lines import lineage as lineage_service
from deltareg.service.lines import log as log_service
from deltareg.service.lines import pulls as pull_service
from deltareg.service.lines import revocations as revocation_service
from deltareg.service.lines import versions as service
from deltareg.service.names import deleting as deleting_service
from deltareg.service.names import lines as name_service
from deltareg.service.push import restore as restore_service
from deltareg.service.push import revert as revert_service
from deltareg.service.resolve import Bare, look_up
from deltareg.service.runs import flatten as flatten_service
from deltareg.wire import (
    BaseInfo,
    BaseProbeSet,
    CardInfo,
    Deprecate,
    FiguresReport,
    FitInfo,
    FormHistory,
    FormRevert,
    GateAnswer,
    LineageAnswer,
    LineInfo,
    LineState,
    LogEntry,
    NameChange,
    Page,
    Rename,
    Revoke,
    RunInfo,
    Unrevoke,
    VersionChange,
    VersionDetail,
    VersionInfo,
    VersionPulls,
)

router = closed_router("deltas")
quick = reading_router("deltas")


async def line_of(by: By, ns: str, name: str) -> LineRef:
    """Parse the line in a path; a former name leads to the one that it has now."""
    return by.current_line(LineRef(parse_name(ns, "namespace"), parse_name(name)))


async def channel_of(by: By, line: Annotated[LineRef, Depends(line_of)], channel: str) -> str:
    """Return the channel in a path, by the name that it has now."""
    return by.current_channel(line, channel)


async def version_of(line: Annotated[LineRef, Depends(line_of)], version: Number) -> Ref:
    """Parse the version in a path."""
    return Ref(line, version=version)


Line = Annotated[LineRef, Depends(line_of)]
ChannelName = Annotated[str, Depends(channel_of)]
Version = Annotated[Ref, Depends(version_of)]


class ResolveQuery(BaseModel):
    """The query of a resolve."""

    ref: str
    bare: Bare = "newest"
    slim: bool = False


_LABEL = "label."


def labels_of(request: Request, has_label: str | None = None) -> list[AskedLabel]:
    """Return the labels to filter by: `label.NAME=VALUE`, or `has_label=NAME,NAME` for any."""
    by_value = [
        AskedLabel(label_name(name.removeprefix(_LABEL)), value)
        for name, value in request.query_params.multi_items()
        if name.startswith(_LABEL)
    ]
    keys = has_label.split(",") if has_label else ()
    return [*by_value, *(AskedLabel(label_name(key), None) for key in keys)]


Labels = Annotated[list[AskedLabel], Depends(labels_of)]


def filter_of(
    labels: Labels,
    base: str | None = None,
    kind: str | None = None,
    verdict: Literal["pass", "fail", "inconclusive", "none"] | None = None,
    channel: str | None = None,
) -> LineFilter:
    """Return the filters of a list of lines."""
    return LineFilter(base=base, kind=kind, verdict=verdict, channel=channel, labels=labels)


def label_name(text: str) -> str:
    """Return the name of a label to filter by, if it may become part of a path into JSON.

    Raises:
        InvalidInput: It holds a quotation mark, a backslash or a control character.
    """
    if not text or not text.isprintable() or set(text) & set('"\\'):
        raise InvalidInput(f"no label is looked for by the name {text[:60]!r}", fix="label.KEY")
    return text


Only = Annotated[LineFilter, Depends(filter_of)]


@quick.get("/resolve", response_model=VersionDetail, openapi_extra=SECURITY)
def resolve(request: Request, by: ByReading, asked: Annotated[ResolveQuery, Query()]) -> Response:
    """Find the version that a reference means; `bare` says what `ns/name` alone means.

    With `slim`, what its manifest says is left out: the answer ends with `revocation`.
    """
    ref = Ref.parse(asked.ref)
    look = partial(look_up, ref=ref, bare=asked.bare)
    show = partial(service.show_found, ref=ref, bare=asked.bare, slim=asked.slim)
    return answer(request, by(look, show))


@router.get("/deltas")
def list_lines(registry: InRegistry, by: By, only: Only, cursor: str | None = None, limit: int = 50) -> Page[LineInfo]:
    """List all delta lines by name, those whose newest version fits the filters.

    `label.NAME=VALUE` is a filter, too, and may be given for several labels; of those that
    `has_label` names, parted by commas, any value will do.
    """
    return service.list_lines(registry, by, only=only, cursor=cursor, limit=limit)


@router.get("/deltas/{ns}")
def list_namespace(
    registry: InRegistry, by: By, ns: str, only: Only, cursor: str | None = None, limit: int = 50
) -> Page[LineInfo]:
    """List the delta lines of a namespace by name."""
    inside = replace(only, namespace=by.current_namespace(parse_name(ns, "namespace")))
    return service.list_lines(registry, by, only=inside, cursor=cursor, limit=limit)


@router.post("/deltas/{ns}/{name}:rename")
def rename_line(registry: InRegistry, by: By, line: Line, body: Rename) -> NameChange:
    """Give the line another name, also in another namespace; its former name leads on."""
    return name_service.rename_line(registry, by, line, body)


@router.delete("/deltas/{ns}/{name}")
def delete_line(registry: InRegistry, by: By, line: Line, *, dry_run: bool = False) -> LineState:
    """Delete the line with all its versions. With `dry_run` only look whether it may."""
    return deleting_service.delete_line(registry, by, line, dry_run=dry_run)


@router.post("/deltas/{ns}/{name}:restore")
def restore_line(registry: InRegistry, by: By, line: Line) -> LineState:
    """Bring a deleted line back, with the versions that were deleted with it."""
    return restore_service.restore_line(registry, by, line)


@router.delete("/deltas/{ns}/{name}/name")
def free_name(registry: InRegistry, by: By, ns: str, name: str) -> NameChange:
    """Let a former name of a line lead nowhere any more, so that another line may have it."""
    return name_service.free_name(registry, by, LineRef(parse_name(ns, "namespace"), parse_name(name)))


@router.get("/deltas/{ns}/{name}/versions")
def list_versions(
    registry: InRegistry, by: By, line: Line, labels: Labels, cursor: str | None = None, limit: int = 50
) -> Page[VersionInfo]:
    """List the versions of a line, newest first; those with `label.NAME=VALUE`, or `has_label`."""
    return service.list_versions(registry, by, line, labels=labels, cursor=cursor, limit=limit)


@router.get("/deltas/{ns}/{name}/log")
def show_log(
    registry: InRegistry,
    by: By,
    line: Line,
    channel: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
    *,
    every: bool = False,
) -> Page[LogEntry]:
    """List what happened to a line, newest first; with `every`, all that is recorded of it."""
    return log_service.show_log(registry, by, line, channel=channel, cursor=cursor, limit=limit, every=every)


@router.get("/deltas/{ns}/{name}/versions/{version}", response_model=VersionDetail)
def show_version(request: Request, registry: InRegistry, by: By, version: Version) -> Response:
    """Show a version."""
    return answer(request, service.show_version(registry, by, version, bare="newest"))


@router.patch("/deltas/{ns}/{name}/versions/{version}")
def change_version(registry: InRegistry, by: By, version: Version, body: VersionChange) -> VersionInfo:
    """Set labels of the version, or with null take them away; set its semver and its message."""
    return detail_service.change_version(registry, by, version, body)


@router.delete("/deltas/{ns}/{name}/versions/{version}")
def delete_version(registry: InRegistry, by: By, version: Version, *, dry_run: bool = False) -> VersionInfo:
    """Delete a version; its number is never used again. With `dry_run` only look whether it may."""
    return service.delete_version(registry, by, version, dry_run=dry_run)


@router.post("/deltas/{ns}/{name}/versions/{version}:revoke")
def revoke(registry: InRegistry, by: By, version: Version, body: Revoke) -> VersionInfo:
    """Revoke the version: no channel takes it any more; a reason is required."""
    return revocation_service.revoke_version(registry, by, version, body)


@router.post("/deltas/{ns}/{name}/versions/{version}:unrevoke")
def unrevoke(registry: InRegistry, by: By, version: Version, body: Unrevoke) -> VersionInfo:
    """End the revocation of the version; a reason is required."""
    return revocation_service.unrevoke_version(registry, by, version, body)


@router.post("/deltas/{ns}/{name}/versions/{version}:deprecate")
def deprecate(registry: InRegistry, by: By, version: Version, body: Deprecate) -> VersionInfo:
    """Warn whoever takes the version, and name what to use instead; without a reason no longer."""
    return deprecation_service.deprecate_version(registry, by, version, body)


@router.post("/deltas/{ns}/{name}:deprecate")
def deprecate_line(registry: InRegistry, by: By, line: Line, body: Deprecate) -> LineState:
    """Warn whoever takes a version of the line, and name what to use instead."""
    return deprecation_service.deprecate_line(registry, by, line, body)


@router.post("/deltas/{ns}/{name}/versions/{version}:restore")
def restore(registry: InRegistry, by: By, version: Version) -> VersionInfo:
    """Take back the deletion of the version, until collection has freed its bytes."""
    return restore_service.restore_version(registry, by, version)


@router.post("/deltas/{ns}/{name}/versions/{version}:flatten", status_code=202)
def flatten(registry: InRegistry, by: By, version: Version) -> RunInfo:
    """Queue a run that stores the version against its base alone, or join the one under way."""
    return flatten_service.flatten(registry, by, version)


@router.get("/deltas/{ns}/{name}/versions/{version}/forms")
def forms(request: Request, registry: InRegistry, by: By, version: Version) -> FormHistory:
    """List how the version is stored, was stored and may come to be stored."""
    keep = state_of(request).keep_forms_s
    return revert_service.show_forms(registry, by, version, keep_s=keep)


@router.post("/deltas/{ns}/{name}/versions/{version}:revert")
def revert(request: Request, registry: InRegistry, by: By, version: Version, body: FormRevert) -> FormHistory:
    """Serve the version in a former stored form again."""
    keep = state_of(request).keep_forms_s
    return revert_service.revert_form(registry, by, version, body, keep_s=keep)


@router.get("/deltas/{ns}/{name}/versions/{version}/card")
def show_card(registry: InRegistry, by: By, version: Version, *, text: bool = False) -> CardInfo:
    """Show what the README.md of the version says, and with `text` the file itself."""
    return card_service.show_card(registry, by, version, with_text=text)


@router.get("/deltas/{ns}/{name}/versions/{version}/manifest")
def manifest(registry: InRegistry, by: By, version: Version) -> Response:
    """Give the manifest, byte for byte as it was received."""
    return Response(service.manifest_bytes(registry, by, version), media_type="application/json")


@router.get("/deltas/{ns}/{name}/versions/{version}/storage")
def storage(registry: InRegistry, by: By, version: Version) -> Response:
    """Give the storage map as it is now."""
    return Response(service.storage_bytes(registry, by, version), media_type="application/json")


@router.get("/deltas/{ns}/{name}/versions/{version}/pulls")
def pulls(registry: InRegistry, by: By, version: Version) -> VersionPulls:
    """Say how often the version was pulled, when last, and by whom as far as the caller may know."""
    return pull_service.show_pulls(registry, by, version)


@router.get("/deltas/{ns}/{name}/versions/{version}/lineage")
def lineage(registry: InRegistry, by: By, version: Version, depth: int = 10) -> LineageAnswer:
    """Walk to the version's parents and base, and to what was made from it."""
    return lineage_service.show_lineage(registry, by, version, depth=depth)


@router.get("/deltas/{ns}/{name}/versions/{version}/fit")
def fit(registry: InRegistry, by: By, version: Version, base: str) -> FitInfo:
    """Say whether the version would fit another base, by what a push onto it would ask."""
    return fit_service.show_fit(registry, by, version, base)


@router.get("/deltas/{ns}/{name}/versions/{version}/gate")
def gate(
    registry: InRegistry,
    by: By,
    version: Version,
    channel: str,
    *,
    accept_warnings: bool = False,
    new_base: bool = False,
    accept_undecided: bool = False,
) -> GateAnswer:
    """Say whether the version may go to a channel, and if not what is missing."""
    return gate_service.check_gate(
        registry,
        by,
        version,
        channel,
        accept_warnings=accept_warnings,
        new_base=new_base,
        accept_undecided=accept_undecided,
    )


@router.get("/deltas/{ns}/{name}/versions/{version}/as-base", response_model=BaseInfo)
def show_as_base(request: Request, registry: InRegistry, by: By, version: Version) -> Response:
    """Show what the version is as a base of others: the result of folding it."""
    return answer(request, base_service.show_base(registry, by, str(version)))


@router.get("/deltas/{ns}/{name}/versions/{version}/as-base/manifest")
def base_manifest(registry: InRegistry, by: By, version: Version) -> Response:
    """Give the manifest that the version has as a base."""
    raw = base_service.base_manifest_bytes(registry, by, str(version))
    return Response(raw, media_type="application/json")


@router.get("/deltas/{ns}/{name}/versions/{version}/as-base/probes")
def base_probes(registry: InRegistry, by: By, version: Version) -> BaseProbeSet:
    """Give the general probe set that the version has as a base."""
    return probe_service.show_probes(registry, by, str(version))


@router.post("/deltas/{ns}/{name}/versions/{version}/as-base/figures")
def add_base_figures(registry: InRegistry, by: By, version: Version, body: FiguresReport) -> BaseProbeSet:
    """Keep what an enrolled worker found of the version as a base, and signed."""
    return probe_service.add_figures(registry, by, str(version), body)


@router.get("/deltas/{ns}/{name}/versions/{version}/as-base/storage")
def base_storage(registry: InRegistry, by: By, version: Version) -> Response:
    """Give the storage map that the version has as a base."""
    raw = base_service.base_storage_bytes(registry, by, str(version))
    return Response(raw, media_type="application/json")
