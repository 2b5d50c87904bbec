"""Writes access of a registry to the files that declare it."""

import re
from pathlib import Path

from deltareg.client.applying.access_changes import write_webhook
from deltareg.client.applying.access_files import write_access_files
from deltareg.client.client import Client
from deltareg.errors import Conflict, Forbidden
from deltareg.wire import WebhookInfo

_PAGE = 200


def export_folder(client: Client, folder: Path) -> list[Path]:
    """Write access files; return their paths.

    Raises:
        Conflict: The folder has files.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise Conflict(f"{folder} has files already", fix="name a new folder")
    document = client.access.export()
    webhooks = {name: _webhooks(client, name) for name in document.namespaces}
    return write_access_files(folder, document, webhooks)


def _webhooks(client: Client, namespace: str) -> dict[str, object]:
    try:
        hooks = list(client.webhooks.list(namespace, limit=_PAGE))
    except Forbidden:  # who does not own it does not see them
        return {}
    return {hook.note or hook.id: write_webhook(hook) | {"url": _variable(hook)} for hook in hooks}


def _variable(hook: WebhookInfo) -> str:
    """Name the variable that is to hold the address, of which a server shows a part."""
    return "$" + re.sub(r"[^A-Z0-9]+", "_", f"{hook.namespace}_{hook.note or hook.id}".upper())
