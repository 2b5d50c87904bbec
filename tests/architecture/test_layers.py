"""Each import contract catches what it is there to forbid; `make lint` says that they hold."""

import json
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.architecture.tree import REPOSITORY, SOURCE_ROOTS

CONFIG = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = [contract["id"] for contract in CONFIG["contracts"]]

# contract, file (made or added to), line: an import that a tired person might write
PLANTS = [
    ("components", "cli/deltareg_cli/main.py", "import deltareg_verify"),
    ("components", "registry/deltareg/delta/fold.py", "import deltareg_cli"),
    ("components", "registry/deltareg/client/pull/attaching.py", "import deltareg_verify"),
    ("registry-layers", "registry/deltareg/errors.py", "import deltareg.digest"),
    ("registry-layers", "registry/deltareg/db/__init__.py", "import deltareg.service"),
    ("registry-layers", "registry/deltareg/client/__init__.py", "import deltareg.api"),
    ("registry-layers", "registry/deltareg/store/__init__.py", "import deltareg.db"),
    ("registry-layers", "registry/deltareg/utils.py", "import json"),
    ("engine-layers", "registry/deltareg/delta/kind.py", "import deltareg.delta.accounting"),
    ("service-rooms", "registry/deltareg/service/clock.py", "import deltareg.service.runs"),
    ("client-rooms", "registry/deltareg/client/cache/pins.py", "import deltareg.client.pull"),
    ("client-rooms", "registry/deltareg/client/asking/lines.py", "import deltareg.client.client"),
    ("client-rooms", "registry/deltareg/client/convert/mlx.py", "import deltareg.client.push.push"),
    ("database-rooms", "registry/deltareg/db/access/grants.py", "import deltareg.db.runs.runs"),
    ("database-rooms", "registry/deltareg/db/tables/runs.py", "import deltareg.db.lines.rows"),
    ("worker-rooms", "gpu_verify/deltareg_verify/child/main.py", "import deltareg_verify.supervisor.key"),
    ("worker-rooms", "gpu_verify/deltareg_verify/messages/report.py", "import deltareg_verify.engine.case"),
    ("command-line-rooms", "cli/deltareg_cli/terminal/blocks.py", "import deltareg_cli.views.runs"),
    ("command-line-rooms", "cli/deltareg_cli/tree/slips.py", "import deltareg_cli.commands"),
    ("pure-core", "registry/deltareg/identity/manifest.py", "import httpx"),
    ("pure-core", "registry/deltareg/gate/judge.py", "import sqlite3"),
    ("pure-core", "registry/deltareg/delta/kinds/lora.py", "import subprocess"),
    ("pure-core", "registry/deltareg/delta/merge/methods/svd.py", "import torch"),
    ("torch-in-the-engine", "registry/deltareg/delta/fold.py", "def f(): import torch"),
    ("torch-in-the-engine", "gpu_verify/deltareg_verify/__main__.py", "def f(): import torch"),
    ("lm-eval-in-its-harness", "registry/deltareg/suites/lm_task.py", "import datasets"),
    ("lm-eval-in-its-harness", "gpu_verify/deltareg_verify/judging/check.py", "import lm_eval"),
    ("texts-scored-in-one-room", "gpu_verify/deltareg_verify/judging/check.py", "import sacrebleu"),
    ("markup-is-drawn", "registry/deltareg/client/report_files/html.py", "import jinja2"),
    ("markup-is-drawn", "registry/deltareg/drawing/plots.py", "import markupsafe"),
    ("markup-is-drawn", "registry/deltareg/suites/lm_task.py", "def f(): import jinja2"),
    ("signed-in-one-room", "registry/deltareg/service/clock.py", "import cryptography"),
    ("signed-in-one-room", "registry/deltareg/client/context.py", "import securesystemslib"),
    ("providers-in-one-room", "registry/deltareg/service/clock.py", "import joserfc"),
    ("thin-cli", "cli/deltareg_cli/main.py", "import deltareg.service"),
    ("thin-cli", "cli/deltareg_cli/main.py", "import httpx"),
    ("client-sees-the-wire", "registry/deltareg/client/__init__.py", "import deltareg.store"),
    ("client-sees-the-wire", "registry/deltareg/client/__init__.py", "import sqlalchemy"),
    ("integrations-see-the-client", "registry/deltareg/integrations/x.py", "import deltareg.db"),
    ("worker-over-http", "gpu_verify/deltareg_verify/__main__.py", "import deltareg.db"),
    ("pages-are-mounted", "registry/deltareg/api/problems.py", "import deltareg.pages.guard"),
    ("no-framework-below-the-edge", "registry/deltareg/service/__init__.py", "import fastapi"),
    ("kinds-are-islands", "registry/deltareg/delta/kinds/bitfit.py", "import deltareg.delta.kinds.lora"),
    ("merges-are-islands", "registry/deltareg/delta/merge/methods/ties.py", "import deltareg.delta.merge.methods.dare"),
    ("one-door-to-s3", "registry/deltareg/service/__init__.py", "import deltareg.store.s3"),
    ("one-door-to-s3", "registry/deltareg/service/__init__.py", "import boto3"),
    ("settings-at-the-rim", "registry/deltareg/service/__init__.py", "import deltareg.api.settings"),
    ("traced-in-one-place", "registry/deltareg/service/__init__.py", "import opentelemetry"),
    ("pickles-are-converted", "registry/deltareg/delta/examine.py", "import deltareg.client.convert.torch_archive"),
    ("acyclic", "registry/deltareg/digest.py", "import deltareg.identity.manifest"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Give the linter's status and words for each plant and for none, in a copy of the source."""
    tree = tmp_path_factory.mktemp("tree")
    for root in SOURCE_ROOTS:
        shutil.copytree(REPOSITORY / root, tree / root, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(REPOSITORY / "pyproject.toml", tree)
    run = subprocess.run(
        [sys.executable, "-m", "tests.architecture.planted_imports", tree],
        cwd=REPOSITORY,
        input=json.dumps(PLANTS),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return dict(zip([None, *PLANTS], json.loads(run.stdout), strict=True))


@pytest.mark.soak
def test_the_contracts_hold(found):
    status, output = found[None]

    assert status == 0, output


@pytest.mark.soak
@pytest.mark.parametrize("plant", PLANTS, ids="-".join)
def test_a_bad_import_breaks_the_contract_meant_for_it(found, plant):
    status, output = found[plant]

    assert (status, "BROKEN" in output) == (1, True), output


def test_every_contract_is_shown_to_catch_something():
    assert {contract for contract, _, _ in PLANTS} == set(CONTRACTS)
