"""Answers are built of fields that they have, and read with whatever a newer release says."""

import importlib
import pkgutil

import pytest
from pydantic import ValidationError

import deltareg.pages
import deltareg.service.overview
import deltareg.service.runs
import deltareg.service.upkeep
import deltareg.wire
from deltareg.client import results
from deltareg.wire import Answer, CheckResult, RunCreate, VerdictReport, VersionInfo
from tests.client.report_values import version

PACKAGES = (
    deltareg.wire,
    deltareg.pages,
    deltareg.service.overview,
    deltareg.service.runs,
    deltareg.service.upkeep,
    results,
)
UNKNOWN = {"is_revokedd": True}


def kinds():
    """List every kind of answer that the registry or its client builds."""
    for package in PACKAGES:
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    known: set[type[Answer]] = set()
    left: list[type[Answer]] = [Answer]
    while left:
        left += (below := left.pop().__subclasses__())
        known.update(kind for kind in below if kind.__module__.startswith("deltareg"))
    return sorted(known, key=lambda kind: (kind.__module__, kind.__qualname__))


def newer(schema, defs, *, depth=0):
    """Make the smallest value that a schema admits, each object with a field that is not in it."""
    if "$ref" in schema:
        return newer(defs[schema["$ref"].rpartition("/")[2]], defs, depth=depth + 1)
    if "anyOf" in schema:
        return newer(schema["anyOf"][0], defs, depth=depth)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    make = {"object": fields_of, "array": items_of}.get(schema.get("type"), leaf)
    return make(schema, defs, depth=depth)


def fields_of(schema, defs, *, depth):
    wanted = {*schema.get("required", ())} if depth > 2 else schema.get("properties", {}).keys()
    given = {name: schema["properties"][name] for name in wanted}
    fields = {name: newer(each, defs, depth=depth) for name, each in given.items()}
    return UNKNOWN | fields if "properties" in schema else {}


def items_of(schema, defs, *, depth):
    one = [schema["items"]] if "items" in schema and depth < 5 else []
    return [newer(each, defs, depth=depth) for each in schema.get("prefixItems", one)]


def leaf(schema, defs, *, depth):
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    text = "x" * schema.get("minLength", 1)
    return {"string": text, "integer": least, "number": least, "boolean": True}.get(schema.get("type"))


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_field_that_an_answer_does_not_have_is_an_error_to_who_builds_it(kind):
    with pytest.raises(ValidationError) as refused:
        kind(**UNKNOWN)

    assert ("extra_forbidden", ("is_revokedd",)) in {(error["type"], error["loc"]) for error in refused.value.errors()}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_fields_of_a_newer_release_are_ignored_at_every_depth(kind):
    schema = kind.model_json_schema()

    read = kind.model_validate(newer(schema, schema.get("$defs", {})))

    assert "is_revokedd" not in str(read.model_dump())


def test_a_copy_has_no_field_that_its_answer_does_not_have():
    with pytest.raises(TypeError, match="VersionInfo has no field is_revokedd"):
        VersionInfo.model_validate(version().to_dict()).model_copy(update=UNKNOWN)


def test_a_copy_of_a_request_has_none_either():
    with pytest.raises(TypeError, match="RunCreate has no field is_revokedd"):
        RunCreate().model_copy(update=UNKNOWN)


def test_an_answer_within_a_request_may_have_new_fields_and_the_request_may_not():
    """A worker of the next release tells more of a check; what it asks has to be understood."""
    check = {"name": "finite", "verdict": "pass"}
    report = {
        "fence": 1,
        "verdict": "pass",
        "verifier": "",
        "suite_digest": "",
        "dtype": "",
        "seed": 0,
        "base_evidence": "exact",
        "environment": {},
    }

    read = VerdictReport.model_validate(report | {"checks": [check | UNKNOWN]})

    assert read.checks == [CheckResult(name="finite", verdict="pass")]
    with pytest.raises(ValidationError, match="is_revokedd"):
        VerdictReport.model_validate(report | {"checks": [check]} | UNKNOWN)


def test_the_schemas_of_answers_promise_no_end_of_fields():
    """A client that is generated from them must not refuse what a newer server says."""
    closed = [kind for kind in kinds() if "additionalProperties" in kind.model_json_schema()]

    assert closed == []
