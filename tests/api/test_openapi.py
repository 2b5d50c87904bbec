"""The OpenAPI document is whole, and what the server really answers is what it says."""

import jsonschema
import pytest

from tests.api.test_authz import NAMES, QUERIES
from tests.fixtures.registries import SCOPES

OPEN = {  # before there is a token
    "/api/v1/queue/demand",
    "/api/v1/sign-in",
    "/api/v1/sign-in/devices",
    "/api/v1/sign-in/devices:fetch",
    "/api/v1/tokens:exchange",
    "/api/v1/workers:enrol",
}
METHODS = {"get", "put", "post", "patch", "delete"}


@pytest.fixture(scope="module")
def document(shared_registry):
    return shared_registry.http().get("/openapi.json").json()


def operations(document):
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_it_is_of_the_version_that_it_says(document):
    assert document["openapi"].startswith("3.1.")
    assert {"title", "version"} <= document["info"].keys()


def test_every_reference_leads_somewhere(document):
    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_every_schema_is_one(document):
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_operations_have_names_of_their_own_words_and_their_parameters(document):
    found = operations(document)
    names = [operation["operationId"] for _, _, operation in found]

    assert len(set(names)) == len(names)
    for path, _, operation in found:
        assert operation["summary"]
        assert operation["responses"]
        declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert declared == {part.split("}")[0] for part in path.split("{")[1:]}


def test_what_needs_a_token_says_so(document):
    for path, _, operation in operations(document):
        is_open = path in OPEN or not path.startswith("/api/")
        assert bool(operation.get("security")) != is_open


def test_answers_are_as_described(shared_registry, document):
    http = shared_registry.http(shared_registry.token(*SCOPES))
    run = http.get("/runs").json()["items"][0]["id"]
    verdict = http.get("/verdicts").json()["items"][0]["id"]
    names = NAMES | {"run_id": run, "verdict_id": verdict}
    seen = 0

    for path, method, operation in operations(document):
        schema = operation["responses"].get("200", {}).get("content", {}).get("application/json")
        if method != "get" or not schema or not schema.get("schema"):
            continue
        answer = http.get(shared_registry.url + path.format(**names), params=QUERIES.get(f"GET {path}"))
        if answer.status_code == 404 or "json" not in answer.headers["Content-Type"]:
            continue
        whole = {**schema["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(answer.json())
        seen += 1

    assert seen >= 15
