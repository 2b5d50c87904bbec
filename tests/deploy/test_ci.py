"""The CI files do what they say: their steps are run in a shell, against a real server.

The two files are read as a CI would: inputs filled in, variables set, `run:` and `script:` carried
out by a POSIX shell. `gh` is a recorder on PATH, for there is no GitHub here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deltareg.wire import LeaseRequest
from tests.architecture.tree import REPOSITORY
from tests.client.report_values import junit
from tests.fixtures.processes import XDG
from tests.fixtures.registries import report

pytestmark = pytest.mark.slow
CI = REPOSITORY / "deploy" / "ci"
SAMPLES = REPOSITORY / "tests" / "samples"
BIN = Path(sys.executable).parent
GITHUB = yaml.safe_load((CI / "github" / "action.yml").read_text())
GITLAB_SPEC, GITLAB_JOBS = (CI / "gitlab" / "template.yml").read_text().split("\n---\n")
REPORTS = ["gate.html", "gate.json", "gate.log", "gate.md", "gate.xml"]
GH = """#!/bin/sh
printf '%s\\n' "$*" >> "$GH_LOG"
case "$*" in *--jq*) printf '%s' "$GH_FOUND" ;; esac
exit "${GH_STATUS:-0}"
"""


@pytest.fixture(scope="module")
def server(shared_registry):
    """Run a registry in which one line passed its verification and another failed it."""
    client = shared_registry.client()
    for path, line in (("deltas/tinyllama/lora", "ci/good"), ("bad/dead_zero_b", "ci/bad")):
        client.push(SAMPLES / path, line, base="tinyllama")
    shared_registry.verified("ci/good:v1")
    fail_idle(shared_registry.client(("read", "verify"), principal="worker", kind="wrk"))
    return shared_registry


def fail_idle(worker):
    """Report on the run that is queued as a worker does that finds nothing learnt."""
    grant = worker.lease(LeaseRequest(worker="w1"))
    found = report(grant, verdict="fail", fail="idle")
    checks = [
        check.model_copy(update={"code": "no_effect"}) if check.name == "idle" else check for check in found.checks
    ]
    worker.complete_run(grant.run, found.model_copy(update={"checks": checks}))


@pytest.fixture
def job(server, tmp_path):
    """Give a function that runs steps of one of the files as its CI would."""
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(GH)
    gh.chmod(0o755)
    return Job(tmp_path, server.url, server.token("read", "push", principal="pipeline"))


class Job:
    """A job's folder, the files that a CI hands to it, and what it left in them."""

    def __init__(self, folder, server, token):
        self.folder, self._server, self._token = folder, server, token
        homes = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in XDG}
        path = f"{folder / 'bin'}:{BIN}:{os.environ['PATH']}"
        gh = {"GH_LOG": str(folder / "gh.log"), "GH_FOUND": ""}
        self._environ = {**os.environ, **homes, **gh, "PATH": path}

    def github(self, *, pr="", found="", gh_status="0", **inputs):
        """Run the action's steps that run anything; gives the last one's end."""
        given = {"server": self._server, "token": self._token} | inputs
        values = {name: str(spec.get("default", "")) for name, spec in GITHUB["inputs"].items()}
        values |= {name.replace("_", "-"): value for name, value in given.items()}
        (step,) = [step for step in GITHUB["runs"]["steps"] if "run" in step]
        variables = {
            name: filled(value, values, {"github.event.pull_request.number": pr}) for name, value in step["env"].items()
        }
        return self._shell(
            step["run"],
            variables
            | {
                "GITHUB_ACTION_PATH": str(CI / "github"),
                "GITHUB_ACTIONS": "true",
                "GITHUB_REPOSITORY": "team/model",
                "GITHUB_OUTPUT": str(self.folder / "outputs"),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
                "GH_FOUND": found,
                "GH_STATUS": gh_status,
                "GATE_RETRY_WAIT": "0",
            },
        )

    def gitlab(self, **inputs):
        """Run the job's script, and give its end and the job as GitLab would see it."""
        spec = yaml.safe_load(GITLAB_SPEC)["spec"]["inputs"]
        given = {"server": self._server, "image": "x", "script": str(CI / "gate.sh")} | inputs
        values = {name: given.get(name, field.get("default")) for name, field in spec.items()}
        assert None not in values.values()
        text = re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda m: json.dumps(values[m[1]]), GITLAB_JOBS)
        (made,) = yaml.safe_load(text.replace('"deltareg-gate":', "deltareg-gate:")).values()
        variables = made["variables"] | {"DELTAREG_TOKEN": self._token, "GATE_RETRY_WAIT": "0"}
        return self._shell("\n".join(made["script"]), variables), made

    def file(self, name):
        return self.folder / "work" / "deltareg-gate" / name

    @property
    def outputs(self):
        lines = (self.folder / "outputs").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def summary(self):
        return (self.folder / "summary.md").read_text()

    @property
    def gh(self):
        log = self.folder / "gh.log"
        return log.read_text().splitlines() if log.exists() else []

    def _shell(self, script, variables):
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        return subprocess.run(
            ["sh", "-e", "-c", script],
            text=True,
            cwd=work,
            env=self._environ | {"DELTAREG_PATIENCE": "0"} | variables,
            capture_output=True,
            check=False,
        )


def filled(text, inputs, others):
    """Fill in the `${{ … }}` of a value."""
    known = {f"inputs.{name}": value for name, value in inputs.items()} | others
    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: known[match[1]], text)


def test_the_files_have_the_form_that_their_ci_reads():
    check = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-actions", CI / "github" / "action.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert check.returncode == 0, check.stdout
    assert set(yaml.safe_load(GITLAB_SPEC)["spec"]["inputs"]) == set(re.findall(r"inputs\.([\w-]+)", GITLAB_JOBS))


def test_what_people_type_is_never_text_of_a_script():
    scripts = [step.get("run", "") for step in GITHUB["runs"]["steps"]]

    assert not [script for script in scripts if "${{" in script]
    assert not re.findall(r"^\s*- .*\$\[\[", GITLAB_JOBS, flags=re.M)


def test_a_github_job_lets_a_good_delta_pass(job):
    ended = job.github(ref="ci/good", channel="prod", pr="7", github_token="secret-gh")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert job.outputs["allowed"] == "true"
    assert job.outputs["verdict"] == "pass"
    assert (job.outputs["ref"], job.outputs["version"]) == ("ci/good:v1", "1")
    assert job.outputs["digest"].startswith("sha256:")
    assert (job.folder / "work" / job.outputs["report"]).is_file()
    assert job.summary.startswith("<!-- deltareg:gate ci/good@prod -->\n✅ **Allowed**")
    assert sorted(p.name for p in job.file("").iterdir()) == sorted([*REPORTS, "gate.env"])
    assert [s.get("failures") for s in junit(job.file("gate.xml").read_text())] == ["0", "0"]
    assert job.gh[-1] == "pr comment 7 --repo team/model --body-file deltareg-gate/gate.md"


def test_a_github_job_stops_a_bad_delta(job):
    ended = job.github(ref="ci/bad", channel="prod", pr="7", github_token="secret-gh", found="4711\n")

    smoke, policy = junit(job.file("gate.xml").read_text())
    assert ended.returncode == 8
    assert job.outputs["allowed"] == "false"
    assert job.outputs["verdict"] == "fail"
    assert smoke.find("testcase[@name='idle']/failure").get("type") == "no_effect"
    assert policy.find("testcase[@name='failed']/failure") is not None
    assert "❌ **Failed**" in job.summary
    assert "| `idle` | ❌ fail |" in job.summary
    assert 'startswith("<!-- deltareg:gate ci/bad@prod -->")' in job.gh[0]
    assert job.gh[1:] == [
        "api --method PATCH repos/team/model/issues/comments/4711 --field body=@deltareg-gate/gate.md"
    ]


def test_a_comment_that_fails_does_not_change_the_answer(job):
    ended = job.github(ref="ci/good", channel="prod", pr="7", github_token="secret-gh", gh_status="1")

    assert ended.returncode == 0
    assert "the comment could not be written" in ended.stderr


def test_a_github_job_without_a_channel_verifies_and_without_a_token_comments_nothing(job):
    ended = job.github(ref="ci/bad", pr="7")

    assert ended.returncode == 8
    assert job.gh == []
    assert job.summary.startswith("<!-- deltareg:verify ci/bad smoke -->")


@pytest.mark.parametrize(("on_pending", "status"), [("warn", 0), ("fail", 124)])
def test_nothing_judged_in_time_is_neutral_or_not(job, server, on_pending, status):
    late = f"ci/late-{on_pending}"
    server.client().push(SAMPLES / "deltas" / "tinyllama" / "lora_v2", late, base="tinyllama")

    ended = job.github(ref=late, channel="prod", timeout="0.1s", on_pending=on_pending)

    assert ended.returncode == status, ended.stdout
    assert job.outputs["allowed"] == "false"
    assert ("::warning" in ended.stdout) == (on_pending == "warn")


def test_a_server_that_is_away_is_asked_again_and_told_in_the_summary(job):
    ended = job.github(ref="ci/good", channel="prod", server="http://127.0.0.1:1", retries="1")

    assert ended.returncode == 75
    assert ended.stdout.count("asking again") == 1
    assert job.outputs["allowed"] == "false"
    assert "**No answer** (status 75)" in job.summary


def test_a_version_that_is_not_there_is_not_asked_for_again(job):
    ended = job.github(ref="ci/none", channel="prod")

    assert ended.returncode == 3
    assert "asking again" not in ended.stdout


def test_what_looks_like_an_option_is_a_reference(job):
    ended = job.github(ref="--help", channel="prod")

    assert ended.returncode == 2
    assert job.outputs["allowed"] == "false"


def test_a_gitlab_job_lets_a_good_delta_pass(job):
    ended, made = job.gitlab(ref="ci/good", channel="prod")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    junit((job.folder / "work" / made["artifacts"]["reports"]["junit"]).read_text())
    env = (job.folder / "work" / made["artifacts"]["reports"]["dotenv"]).read_text().splitlines()
    assert {"GATED_ALLOWED=true", "GATED_REF=ci/good:v1", "GATED_VERSION=1"} <= set(env)
    assert all(re.fullmatch(r"GATED_[A-Z]+=\S*", line) for line in env)


def test_a_gitlab_job_stops_a_bad_delta(job):
    ended, made = job.gitlab(ref="ci/bad", channel="prod", suite="smoke")

    assert ended.returncode == 8
    assert made["allow_failure"]["exit_codes"] == [9, 124]
    assert made["artifacts"]["when"] == "always"
    assert "❌ **Failed**" in job.file("gate.md").read_text()


def test_the_script_runs_in_every_posix_shell():
    shells = [shell for name in ("dash", "bash", "busybox") if (shell := shutil.which(name))]

    assert shells
    for shell in shells:
        words = [shell, "sh"] if shell.endswith("busybox") else [shell]
        assert subprocess.run([*words, "-n", CI / "gate.sh"], check=False).returncode == 0
    assert os.access(CI / "gate.sh", os.X_OK)
