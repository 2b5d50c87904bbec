"""The planted suites as files that `deltareg suite push` takes: one for every base, and its probes.

    python -m tests.planted.suites FOLDER

Texts go into lines of JSON, pictures into safetensors; both with labels where there are classes.
"""

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

from deltareg.suites.suite import built_in
from tests.planted import data
from tests.planted.bases import SUBJECTS, domain_probe
from tests.planted.rules import Rule, rules_of

NORM_CAP = 8
"""What these small networks and their high learning rates ask for; `smoke` allows more."""
SENTENCES, _LABELLED = 64, 256
_HEAD = """\
name: planted-{base}
about: What the planted deltas of {base} are held against.
seed: 20260117
sets:
  tuned: {{file: {base}-tuned.{suffix}}}
  general: {{file: {base}-general.{suffix}}}
checks:
"""
_RULE = """\
  - check: {check}
    name: {name}
    probes: {domain}
    against: {against}
    parameters: {{undecided: {undecided}}}
    threshold: {{{term}: {change}, greater_is_better: {better}}}
"""


def write_suite(base: str, folder: Path, *, sentences: int = SENTENCES) -> Path:
    """Write a base's suite and the probe files that it names, of so many sentences each."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "safetensors" if base == "vit" else "jsonl"
    for domain in ("general", "tuned"):
        _write_probes(base, domain, folder / f"{base}-{domain}.{suffix}", sentences)
    rules = rules_of(is_language=SUBJECTS[base].is_language)
    path = folder / f"planted-{base}.yaml"
    path.write_text(_HEAD.format(base=base, suffix=suffix) + _of_smoke() + "".join(map(_rule, rules)))
    return path


def _of_smoke() -> str:
    """Write the checks of `smoke`, without the one that only reports, and with a cap of their own."""
    caps = {
        "norm_ratio": f"{{check: norm_ratio, parameters: {{fail_above: {NORM_CAP}}}}}",
        "deterministic": "{check: deterministic, parameters: {new_tokens: 0}}",
    }
    names = [spec.check for spec in built_in("smoke").checks if spec.check != "resources"]
    return "".join(f"  - {caps.get(name, name)}\n" for name in names)


def _rule(rule: Rule) -> str:
    return _RULE.format(
        check="perplexity" if rule.is_language else "accuracy",
        name=rule.name,
        domain=rule.domain,
        against=rule.against,
        # What a delta was trained for it has to show. That it loses no more than it may, elsewhere
        # and beside the promoted version, few samples can refute and never show.
        undecided="fail" if rule.change > 0 else "warn",
        term="min_relative_change" if rule.is_language else "min_absolute_change",
        change=rule.change,
        better=str(not rule.is_language).lower(),
    )


def _write_probes(base: str, domain: data.Domain, path: Path, sentences: int) -> None:
    is_language = SUBJECTS[base].is_language
    probe = domain_probe(base, domain, sentences if is_language else _LABELLED, seed=5)
    if path.suffix == ".safetensors":
        save_file(probe, path)
        return
    words = data.vocabulary()
    texts = [" ".join(words[number] for number in row) for row in probe["input_ids"].tolist()]
    lines = [{"text": text} for text in texts]
    if not is_language:
        labelled = zip(texts, probe["labels"].tolist(), strict=True)
        lines = [{"text": text, "label": label} for text, label in labelled]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def main(folder: Path) -> None:
    """Write the suites of all bases."""
    for base in SUBJECTS:
        print(write_suite(base, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
