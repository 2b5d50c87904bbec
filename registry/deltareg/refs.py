"""References, parsed once at the edge: `[host/]ns/name[:vN|:label|@channel[#N|~N]|@sha256:…]`.

A digest may be cut short, as outputs print it, and stands alone, `sha256:681f75e9e2b8`, where only
one line has such a version.
"""

import re
from dataclasses import dataclass
from typing import Self

from deltareg.digest import Digest
from deltareg.errors import InvalidInput

SHARED = "shared"
"""The namespace of bases that all share; their names are written without it."""
_NAME = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_NAME_PATTERN = re.compile(_NAME)
_SEMVER = re.compile(r"\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?")
_ID_PATTERN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PREFIX = re.compile(r"sha256:[0-9a-f]{6,63}")
_RESERVED_CHANNEL = re.compile(r"v\d+|\d+\.\d+\.\d+.*|sha256.*|latest")
_CHANNEL = re.compile(rf"({_NAME})(?:#(\d{{1,9}})|~(\d{{1,9}}))?")


@dataclass(frozen=True, slots=True)
class LineRef:
    """The name of a line: `ns/name`."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `ns/name`.

        Raises:
            InvalidInput: It is not two names, or a name is invalid.
        """
        parts = text.split("/")
        if len(parts) != 2:
            raise InvalidInput(f"not NAMESPACE/NAME: {text[:80]!r}", fix="write ns/name")
        name = re.split("[:@]", parts[1])[0]
        if name != parts[1]:
            raise InvalidInput(
                f"{text[:80]!r} names a version, and a line is wanted",
                fix=f"write {parts[0]}/{name}; the registry numbers versions itself",
            )
        return cls(parse_name(parts[0], "namespace"), parse_name(parts[1], "name"))

    def __str__(self) -> str:
        """Format it as `ns/name`."""
        return f"{self.namespace}/{self.name}"


NO_LINE = LineRef("", "")
"""The line of a reference that is a digest alone."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to one version of a line.

    At most one of `version`, `label`, `digest`, `prefix` and `channel` is set; without any of them
    the context decides (the newest for reading, `@prod` for using). `prefix` is how a digest
    begins. `revision` and `back` go with `channel`: `@prod#17` is ledger revision 17, `@prod~1` the
    revision before the current one.
    """

    line: LineRef
    host: str = ""
    version: int | None = None
    label: str | None = None
    digest: Digest | None = None
    prefix: str | None = None
    channel: str | None = None
    revision: int | None = None
    back: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse any of the forms in the module docstring; a `deltareg://` prefix is allowed.

        Raises:
            InvalidInput: The text has none of these forms.
        """
        body = text.removeprefix("deltareg://")
        if body.startswith("sha256:"):
            return cls._of_digest(NO_LINE, "", body)
        path, at, selector = body.partition("@")
        colon = ""
        if not at:
            head, slash, last = body.rpartition("/")
            last, colon, selector = last.partition(":")
            path = head + slash + last
        host, line = _split_host(path, text)
        if at:
            return cls._at(line, host, selector, text)
        if colon:
            return cls._colon(line, host, selector, text)
        return cls(line, host)

    @classmethod
    def _at(cls, line: LineRef, host: str, selector: str, text: str) -> Self:
        if selector.startswith(("sha256:", "blake3:")):
            return cls._of_digest(line, host, selector)
        match = _CHANNEL.fullmatch(selector)
        if match is None:
            raise InvalidInput(
                f"not a channel in {text[:120]!r}: {selector[:60]!r}",
                fix="write ns/name@prod, @prod#17, @prod~1 or @sha256:…",
            )
        channel = parse_channel(match[1])
        revision = int(match[2]) if match[2] else None
        return cls(line, host, channel=channel, revision=revision, back=int(match[3] or 0))

    @classmethod
    def _of_digest(cls, line: LineRef, host: str, selector: str) -> Self:
        selector = selector.removesuffix("…")
        if _PREFIX.fullmatch(selector):
            return cls(line, host, prefix=selector)
        return cls(line, host, digest=Digest.parse(selector))

    @classmethod
    def _colon(cls, line: LineRef, host: str, selector: str, text: str) -> Self:
        if re.fullmatch(r"v[1-9]\d{0,8}", selector):
            return cls(line, host, version=int(selector[1:]))
        if _SEMVER.fullmatch(selector) and len(selector) <= 64:
            return cls(line, host, label=selector)
        raise InvalidInput(
            f"not a version in {text[:120]!r}: {selector[:60]!r}", fix="write ns/name:v3 or ns/name:1.4.0"
        )

    @property
    def is_bare(self) -> bool:
        """Whether only the line is named."""
        return not (self.version or self.label or self.digest or self.prefix or self.channel)

    def __str__(self) -> str:
        """Format it in its shortest form."""
        if self.line == NO_LINE:
            return self.selector.removeprefix("@")
        host = f"{self.host}/" if self.host else ""
        return f"{host}{self.line}{self.selector}"

    @property
    def selector(self) -> str:
        """The part after the line: `:v3`, `@prod#17`, … or nothing."""
        if self.version is not None:
            return f":v{self.version}"
        if self.label is not None:
            return f":{self.label}"
        digest = self.digest or self.prefix
        if digest is not None:
            return f"@{digest}"
        if self.channel is None:
            return ""
        if self.revision is not None:
            return f"@{self.channel}#{self.revision}"
        return f"@{self.channel}" + (f"~{self.back}" if self.back else "")


def parse_name(text: str, what: str = "name") -> str:
    """Check a namespace, line, base or channel name.

    Raises:
        InvalidInput: Not 1-64 of a-z 0-9 . _ - between letters or digits, or contains `..`.
    """
    if not _is_name(text):
        allowed = "1-64 lower-case letters, digits and . _ - (first and last: letter or digit)"
        near = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")
        fix = f"write {near}; a {what} has {allowed}" if _is_name(near) else f"use {allowed}"
        raise InvalidInput(f"not a {what}: {text[:80]!r}", fix=fix)
    return text


def _is_name(text: str) -> bool:
    return _NAME_PATTERN.fullmatch(text) is not None and ".." not in text


def plain_base(text: str) -> str:
    """Return a base's name as it is stored: a shared base has no namespace in it.

    `base:NAME`, as lineages print it, is `NAME`.
    """
    text = text.removeprefix("base:")
    return text if ":" in text else text.removeprefix(f"{SHARED}/")


def parse_base(text: str) -> str:
    """Parse the name of a base: `NAME` or `NAMESPACE/NAME`; `shared/NAME` is `NAME`.

    Raises:
        InvalidInput: It is not such a name.
    """
    namespace, slash, name = plain_base(text).rpartition("/")
    if not slash:
        return parse_name(name, "base")
    return f"{parse_name(namespace, 'namespace')}/{parse_name(name, 'base')}"


def parse_channel(text: str) -> str:
    """Check a channel name; names that could be a version or a digest are refused.

    Raises:
        InvalidInput: The name is malformed or reserved.
    """
    name = parse_name(text, "channel")
    if _RESERVED_CHANNEL.fullmatch(name):
        raise InvalidInput(f"a channel may not be called {name!r}: it reads as a version")
    return name


def parse_id(text: str, what: str) -> str:
    """Check the id of a run or a verdict, which becomes part of a URL.

    Raises:
        InvalidInput: It is not a UUID in its usual form.
    """
    if not is_id(text):
        raise InvalidInput(f"not the id of a {what}: {text[:80]!r}", fix="find it: deltareg verdict ls NS/NAME:vN")
    return text


def is_id(text: str) -> bool:
    """Whether a text has the form of a run's or verdict's id."""
    return _ID_PATTERN.fullmatch(text) is not None


def parse_semver(text: str) -> str:
    """Check a semantic-version label such as `1.4.0`.

    Raises:
        InvalidInput: The text is not one.
    """
    if _SEMVER.fullmatch(text) is None or len(text) > 64:
        raise InvalidInput(f"not a semantic version: {text[:80]!r}", fix="write 1.4.0")
    return text


def _split_host(path: str, text: str) -> tuple[str, LineRef]:
    parts = path.split("/")
    if len(parts) == 2:
        return "", LineRef.parse(path)
    if len(parts) == 3 and parts[0] and parts[0].isprintable():
        return parts[0], LineRef.parse("/".join(parts[1:]))
    raise InvalidInput(
        f"not a reference: {text[:120]!r}", fix="write ns/name, ns/name:v3, ns/name@prod or ns/name@sha256:…"
    )
