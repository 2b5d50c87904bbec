"""`deltareg doctor`: does everything work, and if not, what is missing?"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from deltareg import __version__
from deltareg.client.config import config_path
from deltareg.errors import DeltaregError, Forbidden, NotFound, Unauthenticated
from deltareg_cli.exits import ExitStatus, exit_status
from deltareg_cli.failures import fix_of
from deltareg_cli.invocation import Invocation
from deltareg_cli.runs.launch import missing_of
from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    CommandResult,
    LinesBlock,
    TableBlock,
    Text,
    TitleBlock,
    tone_word,
)
from deltareg_cli.terminal.documents import items_fields
from deltareg_cli.terminal.wording import count, size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.runs import START_ONE

ORDER = 20

_MANY_WAITING = 1_000
LITTLE_ROOM = 2_000_000_000
LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """The result of one check."""

    what: str
    state: Literal["ok", "note", "warn", "fail"]
    detail: str
    fix: str = ""
    status: ExitStatus = ExitStatus.DONE


@command(
    "doctor",
    Example("is all well?", "deltareg doctor"),
    Example("for a report", "deltareg doctor --json"),
    see_also=("auth status", "config list", "server check", "version"),
    is_tolerant=True,
)
@click.pass_obj
def doctor(invocation: Invocation) -> ExitStatus:
    """Check this installation, its settings, server and token.

    For everything that is missing or wrong it says what to do.

    The exit status is that of the first thing that failed: 2 for settings, 4 for the token, 75
    when no server answers; 0 when nothing failed.
    """
    findings = list(_look(invocation))
    failed = [finding for finding in findings if finding.state == "fail"]
    rows: list[list[Text]] = [[finding.what, tone_word(finding.state), finding.detail] for finding in findings]
    columns = [Column("what"), Column("state"), Column("found", is_prose=True)]
    fixes = [finding for finding in findings if finding.fix]
    blocks: list[Block] = [TableBlock(columns, rows)]
    if fixes:
        blocks += [
            TitleBlock("To do"),
            LinesBlock([[Cell(f"  {finding.what}:", "dim"), finding.fix] for finding in fixes]),
        ]
    items: list[dict[str, object]] = [
        {"what": f.what, "state": f.state, "detail": f.detail, "fix": f.fix} for f in findings
    ]
    document = {"healthy": not failed, **items_fields(items)}
    invocation.output.show(CommandResult(document, blocks, [finding.what for finding in failed]))
    return failed[0].status if failed else ExitStatus.DONE


def _look(invocation: Invocation) -> Iterator[DoctorFinding]:
    """Check one thing after the other; skip whatever needs a thing that failed."""
    yield DoctorFinding("deltareg", "ok", f"{__version__} on Python {platform.python_version()}")
    yield _kernel()
    for extra, what in (("server", "API"), ("verify", "worker")):
        missing = missing_of(extra)
        yield DoctorFinding(
            what,
            "note" if missing else "ok",
            f"not installed: {', '.join(missing)}" if missing else "installed",
            f"pip install 'deltareg[{extra}]', if it shall run here" if missing else "",
        )
    settings = _try("settings", lambda: _settings(invocation))
    yield settings
    if settings.state == "fail":
        return
    yield _cache(invocation.config.cache_dir)
    yield _bases(invocation)
    server = _try("server", lambda: _server(invocation))
    yield server
    if server.state != "fail":
        token = _try("token", lambda: _token(invocation))
        yield token
        if token.state != "fail":
            yield _try("workers", lambda: _workers(invocation))
            yield _try("second looks", lambda: _disputes(invocation))
            yield _try("audit trail", lambda: _audit_trail(invocation))


def _try(what: str, look: Callable[[], DoctorFinding]) -> DoctorFinding:
    try:
        return look()
    except DeltaregError as error:
        return DoctorFinding(what, "fail", error.message, fix_of(error), exit_status(error))


def _kernel() -> DoctorFinding:
    from deltareg.client.this_machine import codec_kernel  # NumPy, which not every command waits for

    if codec_kernel() == "native":
        return DoctorFinding("codec", "ok", "native kernel")
    fix = "install a C compiler and deltareg again, for a codec that is four times as fast"
    return DoctorFinding("codec", "note", "NumPy, without the native kernel", fix)


def _settings(invocation: Invocation) -> DoctorFinding:
    path = config_path(invocation.environ)
    changed = sum(value.origin != "default" for value in invocation.loaded.values[:-1])
    file = f"{path}" if path.exists() else f"{path} (not there)"
    return DoctorFinding("settings", "ok", f"{file}; {changed} not at their default")


def _cache(folder: Path) -> DoctorFinding:
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    if not os.access(there, os.W_OK):
        fix = "set DELTAREG_CACHE_DIR to a folder of yours"
        return DoctorFinding("cache", "fail", f"{there} cannot be written", fix, ExitStatus.INVALID)
    free = shutil.disk_usage(there).free
    detail = f"{folder}, {size(free)} free on its disk"
    if free < LITTLE_ROOM:
        return DoctorFinding("cache", "warn", detail, "make room, or deltareg cache prune")
    return DoctorFinding("cache", "ok", detail)


def _bases(invocation: Invocation) -> DoctorFinding:
    environ = invocation.environ
    home = Path(environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    folder = Path(environ.get("HF_HUB_CACHE") or home / "hub")
    count = len(list(folder.glob("models--*"))) if folder.is_dir() else 0
    return DoctorFinding("bases", "ok" if count else "note", f"{count} in the Hugging Face cache ({folder})")


def _server(invocation: Invocation) -> DoctorFinding:
    config = invocation.config
    meta = invocation.client.meta()
    detail = f"{config.server}: {meta.version} on {meta.database} and {meta.store}"
    if config.server.startswith("http://") and not config.server.startswith(LOOPBACK):
        return DoctorFinding("server", "warn", f"{detail}, in the clear", "use https://, tokens travel along")
    if meta.version.split(".")[:2] != __version__.split(".")[:2]:
        fix = f"pip install 'deltareg=={meta.version}'"
        return DoctorFinding("server", "warn", f"{detail}; this is {__version__}", fix)
    return DoctorFinding("server", "ok", detail)


def _token(invocation: Invocation) -> DoctorFinding:
    if invocation.config.token is None and invocation.config.assertions is None:
        raise Unauthenticated("there is none for this server", fix="deltareg auth login")
    who = invocation.client.whoami()
    return DoctorFinding("token", "ok", f"{who.principal} ({who.kind}) may {', '.join(who.scopes)}")


def _workers(invocation: Invocation) -> DoctorFinding:
    try:
        live = [worker.name for worker in invocation.client.runs.workers().items if worker.is_live]
    except Forbidden:
        return DoctorFinding("workers", "note", "not known: this token may not read")
    if not live:
        return DoctorFinding("workers", "note", "none runs, so verifications wait", START_ONE)
    waiting = [run for run in invocation.client.runs.queue().items if run.unserved]
    detail = f"{count(len(live), 'worker')}: {', '.join(live)}"
    if waiting:
        detail += f"; {count(len(waiting), 'run')} of the queue fits none, for one: "
        return DoctorFinding("workers", "warn", f"{detail}{waiting[0].unserved}", "deltareg worker ls")
    return DoctorFinding("workers", "ok", detail)


def _disputes(invocation: Invocation) -> DoctorFinding:
    disputes = invocation.client.meta().disputes
    if not disputes:
        return DoctorFinding("second looks", "ok", "no two workers disagree")
    detail = f"two workers disagree about {count(disputes, 'verdict')}: one is broken, or lies"
    fix = "deltareg audit --action verdict.dispute, then: deltareg worker revoke NAME -m REASON"
    return DoctorFinding("second looks", "warn", detail, fix)


def _audit_trail(invocation: Invocation) -> DoctorFinding:
    try:
        checkpoint = invocation.client.audit.checkpoint()
    except (NotFound, Forbidden):
        return DoctorFinding("audit trail", "note", "not sealed here, or not for this token to read")
    detail = f"{count(checkpoint.size, 'row')} sealed, going on from what this machine saw"
    if checkpoint.waiting >= _MANY_WAITING:
        fix = "see the server's log: who runs it has to give it a key that was not revoked"
        return DoctorFinding("audit trail", "warn", f"{detail}; {checkpoint.waiting} or more wait", fix)
    return DoctorFinding("audit trail", "ok", detail)
