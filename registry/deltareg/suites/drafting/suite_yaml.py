"""A draft as the YAML file of a suite, with a comment for every line that a person may change."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import cast

from deltareg.documents.yaml_document import write_yaml
from deltareg.suites.catalogue import CATALOGUE
from deltareg.suites.drafting.draft import Draft, DraftComparison
from deltareg.suites.suite import DEFAULT_SUITE, CheckSpec, built_in
from deltareg.tensors.header import strict_json_object

_WIDTH = 96


def write_draft(draft: Draft, *, command: str) -> str:
    """Write the file of a suite.

    Args:
        draft: The content.
        command: The command line that made it, for later readers of the file.
    """
    return "".join(
        f"{line}\n" for line in [*_head(draft, command), *_sets(draft), "checks:", *_defaults(), *_comparisons(draft)]
    )


def _head(draft: Draft, command: str) -> Iterator[str]:
    source = draft.source
    yield f"# Drafted by: {command}"
    yield from _comment(f"{source.task}: {source.by}.")
    yield from _comment(_describe_source(draft))
    for note in draft.notes:
        yield from _comment(f"{note}.")
    yield f"name: {draft.name}"
    yield f"about: {_quote_text(f'What versions of {draft.line} have to hold on data of their own.')}"
    yield "seed: 0                # of everything that is drawn, such as the seeded probe"


def _describe_source(draft: Draft) -> str:
    source = draft.source
    text = f"{draft.n} of {source.rows} rows are samples"
    if source.repeats:
        text += f"; {source.repeats} that another row holds were left out"
    if source.training:
        text += f"; {source.leaked} that {source.training} holds were left out"
    else:
        text += "; nobody said what was trained on, so a row may have been: --training FILE"
    return f"{text}."


def _sets(draft: Draft) -> Iterator[str]:
    yield "sets:"
    yield f"  # What the line is for. {_row_form(draft)}"
    yield f"  in_domain: {{file: {draft.file}}}"
    if draft.source.classes and not all(map(str.isdecimal, draft.source.classes)):
        labels = (f"{at} {label}" for at, label in enumerate(draft.source.classes))
        yield from _comment(f"Labels: {', '.join(labels)}.", indent="  ")
    if draft.general.texts:
        yield from _comment(f"What must not be forgotten: {draft.general.describe()}.", indent="  ")
        yield f"  general: {{file: {general_file(draft.name)}}}"


def _row_form(draft: Draft) -> str:
    if draft.file.endswith(".safetensors"):
        return "One row a sample, as the base's processor gives it."
    return "One sample a line."


def general_file(name: str) -> str:
    """Return the name of the file with general texts."""
    return f"{name}-general.jsonl"


def _defaults() -> Iterator[str]:
    """Write the checks of `smoke`, which every version must pass and which need no probe set."""
    yield from _comment(
        f"What {DEFAULT_SUITE} asks of every version: it is whole, fits its base and does "
        "something. Leave these in; `deltareg suite lint` tells which are missing.",
        indent="  ",
    )
    for spec in default_checks():
        yield f"  - {_flow(spec)}"


def default_checks() -> list[CheckSpec]:
    """Return the checks of the default suite that are required and have no probe set of their own."""
    return [spec for spec in built_in(DEFAULT_SUITE).checks if spec.required and not spec.probes]


def _flow(spec: CheckSpec) -> str:
    """Write a check on one line: only its name if all settings are defaults."""
    form = CATALOGUE.get(spec.check)
    usual: Mapping[str, object] = {} if form is None else form.parameters
    parameters = {key: value for key, value in spec.parameters.items() if usual.get(key) != value}
    fields: dict[str, object] = {"check": spec.check}
    if spec.name != spec.check:
        fields["name"] = spec.name
    if parameters:
        fields["parameters"] = parameters
    document = strict_json_object(built_in(DEFAULT_SUITE).document)
    checks = cast("list[Mapping[str, object]]", document["checks"])
    own = next(one for one in checks if one["name"] == spec.name)
    if "threshold" in own:
        fields["threshold"] = own["threshold"]
    if len(fields) == 1:
        return spec.check
    return json.dumps(fields)


def _comparisons(draft: Draft) -> Iterator[str]:
    for one in draft.comparisons:
        yield ""
        yield from _comment(_sentence(one.why), indent="  ")
        if one.misses:
            yield from _comment(f"Lets through: {one.misses}.", indent="  ")
        yield from _write_comparison(one)


def _write_comparison(one: DraftComparison) -> Iterator[str]:
    measure = one.measure
    better = "" if measure.greater_is_better else ", greater_is_better: false"
    yield f"  - check: {measure.check}"
    yield f"    name: {one.name}"
    yield f"    probes: {one.probes}"
    yield f"    against: {one.against}"
    if one.reference:
        yield f"    reference: {one.reference}"
    parameters = {"undecided": one.undecided, **measure.parameters}
    text = ", ".join(f"{name}: {value}" for name, value in parameters.items())
    yield f"    parameters: {{{text}}}"
    least = "" if one.least is None else f"threshold: {one.least:g}, "
    yield f"    threshold: {{{least}{measure.term}: {one.change:g}{better}}}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _comment(text: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _quote_text(text: str) -> str:
    return write_yaml({"about": text}).removeprefix("about: ").strip()
