"""Brings versions of a line and their base to this machine to be tried again.

The process that tries them needs torch and is a separate one; this module selects the versions and
builds its request.
"""

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltareg.client.asking.lines import line_path
from deltareg.client.asking.resolving import base_path, fetch_manifest, resolve
from deltareg.client.asking.suites import fetch_suite_file
from deltareg.client.context import Context
from deltareg.client.folders.base_folder import BaseFolder, open_base
from deltareg.client.pull.base_fetching import fetch_base
from deltareg.client.pull.fetching import fetch, trim
from deltareg.errors import BaseMismatch, InvalidInput, NotFound
from deltareg.refs import LineRef, Ref
from deltareg.suites.suite import Suite
from deltareg.wire import BaseInfo, Page, VersionDetail, VersionInfo

_CHOICE = re.compile(r"(?P<line>[^:@]+)[:@](?P<choice>v\d+(?:(?:\.\.|,)v?\d+)*)")
_PAGE = 100
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class LineStretch:
    """Versions of one line, on one base.

    Attributes:
        line: The line.
        versions: The versions, oldest first.
        left_out: Versions that were left out, each with the reason.
    """

    line: LineRef
    versions: tuple[VersionDetail, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineHistory:
    """The versions that a line has had."""

    context: Context

    def stretch(self, text: str, *, most: int) -> LineStretch:
        """Return the versions that a text names, without those on another base than the last one.

        Args:
            text: `ns/name` for the newest versions, `ns/name:v4` or `@prod` for those up to that
                one, `ns/name:v2..v4` or `ns/name:v1,v3` for exactly these.
            most: How many versions at most, the newest, unless the text lists them.

        Raises:
            InvalidInput: The text names no version.
            NotFound: A version does not exist, or the line has no usable one.
        """
        match = _CHOICE.fullmatch(text)
        numbers = _numbers(match["choice"]) if match else []
        if match and (len(numbers) > 1 or ".." in text or "," in text):
            line = LineRef.parse(match["line"])
            candidates = [self._show(f"{line}:v{number}") for number in numbers]
        else:
            last = self._show(text)
            line = Ref.parse(last.ref).line
            candidates = [self._show(ref) for ref in self._before(line, last.version, most - 1)]
            candidates.append(last)
        usable = [one for one in candidates if not (one.is_deleted or one.is_revoked)]
        unusable = [f"{one.ref} is {_why(one)}" for one in candidates if one not in usable]
        if not usable:
            raise NotFound(f"{text} has no version that may be used", fix="push a healthy one")
        root = usable[-1].base.root
        versions = tuple(one for one in usable if one.base.root == root)
        others = [f"{one.ref} stands on {one.base.name}" for one in usable if one not in versions]
        return LineStretch(line, versions, (*unusable, *others))

    @contextmanager
    def at_hand(self, stretch: LineStretch, *, base: Path | None = None) -> Generator[dict[str, object], None, None]:
        """Fetch base and versions, and yield their fields of the request.

        Args:
            stretch: The versions.
            base: The folder of the base; by default it is found on this machine or fetched.

        Raises:
            BaseMismatch: The folder holds another base than the versions are for.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(self._base(stretch.versions[-1], base))
            paths = [folder.path]
            versions: list[Fields] = []
            for one in stretch.versions:
                path = fetch(self.context, one, fetch_manifest(self.context, one)).path
                paths.append(path)
                convention = str(one.config.get("convention", ""))
                versions.append({"ref": one.ref, "delta": path, "convention": convention})
            trim(self.context, keep=set(paths))
            yield {"base": folder.path.absolute(), "versions": versions, "cache": self.context.cache.path}

    @contextmanager
    def base_at_hand(self, base: Path | str) -> Generator[dict[str, object], None, None]:
        """Fetch a base without any version, and yield its fields of the request.

        Args:
            base: Its folder, or its name.
        """
        if isinstance(base, Path):
            folder = open_base(base, self.context.cache, progress=self.context.progress)
        else:
            folder = fetch_base(self.context, self.context.api.get(base_path(base), BaseInfo))
        with folder:
            yield {"base": folder.path.absolute(), "versions": [], "cache": self.context.cache.path}

    def probes_of(self, suite: Suite) -> dict[str, bytes]:
        """Return the files of a suite's probe sets, by name."""
        return {
            name: fetch_suite_file(self.context, digest)
            for one in suite.sets.values()
            for name, digest in one.files.items()
        }

    def _base(self, version: VersionDetail, path: Path | None) -> BaseFolder:
        if path is None:
            return fetch_base(self.context, self.context.api.get(base_path(version.base.name), BaseInfo))
        folder = open_base(path, self.context.cache, progress=self.context.progress)
        if str(folder.identity.root) != version.base.root:
            folder.folder.close()
            raise BaseMismatch(
                f"{path} is not the base {version.base.name} that {version.ref} is for",
                fix="name its folder, or leave --base out to have it found or fetched",
            )
        return folder

    def _show(self, text: str) -> VersionDetail:
        return resolve(self.context, Ref.parse(text), bare="newest")

    def _before(self, line: LineRef, number: int, most: int) -> Sequence[str]:
        """Return the references of the last `most` versions before a number, oldest first."""
        refs: list[str] = []
        cursor: str | None = None
        while len(refs) < most:
            page = self.context.api.get(f"{line_path(line)}/versions", Page[VersionInfo], cursor=cursor, limit=_PAGE)
            refs += [one.ref for one in page.items if one.version < number and not (one.is_deleted or one.is_revoked)]
            cursor = page.next_cursor
            if cursor is None:
                break
        return refs[: max(most, 0)][::-1]


def write_trial(folder: Path, suite: Suite, files: Mapping[str, bytes]) -> Fields:
    """Write a suite and its probe sets' files into a folder; return their request fields."""
    document = folder / "suite.json"
    document.write_bytes(suite.document)
    probes = folder / "probes"
    probes.mkdir()
    for name, raw in files.items():
        (probes / name).write_bytes(raw)
    return {"suite": document, "probes": probes}


def _numbers(choice: str) -> list[int]:
    return sorted({number for part in choice.split(",") for number in _run(part)})


def _run(part: str) -> Iterable[int]:
    ends = [int(end.removeprefix("v")) for end in part.split("..")]
    if len(ends) == 1:
        return ends
    if len(ends) != 2 or ends[0] > ends[1] or ends[1] - ends[0] > _PAGE:
        raise InvalidInput(
            f"not a stretch of versions: {part[:60]!r}",
            fix=f"write v2..v5, the older one first, at most {_PAGE} of them",
        )
    return range(ends[0], ends[1] + 1)


def _why(version: VersionDetail) -> str:
    return "deleted" if version.is_deleted else "revoked"
