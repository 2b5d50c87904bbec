"""The client's settings; each comes from the first place that sets it, and that place is kept.

The places, in order: a flag, the environment, `./deltareg.toml`, the profile in `config.toml`, the
top of `config.toml`, the default. `docs/settings.md` is generated from `SETTINGS`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast, get_args

from deltareg.client.assertions import AssertionSource, PodSource
from deltareg.client.config_file import read_settings
from deltareg.client.quantities import parse_duration, parse_size
from deltareg.errors import InvalidInput
from deltareg.host.token_files import config_dir, read_token, token_path

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8642
DEFAULT_PATIENCE_S = 30.0
DEFAULT_SERVER = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
DEFAULT_PROFILE = "default"
PROJECT_FILE = "deltareg.toml"
LOCK_FILE = "delta.lock"
_IN_FOLDER = f"./{PROJECT_FILE}"
OutputFormat = Literal["table", "json", "jsonl", "yaml"]
OUTPUT_FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)
COMPRESSIONS = ("default", "fast", "max")
GOLDENS = ("auto", "never")
FOR_OTHERS = "DELTAREG_FOR_OTHERS"
"""The variable by which a server tells the program that it pushes commits with whose files these are."""
NEWEST_FOR_OTHERS = "DELTAREG_NEWEST_FOR_OTHERS"
"""The variable by which it tells the version that a commit was made over; 0 for none."""

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


def _default_cache_dir() -> Path:
    import platformdirs  # what a page of help need not load

    return platformdirs.user_cache_path("deltareg")


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """All settings of a client, resolved.

    Attributes:
        server: The registry's address, without a slash at the end.
        token: The bearer token, if any.
        profile: The profile in use.
        cache_dir: The folder that caches pulled bytes.
        cache_max_bytes: How many bytes the cache may keep.
        timeout_s: How long one request may take to answer.
        retries: How often, at least, a request that failed for a time is retried; 0 for never.
        patience_s: How long, at least, it is retried, so that a restarting server is not a failure.
        concurrency: How many transfers run at once.
        compression: The codecs that a push tries.
        golden: Whether `deltareg push` records golden outputs where there are none.
        output: How the command line writes results.
        progress: Whether the command line shows progress.
        request_id: The id sent with each request, to find it in the server's log; empty for a new
            one each.
        insecure_http: Whether the token may go over plain http to another machine.
        withheld: Why an existing token is not used, and what to do; empty if it is used.
        assertions: What the CI gives to this job to exchange for a token, where it has none; None
            outside of one.
        pod: What a worker in a pod gets its token by; None elsewhere.
        named_in: What others wrote that names the server, such as `./deltareg.toml`: it gets no token
            but the one kept for it (`deltareg.client.token_reach`). Empty if the user names it.
        is_for_others: Whether a server pushes with it what somebody else sent, so that no path which
            these files name is looked at.
        newest_for_others: The number of the version over which that was made, which has to be the newest
            until a version is made of it; 0 for none, None where it does not matter.
    """

    server: str = DEFAULT_SERVER
    token: str | None = field(default=None, repr=False)
    profile: str = DEFAULT_PROFILE
    cache_dir: Path = field(default_factory=_default_cache_dir)
    cache_max_bytes: int = 50_000_000_000
    timeout_s: float = 30.0
    retries: int = 5
    patience_s: float = DEFAULT_PATIENCE_S
    concurrency: int = 4
    compression: str = "default"
    golden: str = "auto"
    output: OutputFormat = "table"
    progress: bool = True
    request_id: str = ""
    insecure_http: bool = False
    withheld: tuple[str, str] = ("", "")
    assertions: AssertionSource | None = None
    pod: PodSource | None = None
    named_in: str = ""
    is_for_others: bool = False
    newest_for_others: int | None = None


@dataclass(frozen=True, slots=True)
class ConfigSetting:
    """One setting: its key in files, its variable, its default as text, what it does."""

    key: str
    variable: str
    default: str
    summary: str


SETTINGS: tuple[ConfigSetting, ...] = (
    ConfigSetting("server", "DELTAREG_SERVER", DEFAULT_SERVER, "The address of the registry."),
    ConfigSetting("profile", "DELTAREG_PROFILE", DEFAULT_PROFILE, "The profile of config.toml to use."),
    ConfigSetting("cache_dir", "DELTAREG_CACHE_DIR", "", "The folder that keeps pulled bytes."),
    ConfigSetting("cache_max_size", "DELTAREG_CACHE_MAX_SIZE", "50GB", "How much the cache keeps."),
    ConfigSetting("output", "DELTAREG_OUTPUT", "table", "Results as table, json, jsonl or yaml."),
    ConfigSetting("progress", "DELTAREG_NO_PROGRESS", "true", "Show progress; the variable turns it off."),
    ConfigSetting("concurrency", "DELTAREG_CONCURRENCY", "4", "Requests that carry bytes at once, at most."),
    ConfigSetting(
        "compression", "DELTAREG_COMPRESSION", "default", f"How hard a push compresses: {', '.join(COMPRESSIONS)}."
    ),
    ConfigSetting(
        "golden",
        "DELTAREG_GOLDEN",
        "auto",
        "Whether a push records golden outputs by the library, where it can: auto or never.",
    ),
    ConfigSetting("timeout", "DELTAREG_TIMEOUT", "30s", "How long one request may take to answer."),
    ConfigSetting("retries", "DELTAREG_RETRIES", "5", "Tries after a failure that may pass, at least; 0: none."),
    ConfigSetting(
        "patience",
        "DELTAREG_PATIENCE",
        f"{DEFAULT_PATIENCE_S:.0f}s",
        "How long a server that is away or cannot answer is tried again, at least; where nothing listens on this "
        "machine, 2 s unless set.",
    ),
    ConfigSetting(
        "insecure_http",
        "DELTAREG_INSECURE_HTTP",
        "false",
        "Send the token over plain http to another machine: where the network is yours alone.",
    ),
)
KEYS = tuple(setting.key for setting in SETTINGS)


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """A setting's text and the place that it came from; its repr hides the text."""

    key: str
    text: str = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """All settings, and where each of them came from; the token is the last one."""

    config: ClientConfig
    values: tuple[ConfigValue, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A place that settings may come from: `name` is shown for it, `names` for single keys."""

    name: str
    texts: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict[str, str])


def load_config(
    *,
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    request_id: str = "",
) -> LoadedConfig:
    """Resolve all settings.

    Args:
        flags: Values from the command line, by key; they win.
        environ: The environment variables; the process's own by default.
        folder: Where to look for `deltareg.toml`; the working directory by default.
        request_id: Copied into the result.

    Raises:
        InvalidInput: A value cannot be read, a key or the profile does not exist.
        Misconfigured: Others can read the token file.
    """
    environment = os.environ if environ is None else environ
    places = _places(flags or {}, environment, folder or Path())
    values = tuple(_first(setting, places) for setting in SETTINGS)
    texts = {value.key: value.text for value in values}
    for value in values:
        check_value(value.key, value.text, origin=value.origin)
    token, origin = _token(texts["server"], environment)
    withheld = _why_withheld(values[0], origin)
    if withheld[0]:
        token, origin = "", f"{origin}, withheld"
    config = _build(texts, token=token, request_id=request_id)
    named_in = values[0].origin if values[0].origin == _IN_FOLDER else ""
    config = replace(
        config,
        withheld=withheld,
        named_in=named_in,
        assertions=None if token or withheld[0] else AssertionSource.read(environment),
        is_for_others=bool(environment.get(FOR_OTHERS)),
        newest_for_others=int(environment[NEWEST_FOR_OTHERS]) if environment.get(NEWEST_FOR_OTHERS) else None,
    )
    return LoadedConfig(config, (*values, ConfigValue("token", token, origin)))


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Return the user's settings file: `DELTAREG_CONFIG`, or `config.toml` in the config folder."""
    path = (os.environ if environ is None else environ).get("DELTAREG_CONFIG")
    return Path(path) if path else config_dir() / "config.toml"


def check_value(key: str, text: str, *, origin: str = "") -> None:
    """Refuse a key that does not exist or a value that cannot be read.

    Raises:
        InvalidInput: It names the key, the value and its origin.
    """
    if key not in KEYS:
        from difflib import get_close_matches  # what a line without a slip need not load

        near = get_close_matches(key, KEYS, n=1)
        where = f" in {origin}" if origin else ""
        fix = f"did you mean {near[0]}?" if near else f"settings: {', '.join(KEYS)}"
        if key == "token":
            fix = "a token is kept apart from settings: deltareg auth login"
        raise InvalidInput(f"there is no setting {key[:60]!r}{where}", fix=fix)
    try:
        _build({**{setting.key: setting.default for setting in SETTINGS}, key: text})
    except InvalidInput as error:
        where = f" (from {origin})" if origin else ""
        raise InvalidInput(f"{key}: {error.message}{where}", fix=error.fix) from error


def _places(flags: Mapping[str, str], environ: Mapping[str, str], folder: Path) -> list[_Place]:
    user_file = config_path(environ)
    project, user = read_settings(folder / PROJECT_FILE), read_settings(user_file)
    profiles = user.pop("profiles", {})
    outer = [
        _Place("", flags, {key: f"--{key}" for key in flags}),
        _from_environ(environ),
        _Place(_IN_FOLDER, _of_project(project)),
    ]
    top = _Place(str(user_file), _texts(user, str(user_file)))
    profile = _first(SETTINGS[1], [*outer, top])
    inner = _Place(f"{user_file} [profiles.{profile.text}]", _profile(profiles, profile, str(user_file)))
    return [*outer, inner, top]


def _of_project(project: Mapping[str, object]) -> dict[str, str]:
    """Read what a project's file may set; whether a token goes in the clear is not among it."""
    texts = _texts(project, _IN_FOLDER)
    if "insecure_http" in texts:
        raise InvalidInput(
            f"./{PROJECT_FILE} does not decide insecure_http",
            fix="set DELTAREG_INSECURE_HTTP, or: deltareg config set insecure_http true",
        )
    return texts


def _profile(profiles: object, wanted: ConfigValue, path: str) -> dict[str, str]:
    tables = _table(profiles) or {}
    table = _table(tables.get(wanted.text, {} if wanted.text == DEFAULT_PROFILE else None))
    if table is None:
        names = ", ".join(sorted(tables)) or "none"
        raise InvalidInput(
            f"{path} has no profile {wanted.text[:60]!r} (asked for by {wanted.origin})",
            fix=f"profiles there: {names}; add [profiles.{wanted.text[:60]}]",
        )
    return _texts(table, f"{path} [profiles.{wanted.text}]")


def _table(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _from_environ(environ: Mapping[str, str]) -> _Place:
    present = {s.key: environ[s.variable] for s in SETTINGS if environ.get(s.variable)}
    if "progress" in present:  # the variable says the opposite of the setting
        present["progress"] = "false" if _boolean(present["progress"]) else "true"
    return _Place("", present, {s.key: s.variable for s in SETTINGS})


def _first(setting: ConfigSetting, places: Sequence[_Place]) -> ConfigValue:
    for place in places:
        if setting.key in place.texts:
            origin = place.names.get(setting.key, place.name)
            return ConfigValue(setting.key, place.texts[setting.key], origin)
    text = str(_default_cache_dir()) if setting.key == "cache_dir" else setting.default
    return ConfigValue(setting.key, text, "default")


def _token(server: str, environ: Mapping[str, str]) -> tuple[str, str]:
    if environ.get("DELTAREG_TOKEN"):
        return environ["DELTAREG_TOKEN"], "DELTAREG_TOKEN"
    if environ.get("DELTAREG_TOKEN_FILE"):
        file = Path(environ["DELTAREG_TOKEN_FILE"])
        try:
            return file.read_text(encoding="utf-8").strip(), f"{file} (DELTAREG_TOKEN_FILE)"
        except OSError as error:
            raise InvalidInput(
                f"cannot read the token file {file}: {error.strerror}", fix="see DELTAREG_TOKEN_FILE"
            ) from error
    stored_token = read_token(server)
    return (stored_token, str(token_path(server))) if stored_token else ("", "none")


def _why_withheld(server: ConfigValue, token_origin: str) -> tuple[str, str]:
    """Return why a token is withheld and what to do about it; empty texts if it is sent.

    A cloned folder may name any server, and a token set for another one is not meant for it.
    """
    is_ambient = "DELTAREG_TOKEN" in token_origin
    if not (is_ambient and server.origin == _IN_FOLDER):
        return "", ""
    message = f"./{PROJECT_FILE} names the server {server.text}, and does not get {token_origin} for it"
    return (message, f"if that server is meant: set DELTAREG_SERVER beside it, or --server {server.text}")


def _build(texts: Mapping[str, str], *, token: str = "", request_id: str = "") -> ClientConfig:
    server = (
        texts["server"].rstrip("/").removesuffix("/api/v1").removesuffix("/ui")
    )  # pasted from a browser or a script
    token_path(server)  # refuses what is not an address
    output = texts["output"]
    if output not in OUTPUT_FORMATS:
        raise InvalidInput(f"not a format: {output[:60]!r}", fix=f"write {', '.join(OUTPUT_FORMATS)}")
    return ClientConfig(
        server=server,
        token=token or None,
        profile=texts["profile"],
        cache_dir=Path(texts["cache_dir"]).expanduser(),
        cache_max_bytes=parse_size(texts["cache_max_size"]),
        timeout_s=parse_duration(texts["timeout"]),
        retries=_whole(texts["retries"], least=0),
        patience_s=parse_duration(texts["patience"]),
        concurrency=_whole(texts["concurrency"], least=1),
        compression=_one_of(COMPRESSIONS, texts["compression"]),
        golden=_one_of(GOLDENS, texts["golden"]),
        output=output,
        progress=_boolean(texts["progress"]),
        request_id=request_id,
        insecure_http=_boolean(texts["insecure_http"]),
    )


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise InvalidInput(f"not yes or no: {text[:60]!r}", fix="write true or false")


def _one_of(choices: Sequence[str], text: str) -> str:
    if text in choices:
        return text
    raise InvalidInput(f"not a choice: {text[:60]!r}", fix=f"write {', '.join(choices)}")


def _whole(text: str, *, least: int) -> int:
    if text.isdecimal() and least <= int(text) <= 1000:
        return int(text)
    raise InvalidInput(f"not a count: {text[:60]!r}", fix=f"write a number from {least} to 1000")


def _texts(table: Mapping[str, object], origin: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, value in table.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        check_value(key, text, origin=origin)
        texts[key] = text
    return texts
