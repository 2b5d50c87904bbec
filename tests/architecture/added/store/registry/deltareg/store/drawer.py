"""A store below a folder that settings name: `drawer://name`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from deltareg.store.local import LocalStore
from deltareg.store.schemes import StoreScheme, StoreSetting


@dataclass(frozen=True, slots=True)
class DrawerOptions:
    """Where drawers are."""

    desk: Annotated[Path, StoreSetting("Folder of the drawers.")] = Path("desk")


def _open(url: str, options: DrawerOptions) -> LocalStore:
    return LocalStore(options.desk / urlsplit(url).netloc)


SCHEME = StoreScheme("drawer", "drawer://name", _open, DrawerOptions)
