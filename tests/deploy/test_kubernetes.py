"""The manifests of the Kustomize base, which are the chart's with its defaults, say what the code does."""

import yaml

from tests.deploy.kubernetes_tools import BASE, CHART, documents
from tests.deploy.manifests import check_manifests
from tests.deploy.test_deploy import VARIABLE, known_variables


def test_the_base_starts_commands_that_there_are_with_settings_that_there_are():
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]

    check_manifests([document for name in listed for document in documents((BASE / name).read_text())])

    assert {*listed, "kustomization.yaml"} == {path.name for path in BASE.iterdir()}


def test_every_variable_of_the_chart_is_a_setting():
    files = [*CHART.glob("templates/*"), *CHART.glob("ci/*"), CHART / "values.yaml"]

    named = {name for file in files for name in VARIABLE.findall(file.read_text()) if not name.endswith("_")}

    assert named - known_variables() == set()
