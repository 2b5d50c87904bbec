"""The login for a registry that `docker login` or `oras login` has stored."""

import os
from pathlib import Path

from deltareg.documents.json_values import is_object, parse_json
from deltareg.errors import Misconfigured

_DOCKER_HUB = "https://index.docker.io/v1/"


def find_login(host: str) -> str:
    """Return name and password for a registry, in base64 as they are sent; empty if not stored.

    Raises:
        Misconfigured: They are kept by a credential helper, which is not supported.
    """
    folder = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    path = Path(folder) / "config.json"
    try:
        document: object = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    fields = document if is_object(document) else {}
    logins = fields.get("auths")
    entries = logins if is_object(logins) else {}
    names = (host, f"https://{host}", *((_DOCKER_HUB,) if host.endswith("docker.io") else ()))
    entry = next((entries[name] for name in names if name in entries), None)
    login = entry.get("auth") if is_object(entry) else None
    if isinstance(login, str) and login:
        return login
    helpers = fields.get("credHelpers")
    is_elsewhere = is_object(helpers) and host in helpers
    if is_elsewhere or (is_object(entry) and fields.get("credsStore")):
        raise Misconfigured(
            f"{path} leaves the login of {host} to a credential helper, which is not asked",
            fix=f"write it into a file of its own: DOCKER_CONFIG=DIR docker login {host}",
        )
    return ""
