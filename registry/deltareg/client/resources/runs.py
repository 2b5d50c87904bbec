"""Runs: verifications and other work of workers, from the queue to their end."""

from collections.abc import Callable, Mapping, Sequence

from deltareg import wire  # what few ask for is loaded on demand
from deltareg.client.asking.runs import follow_run, queue_verification, read_run_log
from deltareg.client.resources.resource import Resource
from deltareg.client.results.listing import Listing
from deltareg.errors import NotFound
from deltareg.refs import Ref, is_id, parse_id
from deltareg.wire import LogLine, Page, Priority, RunCreate, RunInfo, RunLog, VerdictInfo, WorkerInfo, request_of
from deltareg.words import PromptForm


class Runs(Resource):
    """The runs of a registry; one is named by its id, its verdict's, or a version's reference."""

    __slots__ = ()

    def verify(
        self,
        ref: str,
        *,
        suite: str = "smoke",
        again: bool = False,
        labels: Mapping[str, str] | None = None,
        priority: Priority = "normal",
        channel: str | None = None,
        variant: str = "",
        independent: bool = False,
        wait: bool = False,
        timeout_s: float = 3600.0,
    ) -> "RunInfo":
        """Queue a verification, or join the one under way; for a channel, bound to its policy.

        With `wait`, return it once it has ended, after `timeout_s` at the latest; its `verdict` has
        the checks. With `labels`, a worker that offers them verifies, even if there is a verdict from
        elsewhere. With `variant`, the verification uses that variant of the base. With
        `independent`, it is done by another worker, on another host, than those that have passed
        the version already.

        Raises:
            WaitTimeout: It has not ended in time, and goes on.
        """
        request = request_of(
            RunCreate,
            ref=ref,
            suite=suite,
            again=again,
            labels=dict(labels or {}),
            priority=priority,
            channel=channel,
            variant=variant,
            independent=independent,
        )
        return self._wait_if_asked(self.create(request), wait=wait, timeout_s=timeout_s)

    def prove(
        self, ref: str = "", *, base: str = "", again: bool = False, wait: bool = False, timeout_s: float = 3600.0
    ) -> RunInfo:
        """Queue a proof of the bytes of a version or a base, or join the one under way.

        What is proven already is proved again only with `again`. With `wait`, return it once it has
        ended.
        """
        run = self.create(request_of(RunCreate, what="prove", ref=ref, base=base, again=again))
        return self._wait_if_asked(run, wait=wait, timeout_s=timeout_s)

    def create(self, wanted: RunCreate) -> RunInfo:
        """Queue the verification or proof that a request describes, or join one under way."""
        return queue_verification(self._context, wanted)

    def compare(self, a: str, b: str, *, again: bool = False, wait: bool = False, timeout_s: float = 3600.0) -> RunInfo:
        """Have a worker compare two versions; return the new run, or the one under way or done.

        With `wait`, return it once it has ended.
        """
        request = request_of(wire.CompareCreate, a=a, b=b, again=again)
        run = self._context.api.post("/comparisons", request, RunInfo)
        return self._wait_if_asked(run, wait=wait, timeout_s=timeout_s)

    def comparison(self, a: str, b: str) -> "wire.VersionDifferences":
        """Show how far apart two versions are, as far as workers have compared them."""
        return self._context.api.get("/comparisons", wire.VersionDifferences, a=a, b=b)

    def ask(
        self,
        prompt: str,
        *refs: str,
        tokens: int = 64,
        seed: int | None = None,
        form: PromptForm = "auto",
        wait: bool = False,
        timeout_s: float = 3600.0,
    ) -> RunInfo:
        """Have a worker answer a prompt with a base and one or two versions of it, side by side.

        Args:
            prompt: The text to continue, or a user's message.
            refs: The versions.
            tokens: How many tokens each writes at most.
            seed: The seed to sample tokens with; None takes the likeliest token.
            form: `chat` puts the prompt into a chat template, `plain` leaves it as it is, and
                `auto` uses a template if the version or the base has one.
            wait: Whether to return the run only once it has ended; `answers` then shows the answers.
            timeout_s: How long to wait at most.

        Raises:
            QuotaExceeded: Too many questions were asked; the error says when to ask again.
        """
        request = request_of(wire.AnswerCreate, prompt=prompt, refs=list(refs), tokens=tokens, seed=seed, form=form)
        run = self._context.api.post("/answers", request, RunInfo)
        return self._wait_if_asked(run, wait=wait, timeout_s=timeout_s)

    def answers(self, run: RunInfo | str) -> "wire.AnswersInfo":
        """Show a question and its answers; for a day, and only to the principal who asked."""
        run_id = run if isinstance(run, str) else run.id
        return self._context.api.get(f"/answers/{parse_id(run_id, 'run')}", wire.AnswersInfo)

    def wait(
        self,
        run: RunInfo | str,
        *,
        timeout_s: float = 3600.0,
        on_change: Callable[[RunInfo], None] | None = None,
        on_line: Callable[[LogLine], None] | None = None,
        is_needless: Callable[[], bool] | None = None,
    ) -> RunInfo:
        """Wait until a run has ended, and report its changes and the lines of its log.

        Args:
            run: The run, or its id.
            timeout_s: How long to wait at most.
            on_change: Called with the run whenever it has changed.
            on_line: Called with each line of its log, in order.
            is_needless: Called now and then; where it returns true, the wait ends though the run
                goes on.

        Raises:
            WaitTimeout: The run has not ended in time.
        """
        run_id = run if isinstance(run, str) else run.id
        return follow_run(
            self._context, run_id, timeout_s=timeout_s, on_change=on_change, on_line=on_line, is_needless=is_needless
        )

    def show(self, run_id: str) -> RunInfo:
        """Show a run."""
        return self._context.api.get(f"/runs/{parse_id(run_id, 'run')}", RunInfo)

    def find(self, text: str) -> RunInfo:
        """Find a run by its id or its verdict's id, or the newest verification of a version.

        Raises:
            NotFound: There is no such run.
        """
        if is_id(text):
            try:
                return self.show(text)
            except NotFound:
                return self.show(self._run_of(text))
        ref = Ref.parse(text)
        page = self._list("/runs", Page[RunInfo], ref=str(ref), what="verify", limit=1)
        if not page.items:
            raise NotFound(f"nothing was ever run for {ref}", fix=f"deltareg verify {ref}")
        return page.items[0]

    def log(self, run_id: str, *, after: int = 0) -> RunLog:
        """Read a run with a page of its log, starting after a line number."""
        return read_run_log(self._context, run_id, after=after)

    def list(self, *, state: str | None = None, cursor: str | None = None, limit: int = 50) -> Listing[RunInfo]:
        """List runs, newest first."""
        return self._list("/runs", Page[RunInfo], state=state, cursor=cursor, limit=limit)

    def queue(self, ref: str | None = None, *, cursor: str | None = None, limit: int = 50) -> Listing[RunInfo]:
        """List the runs under way, and then the waiting ones, the next one first."""
        return self._list("/queue", Page[RunInfo], ref=ref, cursor=cursor, limit=limit)

    def cancel(self, text: str) -> RunInfo:
        """Cancel a run that waits or is under way; named as for `find`.

        Raises:
            Conflict: The run has ended already.
        """
        return self._act(text, "cancel")

    def rerun(self, text: str) -> RunInfo:
        """Queue a verification again, with the suite's current version; named as for `find`."""
        return self._act(text, "rerun")

    def workers(self) -> Listing[WorkerInfo]:
        """List the workers of the last day, and what each of them runs."""
        return self._list("/workers", Page[WorkerInfo])

    def demand(
        self, pool: str, *, labels: Mapping[str, str] | None = None, what: Sequence[str] = (), asked: bool = False
    ) -> "wire.PoolDemand":
        """Count the runs that want a worker of a pool, whose workers offer these labels.

        Args:
            pool: The pool's name.
            labels: What its workers offer beside it: `device`, `gpu`, ….
            what: The kinds of runs that they take; all by default.
            asked: Whether runs that ask for nothing are left to other pools.
        """
        pairs = [f"{name}={value}" for name, value in (labels or {}).items()]
        query: dict[str, str | bool | Sequence[str]] = {
            "pool": pool,
            "label": pairs,
            "what": list(what),
            "asked": asked,
        }
        return self._context.api.request("GET", "/queue/demand", wire.PoolDemand, query=query)

    def _wait_if_asked(self, run: RunInfo, *, wait: bool, timeout_s: float) -> RunInfo:
        return self.wait(run, timeout_s=timeout_s) if wait else run

    def _act(self, text: str, verb: str) -> RunInfo:
        run_id = text if is_id(text) else self.find(text).id
        try:
            return self._context.api.post(f"/runs/{run_id}:{verb}", None, RunInfo)
        except NotFound:
            return self._context.api.post(f"/runs/{self._run_of(text)}:{verb}", None, RunInfo)

    def _run_of(self, verdict_id: str) -> str:
        try:
            return self._context.api.get(f"/verdicts/{verdict_id}", VerdictInfo).run
        except NotFound as error:
            raise NotFound(
                f"there is neither a run nor a verdict {verdict_id}",
                fix="deltareg verdict ls NS/NAME:vN, or deltareg verdict ls --pending",
            ) from error
