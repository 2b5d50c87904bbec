"""The frame of every page: the bar on top, who is logged in, addresses of scripts and styles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request

from deltareg import __version__
from deltareg.host.urls import split_url
from deltareg.pages.asking import ViewRequest
from deltareg.pages.cookie import secret_of
from deltareg.pages.guard import ROOT, form_word
from deltareg.pages.static_files import addresses
from deltareg.pages.themes import theme_of
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.registry import Caller
from deltareg.wire import ProblemDocument

_AUDIT = "/audit"
# What the bar on top leads to, and the key that follows `g`.
AREAS: Sequence[tuple[str, str, str]] = (
    ("Deltas", "/deltas", "d"),
    ("Bases", "/bases", "b"),
    ("Requests", "/requests", "r"),
    ("Runs", "/runs", "q"),
    ("Fleet", "/fleet", "f"),
    ("Storage", "/storage", "s"),
    ("Access", "/access", "a"),
    ("Audit", _AUDIT, "t"),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A name and its address."""

    name: str
    to: str
    is_here: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class FormRefusal:
    """A form that was refused: why, and the address of the page that it stands on."""

    problem: ProblemDocument
    address: str


@dataclass(frozen=True, slots=True)
class PageFrame:
    """The values of a page's frame.

    Attributes:
        who: Who is logged in; empty for nobody.
        ends: When the session ends, if that is within the hour.
        word: The word against forged requests that every form of the page holds.
        here: The page's own address.
        twin: The address of its JSON.
        server: The address of the server, as the browser knows it.
        asked: The text of the current search.
        areas: The parts of the registry.
        files: Addresses of scripts and styles.
        theme: The chosen colour scheme; empty for the browser's.
        back: The address to return to after choosing another scheme.
        away: The other forms to download the page in, with their addresses.
        refused: Why a form of the page was refused, if it is shown again because of that.
        said: The fields of that form.
        version: The version of the server.
    """

    who: str
    ends: str
    word: str
    here: str
    twin: str
    server: str
    asked: str
    areas: Sequence[Link]
    files: Mapping[str, str]
    theme: str
    back: str
    away: Sequence[Link]
    refused: ProblemDocument | None
    said: Mapping[str, str]
    version: str = __version__


def frame_of(
    ask: ViewRequest | None,
    area: str,
    *,
    request: Request | None = None,
    caller: Caller | None = None,
    word: str = "",
    away: Sequence[str] = (),
    refusal: FormRefusal | None = None,
) -> PageFrame:
    """Build the frame of a page, or with `request` and `caller` that of an error."""
    source = ask.request if ask is not None else request
    if source is None:
        raise TypeError("a frame is of a request")
    here = _here(source) if refusal is None else refusal.address
    caller = ask.caller if ask is not None else caller
    audits = caller is not None and caller.may(Right.ADMIN, on=EVERYTHING)  # as an owner one does from Access
    is_form = source.method != "GET" and refusal is None
    return PageFrame(
        who="" if caller is None else caller.principal,
        ends="" if ask is None else ask.session.ends_soon,
        word=form_word(secret_of(source)) if ask is not None else word,
        here=here,
        twin=_as(here, "json"),
        server=f"{source.url.scheme}://{source.url.netloc}",
        asked=source.query_params.get("q", ""),
        areas=[Link(name, ROOT + path, name == area, key) for name, path, key in AREAS if audits or path != _AUDIT],
        files=addresses(),
        theme=theme_of(source),
        back=ROOT if is_form else _without(here, "theme"),
        away=[Link(kind, _as(here, kind.lower())) for kind in away],
        refused=None if refusal is None else refusal.problem,
        said={} if ask is None or refusal is None else ask.form,
    )


def _here(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def _without(address: str, *names: str) -> str:
    parts = split_url(address)
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query) if k not in names])
    return parts.path + (f"?{query}" if query else "")


def _as(address: str, kind: str) -> str:
    # What is taken away as CSV is the list and not a page of it.
    path = _without(address, "format", *(["cursor"] if kind == "csv" else []))
    return f"{path}{'&' if '?' in path else '?'}format={kind}"
