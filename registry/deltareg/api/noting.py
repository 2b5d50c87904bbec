"""Writes the pulls that were noted, every few seconds, in each serving process."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from deltareg.api.background import running
from deltareg.errors import DeltaregError
from deltareg.service.registry import Registry

log = logging.getLogger(__name__)

EVERY_S = 20.0
"""How long a pull waits to be written, seconds; what a killed server loses."""


@contextmanager
def noting(registry: Registry, *, every_s: float = EVERY_S) -> Generator[None, None, None]:
    """Write the noted pulls every so often while the block lasts, and at its end."""

    def work(ended: threading.Event) -> None:
        while not ended.wait(every_s):
            _write(registry)

    try:
        with running(work, name="noting"):
            yield
    finally:
        _write(registry)


def _write(registry: Registry) -> None:
    try:
        registry.pulls.write(registry.engine)
    except (DeltaregError, SQLAlchemyError) as error:  # nobody above: told, and goes on
        log.warning("pulls are not written, it is tried again: %s", error)
