"""The pushes of one training: each state once, beside the training, the child of the one before.

A trainer's callback makes a folder that nobody else writes to and hands it over. What becomes of it
is this module's: a push that fails is told and ends no training, unless that was asked for.
"""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from deltareg.client import Client, PushReport
from deltareg.errors import Blocked, Conflict, DeltaregError, Forbidden, InvalidInput, NotFound, UploadClosed
from deltareg.integrations.newest_first import LatestOnlyQueue
from deltareg.integrations.run_notes import RunNotes, read_notes

log = logging.getLogger(__name__)
PLACE = ".deltareg"
"""The folder within a training's own that this keeps; what is hidden is never pushed."""
_STEPS, _KEPT = "steps", "kept"
Strategy = Literal["every_save", "end"]


@dataclass(frozen=True, slots=True)
class PushTerms:
    """How a training pushes.

    Attributes:
        line: The line, `ns/name`.
        base: What was trained on: a base's name, a folder, a version; None for what the adapter's
            config names.
        parent: What the training began from: a version, or `@CHANNEL` for what that serves, if
            anything; None for nothing.
        message: Put before what is said of each version.
        labels: Labels of every version.
        strategy: Whether every state that the trainer saves is pushed, or the end alone.
        wait_s: How long the end of a training waits for the last push, seconds.
        always_push: Whether a push waits for the one before, and with it the training; else what
            comes too fast is left out.
        strict: Whether what cannot be pushed ends the training.
    """

    line: str
    base: str | None = None
    parent: str | None = "@prod"
    message: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    strategy: Strategy = "every_save"
    wait_s: float = 300.0
    always_push: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        """Refuse what a script without types may say.

        Raises:
            InvalidInput: There is no such strategy.
        """
        if self.strategy not in get_args(Strategy):
            names = " or ".join(get_args(Strategy))
            raise InvalidInput(f"strategy is {self.strategy!r}", fix=names)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A state of a training that can be pushed.

    Attributes:
        folder: Its files, in a folder of its own, which is removed afterwards.
        step: How many updates it has had.
        labels: What is said of it.
        is_last: Whether it is what came of the training; its files are kept where they cannot be
            pushed.
    """

    folder: Path
    step: int
    labels: Mapping[str, str]
    is_last: bool = False


class CheckpointPushes:
    """Pushes what a training hands over, in the background.

    Attributes:
        reports: What was pushed, in order.
    """

    def __init__(self, terms: PushTerms, client: Client | None = None) -> None:
        """Prepare; nothing is asked of the registry.

        Args:
            terms: How to push.
            client: What to push with, which stays open; None for one that is opened when it is
                needed, and closed at the end of a training.
        """
        self._terms, self._given = terms, client
        self._own: Client | None = None
        self._work = LatestOnlyQueue(self._push, self._pass_over)
        self._notes = RunNotes(Path(), terms.line)
        self._offered: set[int] = set()
        self._failure: tuple[int | None, DeltaregError | OSError] | None = None
        self.reports: list[PushReport] = []

    def begin(self, folder: Path, *, goes_on: bool) -> None:
        """Begin a training, or go on with one that was broken off.

        Args:
            folder: The training's own folder.
            goes_on: Whether it goes on from a checkpoint.

        Raises:
            DeltaregError: It will not be able to push; only where that ends a training.
        """
        place, target = folder / PLACE, self._terms.line
        self.reports.clear()
        try:
            target = f"{self._connect().config.server}/{target}"
            self._check()
        except (DeltaregError, OSError) as error:
            self._fail(error, None, "nothing can be pushed as it is now")
        self._notes = read_notes(place, target) if goes_on else RunNotes(place, target)
        self._offered = set(self._notes.pushed)
        self._go_on_with(self._notes.pushing)
        shutil.rmtree(place / _STEPS, ignore_errors=True)  # what a killed run has left
        self.raise_failure()

    def folder_of(self, step: int) -> Path:
        """Name the folder that the state of a step is made ready in."""
        return self._notes.folder / _STEPS / f"step-{step}"

    def is_offered(self, step: int) -> bool:
        """Whether the state of a step was handed over already, in this run or before a break."""
        return step in self._offered

    def offer(self, ready: TrainingState) -> None:
        """Have a state pushed; gives at once, unless each is to be pushed.

        Raises:
            DeltaregError, OSError: An earlier one could not be; only where that ends a training.
        """
        if self._terms.always_push:
            self._work.wait(self._terms.wait_s)
        self._offered.add(ready.step)
        self._work.put(ready)
        self.raise_failure()

    def settle(self) -> None:
        """Wait for what is being pushed, so that it is known what of it has failed."""
        self._work.wait(self._terms.wait_s)

    def finish(self) -> None:
        """Wait for what is being pushed, for so long and no longer.

        Raises:
            DeltaregError, OSError: It could not be; only where that ends a training.
        """
        if not self._work.wait(self._terms.wait_s):
            log.warning(
                "%s: the last push takes longer than %.0f s; it is cut off when this process ends."
                " Its files are below %s",
                self._terms.line,
                self._terms.wait_s,
                self._notes.folder,
            )
        elif self._own is not None:
            self._own.close()
            self._own = None
        self.raise_failure()

    def fail(self, error: DeltaregError | OSError, step: int) -> None:
        """Take what kept a state from being made ready.

        Raises:
            DeltaregError, OSError: The same; only where that ends a training.
        """
        self._fail(error, step, f"step {step} was not pushed")
        self.raise_failure()

    def raise_failure(self) -> None:
        """End the training if something could not be pushed and that is what it is to do."""
        failure, self._failure = self._failure, None
        if failure is not None and self._terms.strict:
            raise failure[1]

    def _go_on_with(self, left: tuple[int, Mapping[str, str]] | None) -> None:
        """Push again what a killed run was pushing: it may be there, and what follows needs it."""
        if left is None or not (folder := self.folder_of(left[0])).is_dir():
            return
        self._offered.add(left[0])
        self._work.put(TrainingState(folder, *left, is_last=False))
        self._work.wait(self._terms.wait_s)

    def _connect(self) -> Client:
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = Client()
        return self._own

    def _check(self) -> None:
        """Ask now what would else be told after hours: token, right, base."""
        client = self._connect()
        client.meta()  # asks once: a training does not wait for a server that is away
        who = client.whoami()
        if "push" not in who.scopes and "admin" not in who.scopes:
            raise Forbidden(
                f"the token of {who.principal} is for {', '.join(who.scopes)}, not for push",
                fix=f"deltareg token create --for {who.principal} --scope read --scope push",
            )
        allowed = client.members.explain(who.principal, "push", self._terms.line)
        if not allowed.allowed:
            raise Forbidden(f"{who.principal} may not push to {allowed.ref}", fix=allowed.fix)
        base = self._terms.base
        if base is not None and not Path(base).exists() and ":" not in base:
            client.bases.show(base)

    def _push(self, ready: TrainingState) -> None:
        try:
            self._notes.begin_push(ready.step, ready.labels)
            report = self._push_checkpoint(ready)
            self._notes.end_push(report.version.ref)
        except (DeltaregError, OSError) as error:
            self._offered.discard(ready.step)
            hint = f"; its files stay in {self._keep(ready)}" if ready.is_last else ""
            self._fail(error, ready.step, f"step {ready.step} was not pushed{hint}")
            self._remove(ready)
            return
        if self._failure is not None and self._failure[0] == ready.step:
            self._failure = None  # it went the second time
        self.reports.append(report)
        self._remove(ready)
        log.info("pushed %s, step %d, in %.1f s", report.version.ref, ready.step, report.seconds)

    def _push_checkpoint(self, ready: TrainingState) -> PushReport:
        client, terms = self._connect(), self._terms
        message = f"{terms.message}: step {ready.step}" if terms.message else f"step {ready.step}"

        def push(parents: Sequence[str]) -> PushReport:
            return client.push(
                ready.folder, terms.line, base=terms.base, parents=parents, message=message, labels=ready.labels
            )

        parents = self._parents(client, ready.step)
        try:
            return push(parents)
        except UploadClosed:
            raise
        except (Blocked, Conflict, NotFound) as error:
            if not parents or not _is_gone(client, parents[0]):
                raise
            log.warning("%s goes without its parent %s: %s", terms.line, parents[0], error.message)
            return push(())

    def _parents(self, client: Client, step: int) -> Sequence[str]:
        """Name what a state of a step was trained on from."""
        before = self._notes.before(step)
        if not before and self._notes.began_from is None:
            self._notes.began_from = self._beginning(client)
        parent = before or self._notes.began_from or ""
        return [parent] if parent else []

    def _beginning(self, client: Client) -> str:
        """Find the version that the training began from; empty for none."""
        parent = self._terms.parent
        if parent is None:
            return ""
        if not parent.startswith("@"):
            return client.show(parent).ref
        try:
            return client.show(f"{self._terms.line}{parent}").ref
        except NotFound:  # the line begins with this training, or the channel serves nothing
            return ""

    def _pass_over(self, ready: TrainingState) -> None:
        self._offered.discard(ready.step)
        self._remove(ready)
        log.info("step %d is passed over: a newer one is there to push", ready.step)

    def _keep(self, ready: TrainingState) -> Path:
        """Put what came of a training where no later run removes it: there may be no other copy."""
        target = self._notes.folder / _KEPT / ready.folder.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            return ready.folder.rename(target)
        except OSError:
            return ready.folder

    def _remove(self, ready: TrainingState) -> None:
        shutil.rmtree(ready.folder, ignore_errors=True)

    def _fail(self, error: DeltaregError | OSError, step: int | None, what: str) -> None:
        self._failure = (step, error)
        fix = error.fix if isinstance(error, DeltaregError) else ""
        message = error.message if isinstance(error, DeltaregError) else str(error)
        log.warning("%s: %s: %s%s", self._terms.line, what, message, f"; {fix}" if fix else "")


def _is_gone(client: Client, ref: str) -> bool:
    """Whether a version can be no parent any more."""
    try:
        version = client.show(ref)
    except (Blocked, NotFound):
        return True
    return version.is_revoked or version.is_deleted
