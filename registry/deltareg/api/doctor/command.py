"""`deltareg-server doctor`: answers from what the server keeps, on its host, whether it runs or not."""

import json
import re
import time
from pathlib import Path
from typing import Final

import click

from deltareg.api.doctor.bundle import write_bundle
from deltareg.api.doctor.diagnosis import Diagnosis
from deltareg.api.doctor.room import when_full
from deltareg.api.doctor.slow import why_slow
from deltareg.api.doctor.stuck import what_is_stuck
from deltareg.api.observability.growth import RoomSample, sample_disks, sample_room
from deltareg.api.opening import opened_registry, read_settings, reporting_errors
from deltareg.api.places import data_dir_option
from deltareg.api.settings import ServerSettings
from deltareg.errors import DeltaregError
from deltareg.service.clock import parse_time
from deltareg.service.registry import Registry

_AGO: Final = re.compile(r"(\d{1,4})([mhd])")
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}


@click.command()
@click.option("--since", default="24h", show_default=True, help="From when on: 90m, 24h, 7d, or a time.")
@click.option("--line", default="", help="Only what was slow of this line, as team/chat, or of a base.")
@click.option(
    "--bundle", type=click.Path(path_type=Path, dir_okay=False), help="Write all of it to a file for support."
)
@click.option("--json", "as_json", is_flag=True, help="Answer for programs.")
@data_dir_option
def doctor(*, since: str, line: str, bundle: Path | None, as_json: bool, data_dir: Path | None) -> None:
    """Say why it was slow, when the disk is full, and what is stuck.

    It looks at this host's records, disks and settings, and at the database; the server may run or
    not. Each server has its own records of requests. Exit status 1 if something has to be done.
    """
    with reporting_errors():
        settings = read_settings(data_dir=data_dir)
        registry, problem = _open(settings)
        now = time.time()
        diagnoses = look(registry, settings, since=_moment(since, now), now=now, line=line)
        if bundle is not None:
            write_bundle(bundle, settings, registry, diagnoses, problem=problem)
    if as_json:
        click.echo(json.dumps({each.question: each.document for each in diagnoses}, default=str))
    else:
        _show(diagnoses, problem)
    if bundle is not None:
        click.echo(f"wrote {bundle}: no secrets are in it; it names people and lines", err=True)
    if problem or not all(each.is_well for each in diagnoses):
        raise SystemExit(1)


def look(
    registry: Registry | None, settings: ServerSettings, *, since: float, now: float, line: str = ""
) -> list[Diagnosis]:
    """Answer all three questions.

    Args:
        registry: The registry; None while its database does not answer.
        settings: The server's settings.
        since: From when on slowness counts, seconds since 1970.
        now: The time now, seconds since 1970.
        line: Only what was slow of this line or base; empty for all.
    """
    disks = settings.own_disks() | {"records": settings.data_dir}
    sample = RoomSample(now, sample_disks(disks)) if registry is None else sample_room(registry, disks, now=now)
    return [
        why_slow(registry, settings.records, since=since, line=line),
        when_full(settings.records, sample),
        what_is_stuck(registry, now=now),
    ]


def _open(settings: ServerSettings) -> tuple[Registry | None, str]:
    url = settings.effective_database_url
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).is_file():
        return None, f"there is no database in {settings.data_dir}"
    try:
        return click.get_current_context().with_resource(opened_registry(settings)), ""
    except DeltaregError as error:
        return None, error.message


def _show(diagnoses: list[Diagnosis], problem: str) -> None:
    if problem:
        click.echo(f"database: {problem}\n")
    for diagnosis in diagnoses:
        click.secho(diagnosis.question, bold=True)
        for line in diagnosis.answer:
            click.echo(f"  {line}")
        click.echo()


def _moment(text: str, now: float) -> float:
    """Return the time that a text names, seconds since 1970.

    Raises:
        InvalidInput: It names none.
    """
    found = _AGO.fullmatch(text)
    return now - int(found[1]) * _SECONDS[found[2]] if found else parse_time(text) / 1_000_000
