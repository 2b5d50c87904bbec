"""The chart and the Kustomize base by the real tools, over twelve sets of values, and held against schemas."""

import pytest
import yaml

from tests.deploy.kubernetes_tools import (
    BASE,
    CHART,
    KUSTOMIZE,
    RELEASES,
    SETS,
    base_files,
    documents,
    run,
    template,
    tool,
    why_not,
)
from tests.deploy.manifests import check_manifests

_WHY_NOT = why_not("helm", "kubectl")

pytestmark = [pytest.mark.soak, pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)]


def check_schemas(found):
    """Hold documents against the schemas of three releases; KEDA's are none of Kubernetes."""
    import kubernetes_validate

    for document in found:
        if not document["apiVersion"].startswith("keda.sh/"):
            for release in RELEASES:
                kubernetes_validate.validate(document, release, strict=True)


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.stem)
def test_a_set_of_values_gives_manifests_that_are_valid_and_true(values):
    run("helm", "lint", "--strict", CHART, "--values", values)

    found = documents(template("--values", values))

    check_schemas(found)
    check_manifests(found)


def test_there_are_twelve_sets():
    assert len(SETS) == 12


@pytest.mark.parametrize(
    "wrong", ["server.replicas=0", "store.url=file:///tmp", "database.secret=", "settings.LEASE_S=5", "worker.most=3"]
)
def test_values_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(AssertionError, match="values don't meet the specifications"):
        template("--set", wrong)


def test_what_the_schemas_hold_is_held():
    (server,) = [each for each in documents(template()) if each["kind"] == "Deployment"]
    server["spec"]["replicas"] = "two"

    with pytest.raises(Exception, match="two"):
        check_schemas([server])


def test_the_kustomize_base_is_the_chart():
    assert {path.name: path.read_text() for path in BASE.glob("*.yaml") if path.stem != "kustomization"} == base_files()


@pytest.mark.parametrize("folder", ["base", "example"])
def test_kustomize_builds_manifests_that_are_valid_and_true(folder):
    found = documents(run("kubectl", "kustomize", KUSTOMIZE / folder))

    check_schemas(found)
    check_manifests(found)


def test_the_example_changes_what_it_says():
    found = documents(run("kubectl", "kustomize", KUSTOMIZE / "example"))

    (server,) = [each for each in found if each["kind"] == "Deployment"]
    (scaled,) = [each for each in found if each["kind"] == "ScaledObject"]
    assert server["spec"]["replicas"] == 3
    assert scaled["spec"]["maxReplicaCount"] == 8
    assert "registry.example.com/deltareg-server:0.1.0" in yaml.safe_dump(server)
    assert tool("kubectl")
