"""A repository on a hub, and a commit of it: what they are called, and which files of a commit are fetched."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.host.token_files import token_path
from deltareg.host.urls import split_url
from deltareg.identity.carried import PICKLES, WEIGHTS, is_carried
from deltareg.identity.left_out import is_sent
from deltareg.identity.manifest import check_paths
from deltareg.tensors.header import CONVERT_FIX, check_size, limits_for

_PART = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"\w[\w./-]{0,127}", re.ASCII)
_URL_MOST = 200  # with a commit it is a label of a version
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a commit, as the hub describes it.

    Attributes:
        path: Its path.
        size_bytes: Its length.
        sha256: Its digest in hex; empty where the hub says none, as of small files.
    """

    path: str
    size_bytes: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class HubCommit:
    """A commit of a repository.

    Attributes:
        id: Its id.
        files: All its files.
    """

    id: str
    files: Sequence[HubFile]

    def choose_files(self) -> list[HubFile]:
        """Return the files that an adapter is made of.

        Held to what a push takes, before any of it is fetched. A pickle beside the safetensors file of
        its name is left out, as are a trainer's state and what no version carries.

        Raises:
            InvalidInput: A path is not portable.
            Refused: It holds no safetensors file, code or other pickles, or more than an adapter may.
        """
        sent = [file for file in self.files if is_sent(file.path)]
        found = [file for file in sent if is_carried(file.path)]
        stems = {file.path.removesuffix(WEIGHTS) for file in found if file.path.endswith(WEIGHTS)}
        if not stems:
            pickles = any(file.path.endswith(PICKLES) for file in sent)
            message = "it holds pickles and no safetensors file" if pickles else "it holds no safetensors file"
            raise Refused([Problem("not_safetensors", message, fix=CONVERT_FIX if pickles else "name an adapter")])
        foreign = [f.path for f in sent if f not in found and not _is_twin(f.path, stems)]
        if foreign:
            named = ", ".join(foreign[:_MOST_NAMED]) + (", …" if len(foreign) > _MOST_NAMED else "")
            message = f"no version carries code, archives or pickles: {named}"
            raise Refused([Problem("foreign_file", message, fix="fetch it, take them out, and: deltareg push")])
        paths = [file.path for file in found]
        check_paths(paths)
        check_size(len(found), sum(file.size_bytes for file in found), limits_for(paths))
        return found


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A branch of a repository on a hub.

    Attributes:
        endpoint: The hub's address.
        id: The repository there, `org/name`.
        revision: The branch.
    """

    endpoint: str
    id: str
    revision: str = "main"

    @classmethod
    def parse(cls, url: str, revision: str = "") -> "HubRepository":
        """Read the address of a repository, as a browser shows it.

        Raises:
            InvalidInput: It is none.
        """
        token_path(url)
        parts = split_url(url)
        *before, owner, name = ["", "", *parts.path.strip("/").split("/")]
        is_plain = not (parts.query or parts.fragment or parts.username or parts.password) and len(url) <= _URL_MOST
        if not is_plain or _PART.fullmatch(owner) is None or _PART.fullmatch(name) is None:
            raise InvalidInput(
                f"no repository on a hub: {split_url(url).path[:80]!r}", fix="write https://huggingface.co/org/name"
            )
        if revision and (_REVISION.fullmatch(revision) is None or ".." in revision):
            raise InvalidInput(f"no branch: {revision[:80]!r}", fix="leave it out for main")
        path = "/".join(part for part in before if part)
        endpoint = f"{parts.scheme}://{parts.netloc}" + (f"/{path}" if path else "")
        return cls(endpoint, f"{owner}/{name}", revision or "main")

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.endpoint}/{self.id}"

    def origin(self, commit: str) -> str:
        """Return the address of a commit: a page, on a hub that has pages."""
        return f"{self.url}/tree/{commit}"


def _is_twin(path: str, stems: set[str]) -> bool:
    """Whether a file is a pickle of what a safetensors file beside it holds."""
    return path.endswith(PICKLES) and path.rpartition(".")[0] in stems
