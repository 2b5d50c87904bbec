"""The CI files that promote do what they say: their steps are run as they stand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.architecture.tree import REPOSITORY
from tests.fixtures.processes import XDG

pytestmark = pytest.mark.slow
CI = REPOSITORY / "deploy" / "ci"
SAMPLES = REPOSITORY / "tests" / "samples"
BIN = Path(sys.executable).parent
GITHUB = yaml.safe_load((CI / "github" / "promote" / "action.yml").read_text())
GITLAB_SPEC, GITLAB_JOBS = (CI / "gitlab" / "promote.yml").read_text().split("\n---\n")
URL = "https://github.example/team/model/actions/runs/7"
GITHUB_CONTEXT = {
    "github.server_url": "https://github.example",
    "github.repository": "team/model",
    "github.run_id": "7",
}


@pytest.fixture(scope="module")
def server(shared_registry):
    """Run a registry in which one line passed its verification."""
    client = shared_registry.client()
    client.push(SAMPLES / "deltas" / "tinyllama" / "lora", "move/good", base="tinyllama")
    shared_registry.verified("move/good:v1")
    return shared_registry


@pytest.fixture
def job(server, tmp_path):
    return Job(tmp_path, server.url, server.token("read", "promote", principal="deployer"))


class Job:
    """A job's folder, and what its CI would hand to it."""

    def __init__(self, folder, server, token):
        self._folder, self._server, self._token = folder, server, token
        homes = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in XDG}
        path = f"{BIN}:{os.environ['PATH']}"
        settings = {"PROMOTE_RETRY_WAIT": "0", "DELTAREG_PATIENCE": "0"}
        self._environ = {**os.environ, **homes, **settings, "PATH": path}

    def github(self, **inputs):
        """Run the action's steps in the shells that they name, from a file, as a runner does."""
        given = {"server": self._server, "token": self._token} | inputs
        values = {
            f"inputs.{name}": filled(str(spec.get("default", "")), GITHUB_CONTEXT)
            for name, spec in GITHUB["inputs"].items()
        }
        values |= {f"inputs.{name.replace('_', '-')}": value for name, value in given.items()}
        (step,) = GITHUB["runs"]["steps"]
        assert step["shell"] == "sh"
        variables = {name: filled(value, values) for name, value in step["env"].items()}
        for name in ("outputs", "summary.md"):
            (self._folder / name).write_text("")
        return self._shell(
            step["run"],
            variables
            | {
                "GITHUB_ACTION_PATH": str(CI / "github" / "promote"),
                "GITHUB_ACTIONS": "true",
                "GITHUB_OUTPUT": str(self._folder / "outputs"),
                "GITHUB_STEP_SUMMARY": str(self._folder / "summary.md"),
            },
        )

    def gitlab(self, gated="", **inputs):
        """Run the job's script; gives its end, and the variables that later jobs read."""
        spec = yaml.safe_load(GITLAB_SPEC)["spec"]["inputs"]
        given = {"server": self._server, "image": "x", "script": str(CI / "promote.sh")} | inputs
        values = {name: given.get(name, field.get("default")) for name, field in spec.items()}
        assert None not in values.values()
        text = re.sub(r"\$\[\[ inputs\.([\w-]+) \]\](?=\S)", lambda m: values[m[1]], GITLAB_JOBS)
        text = re.sub(r"-\$\[\[ inputs\.([\w-]+) \]\]", lambda m: f"-{values[m[1]]}", text)
        text = re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda m: json.dumps(values[m[1]]), text)
        (made,) = yaml.safe_load(text).values()
        variables = made["variables"] | {
            "DELTAREG_PROMOTE_TOKEN": self._token,
            "PROMOTE_REASON": URL,
            "GATED_REF": gated,
        }
        ended = self._shell("\n".join(made["script"]), variables)
        dotenv = self._folder / "work" / made["artifacts"]["reports"]["dotenv"]
        return ended, dict(line.split("=", 1) for line in dotenv.read_text().splitlines()), made

    @property
    def outputs(self):
        lines = (self._folder / "outputs").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def summary(self):
        return (self._folder / "summary.md").read_text()

    def _shell(self, script, variables):
        work = self._folder / "work"
        work.mkdir(exist_ok=True)
        file = self._folder / "step.sh"
        file.write_text(script)
        return subprocess.run(
            ["sh", "-e", file], text=True, cwd=work, env=self._environ | variables, capture_output=True, check=False
        )


def filled(text, values):
    """Fill in the `${{ … }}` of a value."""
    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: values[match[1]], text)


def test_the_files_have_the_form_that_their_ci_reads():
    check = subprocess.run(
        [
            BIN / "check-jsonschema",
            "--builtin-schema",
            "vendor.github-actions",
            CI / "github" / "promote" / "action.yml",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    scripts = [step.get("run", "") for step in GITHUB["runs"]["steps"]]

    assert check.returncode == 0, check.stdout
    assert set(yaml.safe_load(GITLAB_SPEC)["spec"]["inputs"]) == set(re.findall(r"inputs\.([\w-]+)", GITLAB_JOBS))
    assert not [script for script in scripts if "${{" in script]
    assert not re.findall(r"^\s*- .*\$\[\[", GITLAB_JOBS, flags=re.M)


@pytest.mark.skipif(not (BIN / "shellcheck").exists(), reason="needs shellcheck")
def test_the_scripts_are_clean():
    lint = subprocess.run([BIN / "shellcheck", *sorted(CI.glob("*.sh"))], capture_output=True, text=True, check=False)

    assert lint.returncode == 0, lint.stdout


def test_a_job_promotes_and_again_moves_nothing(job, server):
    first = job.github(ref="move/good:v1", channel="prod")
    moved = job.outputs
    again, env, made = job.gitlab(gated="move/good:v1", channel="prod")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert moved == {
        "promoted": "true",
        "status": "0",
        "version": "1",
        "revision": moved["revision"],
        "previous": "",
        "changed": "true",
        "digest": moved["digest"],
    }
    assert moved["digest"].startswith("sha256:")
    assert job.summary.startswith("✅ **Promoted**: `move/good:v1` is served by `prod`")
    assert (env["PROMOTED"], env["PROMOTED_CHANGED"], env["PROMOTED_VERSION"]) == ("true", "false", "1")
    assert made["resource_group"] == "deltareg-prod"
    (entry,) = server.client().channels.history("move/good", "prod")
    assert (entry.actor, entry.reason) == ("deployer", URL)


def test_a_job_that_has_to_wait_says_so(job, server):
    server.client(("read", "push", "admin"), principal="root").channels.set_policy(
        "move/good", "staging", {"approvals": 1}
    )
    warned = job.github(ref="move/good:v1", channel="staging", on_pending="warn")
    told = job.outputs
    failed, env, _ = job.gitlab(ref="move/good:v1", channel="staging")

    assert (warned.returncode, failed.returncode) == (0, 9), warned.stderr + failed.stderr
    assert "::warning title=deltareg promote::staging waits" in warned.stdout
    assert told == {"promoted": "false", "status": "9", "request": told["request"]}
    assert env["PROMOTED_REQUEST"] == told["request"]  # joined, and not opened twice
    assert job.summary.startswith("❌ **Not promoted** (status 9)")
    assert f"`deltareg request approve {told['request']}`" in job.summary
    assert server.client().requests.show(int(told["request"])).ref == "move/good:v1"


def test_a_server_that_is_away_is_asked_again_and_a_bad_name_is_not(job):
    away = job.github(ref="move/good:v1", channel="prod", server="http://127.0.0.1:1", retries="1")
    bad = job.github(ref="--help", channel="prod")

    assert (away.returncode, bad.returncode) == (75, 2)
    assert away.stdout.count("asking again") == 1
    assert "asking again" not in bad.stdout
    assert job.outputs == {"promoted": "false", "status": "2"}
