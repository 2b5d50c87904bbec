"""The pages that have console blocks, and what each is run on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.docs import preparing
from tests.docs.blocks import read_blocks
from tests.docs.desks import Desk

HOWTOS = REPOSITORY / "docs" / "howto"


@dataclass(frozen=True, slots=True)
class Page:
    """How a page is run.

    Attributes:
        prepare: Lays what the page presumes.
        is_real: Whether its commands need `deltareg up` with its worker.
        is_judged: Whether verifications pass by themselves, where no worker computes.
    """

    prepare: Callable[[Desk], object] = lambda _: None
    is_real: bool = False
    is_judged: bool = True


def every_page() -> list[Path]:
    """List the pages that people read: not what is generated, and no decisions."""
    docs = sorted((REPOSITORY / "docs").glob("*.md")) + sorted(HOWTOS.glob("*.md"))
    return [REPOSITORY / "README.md", REPOSITORY / "deploy" / "README.md", *(p for p in docs if p.stem != "cli")]


def pages() -> list[Path]:
    """List the pages that have console blocks."""
    return [path for path in every_page() if any(block.is_console for block in read_blocks(path))]


def name_of(path: Path) -> str:
    """Name a page as the table below does."""
    return path.stem if path.name != "README.md" else path.relative_to(REPOSITORY).as_posix()


# What a stranger reads first: run each time. The others run in the soak.
FIRST = frozenset({"approvals", "bases", "policies"})
PAGES: dict[str, Page] = {
    "apply": Page(preparing.apply),
    "approvals": Page(preparing.approvals),
    "ask-versions": Page(preparing.asked, is_real=True),
    "attach": Page(preparing.attach),
    "audit-log": Page(preparing.chat, is_real=True),
    "bases": Page(preparing.bases),
    "clusters": Page(preparing.clusters),
    "compare-behaviour": Page(preparing.asked, is_real=True),
    "convert": Page(preparing.convert),
    "data-tools": Page(preparing.data_tools),
    "deploy/README.md": Page(is_real=True),
    "diffusion": Page(preparing.diffusion, is_real=True),
    "events": Page(preparing.events),
    "find-versions": Page(preparing.find),
    "follow-a-channel": Page(preparing.follow),
    "gate-ci": Page(preparing.gate_ci),
    "hugging-face": Page(preparing.hugging_face, is_real=True),
    "lock-versions": Page(preparing.chat),
    "lost-tokens": Page(is_real=True),
    "members": Page(preparing.members),
    "merge": Page(preparing.merge),
    "move-to-another-base": Page(preparing.move_to_another_base),
    "move-versions": Page(preparing.move_versions),
    "oci": Page(lambda desk: preparing.chat(desk, line="team/chat", base="llama")),
    "operate": Page(preparing.chat, is_real=True),
    "outside-evidence": Page(preparing.chat),
    "pages": Page(lambda desk: preparing.chat(desk, line="team/chat")),
    "policies": Page(preparing.chat),
    "quantised-bases": Page(preparing.quantised, is_real=True),
    "record-outputs": Page(lambda desk: preparing.adapters(desk, "adapter", base="llama-3.1-8b")),
    "rename-and-retire": Page(preparing.samples),
    "run-workers": Page(preparing.chat),
    "s3-permissions": Page(is_real=True),
    "sign-deltas": Page(lambda desk: preparing.chat(desk, versions=1, promoted=1)),
    "signed-verdicts": Page(preparing.chat),
    "stack-deltas": Page(preparing.samples),
    "suites": Page(preparing.suites, is_real=True),
    "take-back": Page(preparing.chat),
    "train-and-push": Page(lambda desk: preparing.adapters(desk, "start", base="llama-3.1-8b")),
    "train-and-serve": Page(lambda desk: desk.lay("base", "bases/tinyllama"), is_real=True),
    "troubleshooting": Page(lambda desk: preparing.chat(desk, versions=1, promoted=0), is_judged=False),
}
