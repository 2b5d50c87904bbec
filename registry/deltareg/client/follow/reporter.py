"""Reports to the registry what is served here, without ever holding up the serving."""

import logging
import threading
from collections.abc import Sequence

from deltareg.client.context import Context
from deltareg.errors import DeltaregError, InvalidInput
from deltareg.wire import AgentReport, EngineName, Observed

log = logging.getLogger(__name__)


class Reporter:
    """Sends the newest state when it has changed, and again at intervals, in a thread."""

    def __init__(
        self, context: Context, agent: str, engine: EngineName, *, every_s: float, stop: threading.Event
    ) -> None:
        """Prepare; `start` begins to send."""
        self._context, self._agent = context, agent
        self._engine: EngineName = engine
        self._every_s, self._stop = every_s, stop
        self._changed = threading.Event()
        self._state: Sequence[Observed] = ()
        self._is_heard = True

    def put(self, state: Sequence[Observed]) -> None:
        """Set the newest state; it is sent soon if it has changed."""
        if list(state) != list(self._state):
            self._state = state
            self._changed.set()

    def send(self) -> None:
        """Send the newest state.

        Raises:
            DeltaregError: The server does not answer, the name is taken, or the token may not
                report.
        """
        state = list(self._state)
        try:
            self._put(state)
        except InvalidInput:
            # A server of the release before takes no word about bases.
            plain = [one.model_copy(update={"base": "unchecked", "trouble": ""}) for one in state]
            if plain == state:
                raise
            self._put(plain)

    def _put(self, state: Sequence[Observed]) -> None:
        report = AgentReport(engine=self._engine, every_s=self._every_s, serves=list(state))
        path = f"/fleet/agents/{self._agent}"
        self._context.api.send("PUT", path, body=report, is_patient=False)

    def start(self) -> None:
        """Keep sending in a thread until asked to stop."""
        threading.Thread(target=self._run, name="report", daemon=True).start()

    def wake(self) -> None:
        """Wake the thread so that it checks whether to stop."""
        self._changed.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._changed.wait(self._every_s)
            self._changed.clear()
            if self._stop.is_set() or not self._state:
                continue
            try:
                self.send()
            except DeltaregError as error:
                if self._is_heard and not self._stop.is_set():
                    fix = f"; {error.fix}" if error.fix else ""
                    log.warning("reports are not taken: %s%s", error.message, fix)
                self._is_heard = False
            except RuntimeError:  # the client was closed meanwhile
                if self._stop.is_set():
                    return
                raise
            else:
                self._is_heard = True
