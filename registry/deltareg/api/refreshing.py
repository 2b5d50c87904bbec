"""Asks providers whether sign-ins still hold, in each serving process; without providers it does nothing."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from deltareg.api.background import running
from deltareg.errors import DeltaregError
from deltareg.service.access.sign_in.refreshing import CHECKED_S, end_lapsed_groups, refresh_due
from deltareg.service.registry import Registry

log = logging.getLogger(__name__)

EVERY_S = 15.0


@contextmanager
def refreshing(
    registry: Registry, *, every_s: float = EVERY_S, checked_s: float = CHECKED_S
) -> Generator[None, None, None]:
    """Ask about the sign-ins that are due, and end groups that have lapsed, every so often, while the block lasts."""

    def work(ended: threading.Event) -> None:
        while not ended.wait(every_s):
            try:
                refresh_due(registry, checked_s=checked_s)
                end_lapsed_groups(registry)
            except (DeltaregError, SQLAlchemyError) as error:  # nobody above: told, and goes on
                log.warning("sign-ins are not confirmed, it is tried again: %s", error)

    if not registry.providers:
        yield
        return
    with running(work, name="refreshing"):
        yield
