"""The suite of a line of the second set, beside `smoke`: what `suite init` drafts of held data.

The line's owner has some hundred samples that no training has seen, and one version, which is
promoted. What a person gets who types `deltareg suite init` is what is judged by here: the same
functions read the files, run the version and write the YAML. Where `suite init` takes no such data,
as for speech, the suite is one that a person writes after docs/howto/suites.md.
"""

import hashlib
import inspect
import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from deltareg import Client, statistics
from deltareg.client.drafting import draft_suite
from deltareg.client.drafting.draft_suite import DraftRequest
from deltareg.client.resources.suites import read_suite_file
from deltareg.refs import LineRef
from deltareg.suites import drafting
from deltareg.suites.suite import Suite
from deltareg_verify.engine import measures
from deltareg_verify.workbench import pilot
from tests.planted.more.subject import Subject

SAMPLES, _GENERAL_SAMPLES = 200, 100
# What may be lost in general is twice of what the worst healthy one of the tuning half loses.
_BY_HAND = """\
name: second-{base}
about: What the second planted set holds deltas of {base} against, beside smoke.
seed: 20260117
sets:
  in_domain: {{file: {base}-tuned.safetensors}}
  general: {{file: {base}-general.safetensors}}
checks:
  - {{check: transcription, name: in_domain, probes: in_domain, against: base, \
parameters: {{measure: cer}}, threshold: {{min_absolute_change: 0.02, greater_is_better: false}}}}
  - {{check: transcription, name: kept, probes: in_domain, against: promoted, \
parameters: {{measure: cer}}, threshold: {{min_absolute_change: -0.05, greater_is_better: false}}}}
  - {{check: transcription, name: general, probes: general, against: base, \
parameters: {{measure: cer}}, threshold: {{min_absolute_change: -0.18, greater_is_better: false}}}}
"""


@cache
def suite_for(subject: Subject, base: Path, promoted: Path, folder: Path, *, samples: int = SAMPLES) -> Suite | None:
    """Write a line's suite with its probe sets into a folder, once, and read it as a push does.

    Args:
        subject: The base.
        base: Its folder.
        promoted: The delta that the line has promoted.
        folder: Where the files come to lie.
        samples: How many samples the line's owner has.

    Returns:
        None where no worker runs the base.
    """
    if subject.is_static:
        return None
    path = folder / f"second-{subject.name}.yaml"
    if not path.exists():
        made = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        if subject.held is None:
            _by_hand(subject, made, samples)
        else:
            _drafted(subject, base, promoted, made, samples)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return read_suite_file(path)[0]


def code_of_suites() -> Iterator[bytes]:
    """Give the source of all that writes a suite here: what drafts, and what it measures by."""
    yield Path(__file__).read_bytes()
    for one in (drafting, draft_suite, pilot, statistics, measures):
        yield from sources_of(one)


def sources_of(one: ModuleType) -> Iterator[bytes]:
    """Give the source of a module, or of all that a package has."""
    path = Path(inspect.getfile(one))
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    yield from (file.read_bytes() for file in files)


def digest_of_suites() -> str:
    """Say by some letters what writes a suite here; a folder of suites is named by it."""
    return hashlib.sha256(b"\0".join(code_of_suites())).hexdigest()[:10]


def _drafted(subject: Subject, base: Path, promoted: Path, out: Path, samples: int) -> None:
    """Do what `deltareg suite init` does for a line with one version."""
    assert subject.held is not None, "there is data to draft from"
    data, prepared = out / "data", out / "prepared"
    for one in (data, prepared):
        one.mkdir()
    wanted = DraftRequest(
        LineRef.parse(f"planted/{subject.name}"), subject.held(samples, data), name=f"second-{subject.name}", out=out
    )
    with Client("http://127.0.0.1:9") as client:  # nothing is asked of it
        drafting = client.suites.drafting
        found = drafting.read(wanted)
        general = drafting.general(wanted, found)
        request = drafting.prepare(found, prepared, general=general)
        at_hand = {
            "base": base,
            "cache": out / "cache",
            "device": "cpu",
            "threads": 1,
            "versions": [{"ref": "planted/line:v1", "delta": promoted, "convention": ""}],
        }
        asked = out / "request.json"
        asked.write_text(json.dumps({**at_hand, **request}, default=str))
        answer = pilot.run(pilot.PilotRequest.decode(asked.read_bytes()))
        drafting.write(wanted, found, prepared, answer=answer, general=general, command="suite init")
    for one in (data, prepared, out / "cache"):
        shutil.rmtree(one, ignore_errors=True)


def _by_hand(subject: Subject, out: Path, samples: int) -> None:
    assert subject.probes is not None, "somebody wrote its samples"
    counts = {"tuned": samples, "general": min(samples, _GENERAL_SAMPLES)}
    for domain, count in counts.items():
        (out / f"{subject.name}-{domain}.safetensors").write_bytes(
            subject.probes(domain, count)  # type: ignore[arg-type]  # one of the two domains
        )
    (out / f"second-{subject.name}.yaml").write_text(_BY_HAND.format(base=subject.name))
