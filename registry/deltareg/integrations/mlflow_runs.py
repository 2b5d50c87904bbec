"""Ties runs and model versions of MLflow to versions of a registry, in both directions.

MLflow is imported only when it is needed: a push without a run does not wait for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlunsplit

from deltareg.client import Client
from deltareg.errors import InvalidInput, Misconfigured, NotFound, Unavailable
from deltareg.host.urls import split_url
from deltareg.integrations.addresses import SCHEME

RUN = "mlflow.run"
_MOST, _CHARACTERS = 60, 256  # a version has 64 labels


@dataclass(frozen=True, slots=True)
class MlflowRun:
    """A run of MLflow.

    Attributes:
        id: Its id.
        url: Its page for people; empty if MLflow has no server.
        name: Its name.
        metrics: The last value of each metric.
        params: Its parameters.
    """

    id: str
    url: str = ""
    name: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    params: Mapping[str, str] = field(default_factory=dict[str, str])

    def labels(self) -> dict[str, str]:
        """Return a version's labels for the run: its id and place first, then metrics, then params.

        Values too long for a label, and those after the sixtieth, are left out.
        """
        facts = {RUN: self.id, "run.url": self.url, "run.name": self.name}
        labels = {key: text for key, text in facts.items() if text}
        labels |= {f"metric.{name}": f"{value:.6g}" for name, value in sorted(self.metrics.items())}
        labels |= {f"param.{name}": value for name, value in sorted(self.params.items()) if value}
        short = [(k, v) for k, v in labels.items() if max(len(k), len(v)) <= _CHARACTERS]
        return dict(short[:_MOST])

    @property
    def left_out(self) -> int:
        """How many metrics and params did not become labels."""
        return (
            len(self.metrics)
            + len([v for v in self.params.values() if v])
            - sum(label.startswith(("metric.", "param.")) for label in self.labels())
        )


def read_run(run_id: str, *, tracking_uri: str | None = None) -> MlflowRun:
    """Read a run.

    Args:
        run_id: The run.
        tracking_uri: MLflow's tracking server; by default from MLflow's own settings.

    Raises:
        NotFound: There is no such run there.
        Misconfigured: MLflow is not installed.
    """
    client = _client(tracking_uri)
    run = _ask_mlflow(lambda: client.get_run(run_id), f"the run {run_id[:64]!r}")
    data, info = run.data, run.info
    place = _plain(library().get_tracking_uri() if tracking_uri is None else tracking_uri)
    is_served = place.startswith(("http://", "https://"))
    url = f"{place}/#/experiments/{info.experiment_id}/runs/{info.run_id}" if is_served else ""
    return MlflowRun(info.run_id, url, info.run_name or "", dict(data.metrics), dict(data.params))


def register_version(client: Client, ref: str, model: str, *, alias: str = "", tracking_uri: str | None = None) -> str:
    """Create a model version in MLflow whose bytes are a version here; return its number.

    Its source names the version by digest, so it never changes, whatever a channel serves.

    Args:
        client: The registry.
        ref: The version; a bare `ns/name` means what `prod` serves.
        model: The registered model, created if it does not exist.
        alias: An alias in MLflow to point at it, such as `champion`.
        tracking_uri: MLflow's tracking server; by default from MLflow's own settings.

    Raises:
        Misconfigured: MLflow is not installed.
    """
    version = client.versions.files(ref).version
    host = split_url(client.config.server).netloc
    source = f"{SCHEME}{host}/{version.namespace}/{version.name}@{version.digest}"
    tags = {"deltareg.ref": version.ref, "deltareg.base": version.base.name}
    store, errors = _client(tracking_uri), import_module("mlflow.exceptions")
    try:
        store.create_registered_model(model)
    except errors.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise _translate_error(error, f"the model {model[:64]!r}") from error
    model_version = _ask_mlflow(
        lambda: store.create_model_version(
            model, source, run_id=version.labels.get(RUN), tags=tags, description=version.message
        ),
        f"the model {model[:64]!r}",
    )
    if alias:
        _ask_mlflow(
            lambda: store.set_registered_model_alias(model, alias, model_version.version), f"the alias {alias[:64]!r}"
        )
    return str(model_version.version)


def library() -> Any:  # noqa: ANN401  # optional: there may be no types of it
    """Import and return MLflow.

    Raises:
        Misconfigured: MLflow is not installed.
    """
    try:
        return import_module("mlflow")
    except ImportError as error:
        raise Misconfigured("MLflow is not installed here", fix="pip install 'deltareg[mlflow]'") from error


def _client(tracking_uri: str | None) -> Any:  # noqa: ANN401  # as above
    return library().MlflowClient(tracking_uri, tracking_uri)


def _ask_mlflow(ask: Any, what: str) -> Any:  # noqa: ANN401  # as above
    errors = import_module("mlflow.exceptions")
    try:
        return ask()
    except errors.MlflowException as error:
        raise _translate_error(error, what) from error


def _translate_error(error: Any, what: str) -> Exception:  # noqa: ANN401  # as above
    reason = str(getattr(error, "message", error)).splitlines()[0][:300]
    fix = "say where MLflow keeps it: MLFLOW_TRACKING_URI"
    if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}:
        return NotFound(f"MLflow has not {what}: {reason}", fix=fix)
    if error.error_code in {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}:
        return InvalidInput(f"MLflow does not take {what}: {reason}", fix=fix)
    return Unavailable(f"MLflow did not give {what}: {reason}", fix=fix)


def _plain(url: str) -> str:
    """Return a URL without user name, password and trailing slash."""
    parts = split_url(str(url))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
