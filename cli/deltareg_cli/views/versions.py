"""Versions as facts and as rows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from deltareg_cli.terminal.blocks import (
    Block,
    Cell,
    Column,
    FactsBlock,
    Sentence,
    SentencesBlock,
    TableBlock,
    Text,
    TitleBlock,
    tone_word,
)
from deltareg_cli.terminal.wording import count, moment, short, size
from deltareg_cli.views.cards import card_facts, describe_card
from deltareg_cli.views.evidence import evidence_facts
from deltareg_cli.views.revocations import describe_deprecation, describe_revocation

if TYPE_CHECKING:
    from deltareg.wire import CardInfo, ProofState, VersionDetail, VersionInfo, VersionPulls
    from deltareg.wire.evidence import OutsideEvidence
    from deltareg.wire.versions import AlikeVersion

NO_VERSIONS = "no versions yet: deltareg push PATH NS/NAME --base REF"
_PROOFS: "dict[ProofState | None, Cell]" = {
    "proven": Cell("checked by a worker", "good"),
    "claimed": Cell("not checked by a worker yet", "warn"),
    "corrupt": Cell("corrupt: not what it says; push the same folder again", "bad"),
}


def version_answer(version: "VersionInfo", *, now: datetime, card: "CardInfo | None" = None) -> list[Block]:
    """Show a version in a few lines: what it is, whether it passes, where it serves, how to get it."""
    message = f': "{version.message}"' if version.message else ""
    head = SentencesBlock([Sentence(describe_version(version), Cell(version.ref, "name"))], gap=2)
    rows = [
        Sentence(f"pushed by {version.created_by}, {moment(version.created_at, now=now)}{message}", most_lines=1),
        *_states(version),
        Sentence("; ".join([describe_verdict(version), *_standing(version)]), most_lines=2),
    ]
    about = describe_card(card) if card is not None else ""
    if about:
        rows.append(Sentence(about, Cell("card:", "dim"), most_lines=1))
    if not (version.is_deleted or version.proof == "corrupt"):
        rows.append(Sentence(f"get it: deltareg pull {version.ref} --to DIR"))
    return [head, *(SentencesBlock([row]) for row in rows)]


def describe_version(version: "VersionInfo") -> str:
    """Describe a version in a clause: `lora r4 on llama, 68.6 kB, stored in 40.5 kB`."""
    from deltareg.wire import VersionDetail  # whoever has a version has loaded it

    rank = version.config.get("r") if isinstance(version, VersionDetail) else None
    ranked = f" r{rank}" if isinstance(rank, int) and rank > 0 else ""
    trained = f" (trained on {version.trained_on})" if version.trained_on else ""
    return f"{kind_of(version)}{ranked} on {version.base.name}{trained}, {sizes_of(version)}"


def describe_verdict(version: "VersionInfo") -> str:
    """Describe in a clause whether a version passes, and what to do where it does not."""
    if version.verdict == "pass":
        return (
            f"passes with warnings (deltareg verdict show {version.ref})"
            if version.has_warnings
            else "passes its checks"
        )
    if version.verdict:
        word = "FAILS" if version.verdict == "fail" else "INCONCLUSIVE"
        return f"{word} (deltareg verdict show {version.ref})"
    if version.superseded_by:
        return f"not verified, as {version.superseded_by} came first (deltareg verify {version.ref} --wait)"
    return f"not verified yet (deltareg verify {version.ref} --wait)"


def _states(version: "VersionInfo") -> list[Sentence]:
    """Say what makes a version one that nobody should take."""
    rows: list[Sentence] = []
    if version.is_deleted:
        rows.append(Sentence("nobody can pull it", Cell("DELETED:", "bad")))
    if version.revocation:
        rows.append(Sentence(describe_revocation(version.revocation), Cell("REVOKED", "bad")))
    if version.deprecation:
        rows.append(Sentence(describe_deprecation(version.deprecation), Cell("deprecated", "warn")))
    if version.base_claim:
        rows.append(Sentence(f"its files say it was trained on {version.base_claim}", Cell("note:", "warn")))
    if version.proof == "corrupt":
        rows.append(Sentence("what is stored is not what it says; push the same folder again", Cell("CORRUPT:", "bad")))
    return rows


def _standing(version: "VersionInfo") -> list[str]:
    """Say where a version serves, and the words that people have put on it."""
    serves = f"serves on {', '.join(version.channels)}" if version.channels else ""
    labels = f"labels {label_words(version.labels)}" if version.labels else ""
    signers = ", ".join(cell if isinstance(cell, str) else cell.text for cell in signers_of(version))
    return [part for part in (serves, version.semver or "", labels, f"signed by {signers}" if signers else "") if part]


def version_blocks(
    version: "VersionInfo",
    *,
    now: datetime,
    card: "CardInfo | None" = None,
    pulls: "VersionPulls | None" = None,
    evidence: Sequence["OutsideEvidence"] = (),
) -> list[Block]:
    """Show one version in full."""
    from deltareg.wire import VersionDetail  # as above

    rows: list[tuple[str, Text | Sequence[Text]]] = [
        ("kind", kind_of(version)),
        ("base", [Cell(version.base.name, "name"), Cell(short(version.base.root), "dim")]),
        ("trained on", version.trained_on),
        ("its files say", Cell(version.base_claim, "warn")),
        ("bytes", proof_cell(version.proof)),
        ("verdict", _verdict(version)),
        ("channels", ", ".join(version.channels)),
        ("label", version.semver or ""),
        ("labels", label_words(version.labels)),
        ("message", version.message),
        *(() if card is None else card_facts(card)),
        ("signed by", signers_of(version)),
        *evidence_facts(evidence),
        ("revoked", Cell(describe_revocation(version.revocation) if version.revocation else "", "bad")),
        ("deprecated", Cell(describe_deprecation(version.deprecation) if version.deprecation else "", "warn")),
        ("pushed", f"{moment(version.created_at, now=now)} by {version.created_by}"),
        ("pulled", "" if pulls is None else describe_pulls(pulls, now=now)),
        ("size", sizes_of(version)),
        *(_detail(version) if isinstance(version, VersionDetail) else ()),
        ("digest", version.digest),
    ]
    state = "deleted" if version.is_deleted else "revoked" if version.is_revoked else ""
    state = state or ("corrupt" if version.proof == "corrupt" else "")
    state = state or ("deprecated" if version.deprecation else "")
    return [TitleBlock(version.ref, state), FactsBlock(rows)]


def revocation_blocks(version: "VersionInfo") -> list[Block]:
    """Show whether a version is revoked, and which channels serve it nevertheless."""
    state = "revoked" if version.is_revoked else "not revoked"
    return [
        TitleBlock(version.ref, state),
        FactsBlock(
            [
                ("revoked", describe_revocation(version.revocation) if version.revocation else ""),
                ("served by", Cell(", ".join(version.channels), "warn" if version.is_revoked else "")),
            ]
        ),
    ]


def version_table(versions: "Sequence[VersionInfo]", *, now: datetime, if_empty: str = NO_VERSIONS) -> TableBlock:
    """Build the table of versions."""
    columns = [
        Column("version"),
        Column("kind"),
        Column("base"),
        Column("verdict"),
        Column("signed"),
        Column("channels"),
        Column("stored", is_number=True),
        Column("pushed"),
        Column("labels", is_prose=True),
        Column("message", is_prose=True),
    ]
    rows: list[list[Text]] = [
        [
            Cell(f"v{version.version}", "name"),
            kind_of(version),
            version.base.name,
            verdict_of(version),
            _describe_signatures(version),
            ", ".join(version.channels) or Cell("-", "dim"),
            size(version.stored_bytes),
            moment(version.created_at, now=now),
            label_words(version.labels),
            version.message,
        ]
        for version in versions
    ]
    if not any(version.labels for version in versions):
        at = [column.title for column in columns].index("labels")
        columns.pop(at)
        rows = [[*row[:at], *row[at + 1 :]] for row in rows]
    return TableBlock(columns, rows, if_empty=if_empty)


def label_words(labels: Mapping[str, str]) -> str:
    """Format labels on a line, as the command line takes them."""
    return " ".join(f"{key}={text}" if text else key for key, text in sorted(labels.items()))


def verdict_of(version: "VersionInfo") -> Cell:
    """Name a version's verdict, or the reason why it counts no more."""
    if version.is_deleted:
        return tone_word("deleted")
    if version.deprecation is not None and not (version.is_revoked or version.proof == "corrupt"):
        return Cell("deprecated", "warn")
    if version.is_revoked or version.proof == "corrupt":
        return Cell("revoked" if version.is_revoked else "corrupt", "bad")
    if version.superseded_by:
        return Cell("superseded", "dim")
    verdict = outcome_of(version)
    is_claimed = version.verdict and version.proof == "claimed"
    return Cell(f"{verdict.text} (claimed)", "warn") if is_claimed else verdict


def outcome_of(version: "VersionInfo") -> Cell:
    """Name a verdict; a pass with warnings says so."""
    if version.verdict == "pass" and version.has_warnings:
        return Cell("pass, warns", "warn")
    return tone_word(version.verdict)


def _verdict(version: "VersionInfo") -> Cell:
    """Describe a version's verdict, or why there is none and how to get one."""
    if version.verdict:
        return outcome_of(version)
    if not version.superseded_by:
        return Cell("none yet", "dim")
    reason = f"none: superseded by {version.superseded_by} before a worker began"
    return Cell(f"{reason}; deltareg verify {version.ref}", "dim")


def proof_cell(proof: "ProofState | None") -> Cell:
    """Describe the proof of stored bytes; empty where an older server does not report it."""
    return _PROOFS.get(proof, Cell(""))


def signers_of(version: "VersionInfo") -> list[Text]:
    """Name the signers of a version's files; a revoked signer counts for nothing."""
    return [
        Cell(f"{info.signed_by} (revoked)", "bad") if info.revoked else info.signed_by for info in version.signatures
    ]


def kind_of(version: "VersionInfo") -> str:
    """Name a version's kind with its variant."""
    variant = f" ({version.variant})" if version.variant not in {"", version.kind} else ""
    return f"{version.kind}{variant}"


def sizes_of(version: "VersionInfo") -> str:
    """Describe the sizes of a version: as files, as stored, and what a machine without it fetches."""
    cold = "" if version.cold_bytes is None else f", {size(version.cold_bytes)} for a cold pull"
    return f"{size(version.logical_bytes)} ({size(version.stored_bytes)} stored{cold})"


def describe_alike(alike: Sequence["AlikeVersion"]) -> str:
    """Name in one line the versions with the same tensors, or nearly the same."""
    first = alike[0]
    how = "the same tensors" if first.share == 1.0 else f"{min(first.share, 0.999):.1%} the same"
    others = f" and {count(len(alike) - 1, 'other')}" if len(alike) > 1 else ""
    return f"{how} as {first.ref}{', which is revoked' if first.is_revoked else ''}{others}"


def describe_pulls(pulls: "VersionPulls", *, now: datetime) -> str:
    """Describe who pulled a version and when last, in one line."""
    if pulls.last_at is None:
        return "never yet"
    last = pulls.by[0] if pulls.by else None
    by = f" by {last.principal}" if last is not None and last.last_at == pulls.last_at else ""
    others = f", {pulls.pullers} in all" if pulls.pullers > 1 else ""
    return f"last {moment(pulls.last_at, now=now)}{by}{others}, {count(pulls.pulls, 'pull')}"


def _describe_signatures(version: "VersionInfo") -> Cell:
    counting = [info for info in version.signatures if not info.revoked]
    if counting:
        return Cell("yes" if len(counting) == 1 else str(len(counting)), "good")
    return Cell("revoked", "bad") if version.signatures else Cell("-", "dim")


def _detail(version: "VersionDetail") -> list[tuple[str, Text | Sequence[Text]]]:
    tensors = f"{count(version.tensors, 'tensor')} in {count(version.modules, 'module')}"
    foldable = "can be folded into the base" if version.foldable else "can only be attached"
    return [
        ("tensors", [tensors, Cell(foldable, "dim")]),
        ("files", ", ".join(version.files)),
        ("golden outputs", version.golden),
        ("stack", " <- ".join([*version.stack, version.ref]) if len(version.stack) > 1 else ""),
        ("parents", ", ".join(version.parents)),
        ("sent by", Cell(version.sender, "bad")),
        ("relying", Cell(", ".join(version.relying), "warn")),
        ("made by", version.source),
    ]
