"""What workers find out on request: how far two versions are apart, and what they answer."""

from fastapi import Request, Response

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.idempotency import once
from deltareg.refs import Ref
from deltareg.service.runs import asking, comparing, finding_runs
from deltareg.wire import RunInfo
from deltareg.wire.findings import AnswerCreate, AnswersInfo, CompareCreate, FoundReport, VersionDifferences

router = closed_router("findings")


@router.post("/comparisons", response_model=RunInfo)
def queue_comparison(request: Request, registry: InRegistry, by: By, body: CompareCreate) -> Response:
    """Have a worker compare two versions, join the run that does, or give the one that has."""
    return once(request, registry, by, body, lambda: comparing.queue_comparison(registry, by, body))


@router.get("/comparisons")
def show_comparison(registry: InRegistry, by: By, a: str, b: str) -> VersionDifferences:
    """Show how far two versions are apart, as a worker found out, and the run that finds out."""
    return comparing.show_comparison(registry, by, by.current_ref(Ref.parse(a)), by.current_ref(Ref.parse(b)))


@router.post("/answers", response_model=RunInfo)
def ask(request: Request, registry: InRegistry, by: By, body: AnswerCreate) -> Response:
    """Have a worker answer a prompt by a base and its versions, side by side."""
    return once(request, registry, by, body, lambda: asking.ask(registry, by, body))


@router.get("/answers/{run_id}")
def show_answers(registry: InRegistry, by: By, run_id: str) -> AnswersInfo:
    """Show a prompt and what was answered, to who asked, for a day."""
    return asking.show_answers(registry, by, run_id)


@router.post("/runs/{run_id}:found")
def complete_found(registry: InRegistry, by: By, run_id: str, body: FoundReport) -> RunInfo:
    """End a run that finds something out, as its holder."""
    return finding_runs.complete_found(registry, by, run_id, body)
