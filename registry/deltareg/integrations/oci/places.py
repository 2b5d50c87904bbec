"""Where an artifact lies: a folder in the form of an OCI layout, or a repository in a registry.

A repository is `host[:port]/repository[:tag|@sha256:…]`, with or without `oci://`; what begins like
a path, or exists as a folder, is a folder.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from deltareg.errors import InvalidInput

SCHEME = "oci://"
_HOST = re.compile(r"(localhost|[^/:]+\.[^/:]+|[^/:]+(?=:\d))(:\d{1,5})?|\[[0-9a-f:]+\](:\d{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a registry, with a tag or digest.

    Attributes:
        host: The registry, `host[:port]`.
        name: The repository.
        tag: A tag; empty if none is given.
        digest: A manifest's digest; empty if none is given.
    """

    host: str
    name: str
    tag: str = ""
    digest: str = ""

    @property
    def reference(self) -> str:
        """The tag or digest as requests name it."""
        return self.digest or self.tag

    def __str__(self) -> str:
        """Format it with its scheme."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{SCHEME}{self.host}/{self.name}{tag}{'@' + self.digest if self.digest else ''}"


@dataclass(frozen=True, slots=True)
class OciLayout:
    """A folder in the form of an OCI layout.

    Attributes:
        folder: The folder.
        tag: The tag in it; empty if it has a single artifact, or the tag is still to be chosen.
    """

    folder: Path
    tag: str = ""

    def __str__(self) -> str:
        """Format it as a path."""
        return f"{self.folder}:{self.tag}" if self.tag else str(self.folder)


def parse_place(text: str) -> Repository | OciLayout:
    """Parse where an artifact lies or is to go.

    Raises:
        InvalidInput: It looks like a repository but is not valid.
    """
    is_repository = text.startswith(SCHEME)
    body = text.removeprefix(SCHEME)
    host, slash, rest = body.partition("/")
    if not is_repository:
        is_path = text.startswith((".", "/", "~")) or _is_there(Path(text))
        if is_path or not slash or _HOST.fullmatch(host) is None:
            return _layout(text)
    rest, _, digest = rest.partition("@")
    name, _, tag = rest.partition(":")
    if not host or not slash or _REPOSITORY.fullmatch(name) is None:
        raise InvalidInput(
            f"not a repository of a registry: {text[:160]!r}",
            fix="write oci://HOST/REPOSITORY:TAG, the repository in small letters",
        )
    if (tag and _TAG.fullmatch(tag) is None) or (digest and _DIGEST.fullmatch(digest) is None):
        raise InvalidInput(f"not a tag or digest of a registry: {text[:200]!r}", fix="write :TAG or @sha256:…")
    return Repository(host, name, tag, digest)


def _is_there(path: Path) -> bool:
    """Whether there is something; no file has a name that is too long."""
    try:
        return path.exists()
    except OSError:
        return False


def _layout(text: str) -> OciLayout:
    path = Path(text).expanduser()
    if _is_there(path) or ":" not in path.name:
        return OciLayout(path)
    name, _, tag = path.name.rpartition(":")
    return OciLayout(path.with_name(name), tag)
