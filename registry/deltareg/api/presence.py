"""Says every so often that this server is there, and follows the form in which rows are written."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy.exc import SQLAlchemyError

from deltareg.api.background import running
from deltareg.errors import DeltaregError
from deltareg.service.registry import Registry
from deltareg.service.upkeep.presence import follow_form_at_start, say_gone, say_present

log = logging.getLogger(__name__)

EVERY_S = 30.0
"""How often a server says that it is there; thrice unheard it is taken for gone."""


@contextmanager
def present(registry: Registry, *, every_s: float = EVERY_S) -> Generator[None, None, None]:
    """Be there while the block lasts, and say at its end that it is over."""
    server_id = str(uuid4())
    if not follow_form_at_start(registry):
        log.warning(
            "rows are written as servers of the release before read them; once these are gone,"
            " finish the upgrade: deltareg-migrate finish"
        )
    say_present(registry, server_id)

    def work(ended: threading.Event) -> None:
        while not ended.wait(every_s):
            try:
                say_present(registry, server_id)
            except (DeltaregError, SQLAlchemyError) as error:  # nobody above: told, and goes on
                log.warning("it is not said that this server is there, it is tried again: %s", error)

    try:
        with running(work, name="presence"):
            yield
    finally:
        try:
            say_gone(registry, server_id)
        except (DeltaregError, SQLAlchemyError) as error:
            log.warning("it is not said that this server ends: %s", error)
