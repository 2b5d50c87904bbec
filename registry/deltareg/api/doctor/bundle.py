"""A bundle for support: what the doctor found and what it rests on, in one file, without any secret.

What goes in is chosen, setting by setting; nothing is copied whole that a secret could stand in. At the end every text
is searched for the secrets of this server and for what looks like one.
"""

import io
import json
import os
import platform
import re
import tarfile
import tomllib
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from deltareg import __version__
from deltareg.api.doctor.diagnosis import Diagnosis
from deltareg.api.observability.growth import read_samples
from deltareg.api.observability.slow_requests import read_slow_requests
from deltareg.api.settings import ServerSettings
from deltareg.db.session import schema_head
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import DeltaregError
from deltareg.host.secrets_left_out import LEFT_OUT, leave_out_secrets
from deltareg.host.urls import split_url
from deltareg.service.registry import Registry
from deltareg.service.upkeep.health import registry_health

_URLS: Final = ("database_url", "store_url", "second_store_url", "hub_address")
_FILES: Final = ("tls_cert", "tls_key", "signing_key", "checkpoint_file", "sigstore_trust", "oidc", "webhook_key")
_NAMES_SECRET: Final = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|KEY|HEADERS|AUTH")
_LEAST_SECRET: Final = 5
_ANSWERS_WITHIN_S: Final = 5.0
_TOLD_FROM: Final = ("DELTAREG_", "AWS_", "OTEL_", "GOOGLE_", "PG", "SSL_", "REQUESTS_")


def write_bundle(
    path: Path, settings: ServerSettings, registry: Registry | None, diagnoses: Sequence[Diagnosis], *, problem: str
) -> None:
    """Write the bundle, readable for its owner alone.

    Args:
        path: The file; one that is there is replaced.
        settings: The server's settings.
        registry: The registry; None while its database does not answer.
        diagnoses: What the doctor found.
        problem: Why there is no registry; empty if there is one.
    """
    texts = {
        "doctor.json": _json({each.question: {"answer": each.answer, **each.document} for each in diagnoses}),
        "settings.json": _json(_settings(settings)),
        "versions.txt": "\n".join(_versions()),
        "database.json": _json(_database(registry, problem)),
        "metrics.txt": _metrics(settings),
        "slow-requests.jsonl": "\n".join(map(json.dumps, read_slow_requests(settings.records, since=0))),
        "growth.jsonl": "\n".join(json.dumps(asdict(each)) for each in read_samples(settings.records, since=0)),
    }
    secrets = sorted(set(_secrets(settings)), key=len, reverse=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
        for name, text in texts.items():
            data = _without(text, secrets).encode()
            info = tarfile.TarInfo(f"deltareg-bundle/{name}")
            info.size, info.mode = len(data), 0o600
            bundle.addfile(info, io.BytesIO(data))


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, LEFT_OUT)
    return leave_out_secrets(text)


def _settings(settings: ServerSettings) -> Mapping[str, object]:
    """Return the settings: URLs without who logs in, files by whether they are there, variables by name alone."""
    plain = {name: value for name, value in settings.model_dump(mode="json").items() if name not in {*_URLS, *_FILES}}
    urls = {name: plain_url(value) for name in _URLS if (value := getattr(settings, name))}
    files: dict[str, object] = {}
    for name in _FILES:
        file: Path | None = getattr(settings, name)
        if file is not None:
            there = file.is_file()
            files[name] = {"is_there": there, "mode": oct(file.stat().st_mode & 0o777) if there else None}
    variables = sorted(name for name in os.environ if name.startswith(_TOLD_FROM))
    return {"settings": plain, "urls": urls, "files": files, "variables_that_are_set": variables}


def plain_url(url: str) -> str:
    """Return scheme, host and path of a URL, without who logs in, and without its query."""
    parts = split_url(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _versions() -> Iterator[str]:
    yield f"deltareg {__version__}"
    yield f"python {platform.python_version()} {platform.platform()}"
    yield from sorted({f"{each.name} {each.version}" for each in distributions()})


def _database(registry: Registry | None, problem: str) -> Mapping[str, object]:
    if registry is None:
        return {"problem": problem}
    try:
        found = {"schema": schema_head(registry.engine), **asdict(registry_health(registry))}
    except DeltaregError as error:
        return {"problem": error.message}
    return {"kind": registry.engine.dialect.name, **found}


def _metrics(settings: ServerSettings) -> str:
    """Ask the server of this host, if it runs without TLS of its own; metrics take no token."""
    url = f"http://{settings.host}:{settings.port}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=_ANSWERS_WITHIN_S) as answer:  # http, as it says
            return str(answer.read().decode())
    except (OSError, ValueError) as error:
        return f"# no answer of {url}: {error}\n"


def _secrets(settings: ServerSettings) -> Iterator[str]:
    """Yield every secret that this server was set up with, in each form in which it could be written."""
    named = [value for name, value in os.environ.items() if _NAMES_SECRET.search(name.upper())]
    values = [part for value in named for part in (value, *re.split(r"[=,;\s]+", value))]  # headers have several
    for url in (*(getattr(settings, name) or "" for name in _URLS), *os.environ.values()):
        values += _of_url(url)
    for name in ("tls_key", "signing_key", "webhook_key"):
        values += _lines(getattr(settings, name))
    values += _lines(settings.effective_signing_key) + _lines(settings.effective_webhook_key)
    values += [line for file in settings.data_dir.glob("*token*") for line in _lines(file)]
    values += [line for file in settings.data_dir.glob("workers/*key*") for line in _lines(file)]
    values += list(_of_toml(settings.oidc))
    for secret in {form for value in values for form in (value, unquote(value)) if len(form) >= _LEAST_SECRET}:
        yield from (secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe=""))
        yield b64encode(secret.encode()).decode()


def _of_url(url: str) -> list[str]:
    """Return who logs in by a URL, if it is one, and what its query says that is secret."""
    try:
        parts = split_url(url)
        login = [parts.password or "", parts.netloc.rpartition("@")[0]]
    except ValueError:
        return []
    if not parts.scheme.startswith("postgres"):  # whose user has a name, where a bucket's has half of a key
        login.append(parts.username or "")
    return login + [value for name, value in parse_qsl(parts.query) if _NAMES_SECRET.search(name.upper())]


def _lines(path: Path | None) -> list[str]:
    try:
        return [] if path is None else path.read_text(errors="replace").split()
    except OSError:
        return []


def _of_toml(path: Path | None) -> Iterator[str]:
    """Yield the values of a file of providers whose names are those of secrets."""
    if path is None:
        return
    try:
        waiting: list[object] = [tomllib.loads(path.read_text())]
    except (OSError, ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if is_list(value):
            waiting += value
        elif is_object(value):
            waiting += value.values()
            yield from (str(one) for name, one in value.items() if _NAMES_SECRET.search(name.upper()))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, default=str)
