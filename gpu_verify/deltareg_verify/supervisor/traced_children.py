"""Children whose time is traced, as part of the run that they are carried out for."""

from collections.abc import Callable
from dataclasses import dataclass

from deltareg.host.causes import current_cause
from deltareg.host.traces import Tracer
from deltareg_verify.supervisor.parts import ChildRunner


@dataclass(frozen=True, slots=True)
class TracedChildren:
    """Runs requests in children, and traces each.

    Attributes:
        inner: What runs them.
        tracer: What traces them.
    """

    inner: ChildRunner
    tracer: Tracer

    def run(
        self, request: bytes, *, wall_s: float, interrupted: Callable[[], str], heard: Callable[[bytes], None]
    ) -> bytes:
        """Run a request in a child; a child has no network, so its parent traces it."""
        parent = current_cause().traceparent
        with self.tracer.begin("child", parent=parent, kind="INTERNAL", attributes={}):
            return self.inner.run(request, wall_s=wall_s, interrupted=interrupted, heard=heard)
