"""What a server process observes beyond its metrics, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deltareg.api.observability.observer import Begin
from deltareg.api.observability.slow_requests import NOWHERE, SlowRequests


@dataclass(frozen=True, slots=True)
class Observability:
    """What is observed.

    Attributes:
        slow: Where slow requests are recorded.
        begin: Begins a request that is traced; None if none are.
        disks: The disks of which metrics tell, by their content; None for those that need room.
    """

    slow: SlowRequests = NOWHERE
    begin: Begin | None = None
    disks: Mapping[str, Path] | None = None


NOTHING_KEPT: Final = Observability()
