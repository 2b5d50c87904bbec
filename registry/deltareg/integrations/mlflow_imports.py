"""Fetches artifacts of an MLflow run or model, to push them."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deltareg.errors import InvalidInput, NotFound, Unavailable
from deltareg.integrations.imported import ImportedFolder
from deltareg.integrations.mlflow_runs import library, read_run

_CONFIG, _WEIGHTS = "adapter_config.json", ".safetensors"
_DEPTH = 6
_RUNS = "runs:/"


@contextmanager
def mlflow_artifact(
    named: str, *, path: str = "", tracking_uri: str | None = None
) -> Generator[ImportedFolder, None, None]:
    """Yield the folder of a delta from MLflow, until the block ends.

    Args:
        named: The id of a run, or `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `runs:/RUN/PATH`.
        path: The folder among the artifacts; without it, the only one that holds a delta.
        tracking_uri: MLflow's tracking server; by default from MLflow's own settings.

    Raises:
        NotFound: There is no such run or model, or no delta in it.
        InvalidInput: There are several deltas.
        Misconfigured: MLflow is not installed.
    """
    is_address = named.startswith(("models:/", "runs:/"))
    labels: dict[str, str] = {}
    if not is_address:
        labels = read_run(named, tracking_uri=tracking_uri).labels()
    address = named if is_address else f"runs:/{named}"
    artifacts = _Artifacts(tracking_uri)
    inside = path.strip("/") or artifacts.find(address)
    whole = f"{address.rstrip('/')}/{inside}" if inside else address
    with TemporaryDirectory(prefix="deltareg-mlflow-") as room:
        yield ImportedFolder(artifacts.download(whole, Path(room)), f"mlflow:{whole}", labels=labels)


class _Artifacts:
    """The artifacts of MLflow, listed and downloaded by MLflow itself."""

    def __init__(self, tracking_uri: str | None) -> None:
        library()
        self._own: Any = import_module("mlflow.artifacts")
        self._failures: Any = import_module("mlflow.exceptions").MlflowException
        self._options = {} if tracking_uri is None else {"tracking_uri": tracking_uri}

    def find(self, address: str) -> str:
        """Return the only folder with an adapter, or else with weights."""
        folders = dict(self._walk(address, "", _DEPTH))
        for sign in (_CONFIG, _WEIGHTS):
            matches = sorted(f for f, names in folders.items() if any(n.endswith(sign) for n in names))
            if len(matches) == 1:
                return matches[0]
            if matches:
                listing = ", ".join(name or "." for name in matches[:8])
                raise InvalidInput(f"{address} holds several deltas: {listing}", fix="--path FOLDER")
        raise NotFound(
            f"{address} holds no delta: no {_CONFIG} and no {_WEIGHTS} file", fix="name its folder: --path FOLDER"
        )

    def download(self, address: str, room: Path) -> Path:
        """Download a folder."""
        path = self._ask(
            lambda: self._own.download_artifacts(artifact_uri=address, dst_path=str(room), **self._options), address
        )
        return Path(str(path))

    def _walk(self, address: str, folder: str, depth: int) -> Iterator[tuple[str, list[str]]]:
        where = _where(address, folder)
        entries = self._ask(lambda: self._own.list_artifacts(**where, **self._options), f"{address} {folder}")
        names = [str(entry.path).rpartition("/")[2] for entry in entries]
        yield folder, [n for n, e in zip(names, entries, strict=True) if not e.is_dir]
        if depth:
            for name in (n for n, e in zip(names, entries, strict=True) if e.is_dir):
                yield from self._walk(address, f"{folder}/{name}".strip("/"), depth - 1)

    def _ask(self, ask: Any, what: str) -> Any:  # noqa: ANN401  # optional: there may be no types
        try:
            return ask()
        except self._failures as error:
            reason = str(error).splitlines()[0][:300]
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                raise NotFound(f"MLflow has not {what}: {reason}", fix=_WHERE) from error
            raise Unavailable(f"MLflow did not give {what}: {reason}", fix=_WHERE) from error
        except OSError as error:
            raise NotFound(f"MLflow has not {what}: {error}", fix=_WHERE) from error


def _where(address: str, folder: str) -> dict[str, str]:
    """Return MLflow's arguments for a folder; it accepts no address of a run without a path."""
    whole = "/".join(part for part in (address.rstrip("/"), folder) if part)
    if not whole.startswith(_RUNS):
        return {"artifact_uri": whole}
    run, _, path = whole.removeprefix(_RUNS).partition("/")
    return {"run_id": run, **({"artifact_path": path} if path else {})}


_WHERE = "say where MLflow keeps it: MLFLOW_TRACKING_URI"
