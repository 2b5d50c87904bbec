"""What is asked of a hub, by its own library: the newest commit of a branch, and the files of a commit.

Only the token that is given goes there, never one that the library finds by itself.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from deltareg.client.disk.kept_files import out_of_space
from deltareg.errors import DeltaregError, Forbidden, IntegrityFailure, Misconfigured, NotFound, Unavailable
from deltareg.host.token_files import is_confidential
from deltareg.integrations.hub_lines.repository import HubCommit, HubFile, HubRepository

_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_TIMEOUT_S = 30.0
_FORBIDDEN, _NOT_FOUND = (401, 403), 404
_CHARACTERS = 300
Answer = TypeVar("Answer")


class Hub:
    """A hub, asked for one repository."""

    def __init__(self, repository: HubRepository, *, token: str = "", is_network_trusted: bool = False) -> None:
        """Prepare; nothing is asked yet.

        Args:
            repository: The repository.
            token: The token to show there; empty for what everybody may read.
            is_network_trusted: Whether the token may go over plain http to another machine.

        Raises:
            Misconfigured: The hub's library is not installed, or plain http would show the token.
        """
        library = _library()
        if token and not (is_network_trusted or is_confidential(repository.endpoint)):
            raise Misconfigured(
                f"plain http would show the token to everybody between here and {repository.endpoint}",
                fix="use https://…; where the network is yours alone: DELTAREG_INSECURE_HTTP=1",
            )
        self._repository = repository
        self._api = library.HfApi(endpoint=repository.endpoint, token=token or False, library_name="deltareg")

    def newest(self) -> HubCommit:
        """Look up the newest commit of the branch.

        Raises:
            Forbidden: It may not be read: it is gated, or the token is refused.
            NotFound: There is no such repository or branch, as far as the token sees.
            Unavailable: The hub does not answer, or with something else.
        """
        own = self._repository
        info = self._ask(
            lambda: self._api.model_info(own.id, revision=own.revision, files_metadata=True, timeout=_TIMEOUT_S)
        )
        if _COMMIT.fullmatch(info.sha or "") is None or info.siblings is None:
            raise Unavailable(f"{own.endpoint} names no commit of {own.id}")
        files = [
            HubFile(one.rfilename, one.size or 0, one.lfs.sha256 if one.lfs is not None else "")
            for one in info.siblings
        ]
        return HubCommit(str(info.sha), files)

    def fetch(self, commit: HubCommit, files: Sequence[HubFile], folder: Path) -> None:
        """Fetch files of a commit into a folder; what is there already is not fetched again.

        Raises:
            IntegrityFailure: A file is not what the hub said.
            Forbidden: As of `newest`, and so are the others.
        """
        for file in files:
            self._ask(partial(self._fetch, commit, file, folder))
            path = folder / file.path
            if path.is_symlink() or path.stat().st_size != file.size_bytes or not _has_digest(path, file.sha256):
                path.unlink()
                raise IntegrityFailure(
                    f"{file.path} is not what {self._repository.endpoint} says that it is", fix="run the mirror again"
                )

    def _fetch(self, commit: HubCommit, file: HubFile, folder: Path) -> None:
        with out_of_space(folder):
            self._api.hf_hub_download(
                self._repository.id,
                file.path,
                revision=commit.id,
                local_dir=folder,
                cache_dir=folder / ".cache" / "none",  # what another program fetched is not taken
            )

    def _ask(self, ask: Callable[[], Answer]) -> Answer:
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

        was_quiet = are_progress_bars_disabled()
        if not was_quiet:
            disable_progress_bars()
        try:
            return ask()
        except DeltaregError:
            raise
        except Exception as error:  # the library's, or of whatever speaks HTTP for this release of it
            raise _translate(error, self._repository) from error
        finally:
            if not was_quiet:
                enable_progress_bars()


def _has_digest(path: Path, sha256: str) -> bool:
    if not sha256:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _library() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise Misconfigured(
            "the hub's library is not installed here", fix="pip install 'deltareg[hub]', then again"
        ) from error
    return huggingface_hub


def _translate(error: Exception, repository: HubRepository) -> DeltaregError:
    """Say what an error of the library means."""
    from huggingface_hub import errors

    name, hub = repository.id, repository.endpoint
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if isinstance(error, errors.GatedRepoError):
        return Forbidden(
            f"{name} is gated at {hub}", fix=f"ask for access there, and keep a token that has it: {repository.url}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFound(f"{name} has no {repository.revision} at {hub}")
    if isinstance(error, errors.RepositoryNotFoundError) or status == _NOT_FOUND:
        return NotFound(f"{hub} has no {name}, or does not show it to this token")
    if status in _FORBIDDEN:
        return Forbidden(f"{hub} wants a token for {name}, or another than this ({status})")
    if status:
        return Unavailable(f"{hub} answers {status} for {name}")
    return Unavailable(f"{hub} does not answer for {name}: {' '.join(str(error).split())[:_CHARACTERS]}")
