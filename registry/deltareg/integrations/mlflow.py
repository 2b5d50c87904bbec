"""Lets MLflow read from a registry: `deltareg://[server/]ns/name@sha256:…` as a model's source.

A model version of MLflow whose source is an address of the registry is downloaded from there, with
every byte checked, by its number, its alias, or the address itself. It is read-only.
"""

# MLflow may be missing where this is checked.
# pyright: basic, reportMissingImports=false

import errno
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn
from weakref import finalize

from deltareg.errors import InvalidInput
from deltareg.integrations.addresses import Address, open_client, parse_address

try:
    from mlflow.entities import FileInfo
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
except ImportError as missing:  # pragma: no cover  # whoever loads this has it
    raise ImportError("deltareg:// needs MLflow 2.10 or newer: pip install -U mlflow") from missing

if TYPE_CHECKING:
    from deltareg.client.pull.version_files import VersionFiles


class DeltaregArtifactRepository(ArtifactRepository):
    """The files of a version as artifacts; MLflow creates it for `deltareg://` sources."""

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """List the direct content of a folder of the version; a file has none."""
        files, inside = self._files(path)
        depth = len(PurePosixPath(inside).parts)
        entries: dict[str, FileInfo] = {}
        for file in files.files:
            parts = PurePosixPath(file.path).parts
            if len(parts) > depth and "/".join(parts[:depth]) == inside:
                name = "/".join((*((path,) if path else ()), parts[depth]))
                is_folder = len(parts) > depth + 1
                entries[name] = FileInfo(name, is_folder, None if is_folder else file.size_bytes)
        return [entries[name] for name in sorted(entries)]

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        files, inside = self._files(remote_file_path)
        files.copy(inside, Path(local_path))

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> NoReturn:
        """Refuse: a version is pushed whole.

        Raises:
            OSError: Always.
        """
        message = (
            "MLflow reads from a registry and does not write to it; push the folder, and name the"
            " run: deltareg push DIR NS/NAME --mlflow-run RUN"
        )
        raise OSError(errno.EROFS, message, self.artifact_uri)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> NoReturn:
        """Refuse, as `log_artifact` does."""
        self.log_artifact(local_dir, artifact_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> NoReturn:
        """Refuse: a version never changes."""
        self.log_artifact("", artifact_path)

    def _files(self, path: str | None) -> "tuple[VersionFiles, str]":
        """Return the version that an artifact is in, and its path there.

        If MLflow is asked for a bare address, it takes the last part for the artifact and the rest
        for the repository: only both together name the version.

        Raises:
            InvalidInput: No version is named.
        """
        address = parse_address("/".join(part for part in (self.artifact_uri, path) if part))
        if not address.ref:
            raise InvalidInput(
                f"{self.artifact_uri[:160]} names no version", fix="write deltareg://ns/name@sha256:…, or ns/name:v3"
            )
        return self._open_version(address), address.path

    def _open_version(self, address: Address) -> "VersionFiles":
        """Open a version once for all of its files, so that they are consistent."""
        versions: dict[tuple[str, str], VersionFiles] = self.__dict__.setdefault("_versions", {})
        key = address.server, address.ref
        if key not in versions:
            client = open_client(address.server)
            finalize(self, client.close)
            versions[key] = client.versions.files(address.ref)
        return versions[key]
