"""A version with its place on the channels of its line."""

from deltareg.db.channels import beside_channels
from deltareg.db.session import read
from deltareg.refs import Ref
from deltareg.service.channels.setbacks import setbacks
from deltareg.service.describe import describe_detail
from deltareg.service.lines.evaluations import evidence_about
from deltareg.service.lines.pulls import show_pulls
from deltareg.service.lines.veil import veiled_detail
from deltareg.service.overview.beside import OpenRequest, open_requests
from deltareg.service.registry import Caller, Registry
from deltareg.service.resolve import resolve_version
from deltareg.wire import Answer, Setback, VersionDetail, VersionPulls
from deltareg.wire.evidence import OutsideEvidence


class VersionOverview(Answer):
    """A version: its setbacks, open requests and pulls, its line's channels, what others say."""

    version: VersionDetail
    setbacks: list[Setback]
    requests: list[OpenRequest]
    names: list[str]
    pulls: VersionPulls
    evidence: list[OutsideEvidence]


def show_version_around(registry: Registry, caller: Caller, ref: Ref) -> VersionOverview:
    """Show the version that a reference means, with its surroundings."""
    with read(registry.engine) as conn:
        rows = resolve_version(conn, caller, ref, bare="newest")
        detail = veiled_detail(caller, describe_detail(conn, rows))
        evidence = evidence_about(conn, rows[0])
        number = detail.version
        beside = beside_channels.beside_line(conn, rows[0].delta_id, versions_from=number, versions_to=number)
    return VersionOverview(
        version=detail,
        setbacks=setbacks(beside.all(beside_channels.SETBACKS)),
        requests=open_requests(beside.all(beside_channels.OPEN), version=number),
        names=[each.name for each in beside.all(beside_channels.NAMES)],
        pulls=show_pulls(registry, caller, Ref.parse(detail.ref)),
        evidence=evidence,
    )
