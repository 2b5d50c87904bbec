"""The pushes of one training: each state once, in the background, as a child of the one before.

A trainer's callback fills a folder that nobody else writes to and hands it over to this module. A
push that fails is logged and does not end the training, unless `strict` is set.
"""

import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from deltareg.client import Client, PushReport
from deltareg.errors import Blocked, Conflict, DeltaregError, InvalidInput, NotFound, UploadClosed
from deltareg.integrations.before_training import FOR_GOOD, check_before_training
from deltareg.integrations.newest_first import LatestOnlyQueue
from deltareg.integrations.run_notes import RunNotes, read_notes
from deltareg.refs import LineRef

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
        base: The base that is trained on: its name, its folder, or a version; None for the one in
            the adapter's config.
        trained_on: The base to insist on where the adapter's config names another one.
        parent: What the training started from: a version, or `@CHANNEL` for what it serves, if
            anything; None for nothing.
        message: Text before the message of each version.
        labels: Labels of every version.
        golden: Whether versions may have golden outputs.
        strategy: Whether to push every state that the trainer saves, or only the last.
        wait_s: How long the end of a training waits for the last push, in seconds.
        always_push: Whether a push, and the training, wait for the push before; otherwise states
            that come too fast are left out.
        strict: Whether a failed push ends the training.
    """

    line: str
    base: str | None = None
    trained_on: str | None = None
    parent: str | None = "@prod"
    message: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    golden: bool = True
    strategy: Strategy = "every_save"
    wait_s: float = 300.0
    always_push: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is loaded or trained.

        Raises:
            InvalidInput: The line is not a name for one, or there is no such strategy.
        """
        LineRef.parse(self.line)
        if self.strategy not in get_args(Strategy):
            names = " or ".join(get_args(Strategy))
            raise InvalidInput(f"strategy is {self.strategy!r}", fix=names)


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A state of a training that can be pushed.

    Attributes:
        folder: Its files, in a folder of its own, which is removed afterwards.
        step: How many updates it has had.
        labels: The labels of its version.
        is_last: Whether it is the result of the training, whose files are kept if they cannot be
            pushed.
    """

    folder: Path
    step: int
    labels: Mapping[str, str]
    is_last: bool = False


class CheckpointPushes:
    """Pushes the states of a training in the background.

    Attributes:
        reports: The reports of the pushes, in order.
    """

    def __init__(self, terms: PushTerms, client: Client | None = None) -> None:
        """Prepare; no request is sent yet.

        Args:
            terms: How to push.
            client: The client to push with, which stays open; None to open one when it is needed
                and close it at the end of a training.
        """
        self._terms, self._given = terms, client
        self._own: Client | None = None
        self._work = LatestOnlyQueue(self._push, self._pass_over)
        self._notes = RunNotes(Path(), terms.line)
        self._offered: set[int] = set()
        self._failure: tuple[int | None, DeltaregError | OSError] | None = None
        self.reports: list[PushReport] = []

    def begin(self, folder: Path, *, goes_on: bool, model: object = None) -> None:
        """Begin a training, or continue one that was interrupted.

        A fresh training does not start where its pushes would fail in any case. One that goes on is
        only warned, and so is one whose server is away.

        Args:
            folder: The training's own folder.
            goes_on: Whether it continues from a checkpoint.
            model: The model that is trained, if this process has all of it.

        Raises:
            DeltaregError: Pushing will not work.
        """
        place, target = folder / PLACE, self._terms.line
        self.reports.clear()
        try:
            client = self._connect()
            target = f"{client.config.server}/{target}"
            check_before_training(client, self._terms.line, self._terms.base, model=model)
        except (DeltaregError, OSError) as error:
            if isinstance(error, FOR_GOOD) and not goes_on:
                error.add_note(f"The training has not started: nothing of it could be pushed to {self._terms.line}.")
                raise
            self._fail(error, None, "nothing can be pushed as it is now")
        self._notes = read_notes(place, target) if goes_on else RunNotes(place, target)
        self._offered = set(self._notes.pushed)
        self._go_on_with(self._notes.pushing)
        shutil.rmtree(place / _STEPS, ignore_errors=True)  # what a killed run has left
        self.raise_failure()

    def folder_of(self, step: int) -> Path:
        """Return the folder in which the state of a step is prepared."""
        return self._notes.folder / _STEPS / f"step-{step}"

    def is_offered(self, step: int) -> bool:
        """Whether a step's state was handed over already, in this run or before an interruption."""
        return step in self._offered

    def offer(self, ready: TrainingState) -> None:
        """Have a state pushed; return at once, unless every state has to be pushed.

        Raises:
            DeltaregError, OSError: An earlier push failed; only with `strict`.
        """
        if self._terms.always_push:
            self._work.wait(self._terms.wait_s)
        self._offered.add(ready.step)
        self._work.put(ready)
        self.raise_failure()

    def settle(self) -> None:
        """Wait until the push under way has ended, so that its failure is known."""
        self._work.wait(self._terms.wait_s)

    def finish(self) -> None:
        """Wait for the pushes under way, for a limited time.

        Raises:
            DeltaregError, OSError: A push failed; only with `strict`.
        """
        is_over = self._work.wait(self._terms.wait_s)
        if not is_over:
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
        is_well = is_over and self._failure is None
        self.raise_failure()
        if is_well and self.reports:
            self._tell_success()

    def _tell_success(self) -> None:
        """Write the newest version and the next command, where whoever trains sees it."""
        ref, count = self.reports[-1].ref, len(self.reports)
        others = "" if count == 1 else f", the last of {count} versions"
        sys.stderr.write(f"pushed {ref}{others}; its verdict: deltareg verify {ref} --wait\n")

    def fail(self, error: DeltaregError | OSError, step: int) -> None:
        """Record an error in preparing a state.

        Raises:
            DeltaregError, OSError: The same error; only with `strict`.
        """
        self._fail(error, step, f"step {step} was not pushed")
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise the failure of a push, if there was one and it is to end the training."""
        failure, self._failure = self._failure, None
        if failure is not None and self._terms.strict:
            raise failure[1]

    def _go_on_with(self, left: tuple[int, Mapping[str, str]] | None) -> None:
        """Repeat the push that a killed run left: it may have arrived, and later ones need it."""
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
                ready.folder,
                terms.line,
                base=terms.base,
                trained_on=terms.trained_on,
                parents=parents,
                message=message,
                labels=ready.labels,
                golden=None if terms.golden else False,
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
        """Return the parents of a step's version."""
        before = self._notes.before(step)
        if not before and self._notes.began_from is None:
            self._notes.began_from = self._beginning(client)
        parent = before or self._notes.began_from or ""
        return [parent] if parent else []

    def _beginning(self, client: Client) -> str:
        """Return the version that the training started from; empty if there is none."""
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
        """Move a training's result to where no later run removes it; it may be the only copy."""
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
    """Whether a version can no longer be a parent."""
    try:
        version = client.show(ref)
    except (Blocked, NotFound):
        return True
    return version.is_revoked or version.is_deleted
