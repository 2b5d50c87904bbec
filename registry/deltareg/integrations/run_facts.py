"""Facts about a training, as labels of the versions that it pushes."""

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from urllib.parse import urlunsplit

from deltareg.host.urls import split_url

METRIC = "metric."
_MOST_METRICS, _MOST_CHARACTERS = 40, 256
# How fast it went, and what the trainer was set to, are no measures of what came of it.
_NO_MEASURES = frozenset({"epoch", "step", "learning_rate", "grad_norm", "total_flos"})
_OF_SPEED = ("_runtime", "_per_second", "_flos")
_CI = ("CI_JOB_URL", "BUILD_URL")
_NOT_IN_KEYS = frozenset("\"'\\=,")


def newest_metrics(history: Iterable[Mapping[str, object]]) -> dict[str, float]:
    """Return the newest value of each metric in a log, ignoring other entries."""
    metrics: dict[str, float] = {}
    for entry in history:
        for name, value in entry.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and _is_measure(name):
                metrics[name] = float(value)
    return metrics


def labels_of(
    *, step: int, epoch: float | None, metrics: Mapping[str, float], run_url: str, own: Mapping[str, str]
) -> dict[str, str]:
    """Return the labels of a version; the user's own take precedence.

    Args:
        step: How many updates the weights have had.
        epoch: How many times the data was seen; None if unknown.
        metrics: The metrics of these weights.
        run_url: The URL of the training; empty if there is none.
        own: The user's labels.
    """
    labels = {"step": str(step)}
    if epoch is not None:
        labels["epoch"] = f"{epoch:.4g}"
    if run_url:
        labels["run.url"] = run_url
    for name, value in list(metrics.items())[:_MOST_METRICS]:
        labels[METRIC + name.strip().replace(" ", "_")] = f"{value:.6g}"
    return {key: value for key, value in labels.items() if _is_label(key, value)} | dict(own)


def find_run_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return the URL of this process's training; empty if unknown.

    Asked in this order: the active run of Weights & Biases or of MLflow in this process, then the
    CI job. None of them is imported, and a user name or password in the URL is removed.
    """
    url = ""
    with suppress(Exception):  # a tracker that is away names no page, and ends no training
        url = _of_wandb() or _of_mlflow()
    url = url or _of_ci(environ)
    return _plain(url) if url.startswith(("http://", "https://")) else ""


def _is_label(key: str, value: str) -> bool:
    """Whether a registry accepts it as a label; odd names that users log are left out."""
    is_short = max(len(key), len(value)) <= _MOST_CHARACTERS
    is_plain = (key + value).isprintable() and not _NOT_IN_KEYS & set(key)
    return is_short and is_plain


def _is_measure(name: str) -> bool:
    return name not in _NO_MEASURES and not name.endswith(_OF_SPEED)


def _of_wandb() -> str:
    run = getattr(sys.modules.get("wandb"), "run", None)
    return str(getattr(run, "url", "") or "")


def _of_mlflow() -> str:
    mlflow = sys.modules.get("mlflow")
    active = getattr(mlflow, "active_run", None)
    server = getattr(mlflow, "get_tracking_uri", None)
    run = active() if callable(active) else None
    if run is None or not callable(server):
        return ""
    place, info = str(server()).rstrip("/"), getattr(run, "info", None)
    experiment, name = getattr(info, "experiment_id", ""), getattr(info, "run_id", "")
    return f"{place}/#/experiments/{experiment}/runs/{name}"


def _of_ci(environ: Mapping[str, str]) -> str:
    if "GITHUB_RUN_ID" in environ:
        server = environ.get("GITHUB_SERVER_URL", "https://github.com")
        repository = environ.get("GITHUB_REPOSITORY", "")
        return f"{server}/{repository}/actions/runs/{environ['GITHUB_RUN_ID']}"
    return next((environ[name] for name in _CI if environ.get(name)), "")


def _plain(url: str) -> str:
    """Return a URL without user name and password."""
    parts = split_url(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
