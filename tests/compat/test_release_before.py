"""This release beside a real one of before: each one's client at the other's server, and its data.

The release is taken out of the project's own history. Its server and its command line run from
their sources, with the libraries that are installed here.
"""

import json
import re
import signal
import subprocess

import pytest

from tests.compat.releases import HERE, environ_of, module_of, unpack_release
from tests.e2e.test_data_path import same_files
from tests.fixtures.databases import BOTH
from tests.fixtures.processes import until

pytestmark = pytest.mark.soak

RELEASE = "2c36d937"
DELTAS = HERE / "tests" / "samples" / "deltas" / "tinyllama"
BASE = HERE / "tests" / "samples" / "bases" / "tinyllama"
LINE = "me/chat"
NAMES = ("lora", "lora_v2", "lora_qv", "lora_rslora")
FOLDERS = {number: DELTAS / name for number, name in enumerate(NAMES, 1)}
GATE_PENDING, INCONCLUSIVE = 9, 11


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """Take the release of before out of the history; give its sources."""
    folder = unpack_release(RELEASE, tmp_path_factory.mktemp("before"))
    if folder is None:
        pytest.skip(f"needs the history of the project, with {RELEASE}")
    return folder


class Place:
    """One database and data folder, and the processes of both releases that are there for it."""

    def __init__(self, folder, database_url):
        self.folder, self.database_url = folder, database_url
        self.url, self._server = "", None

    def python(self, source, *command):
        """Give what runs a module of a release."""
        environ = environ_of(source, self.folder / "home", DELTAREG_SERVER=self.url)
        if self.database_url:
            environ["DELTAREG_DATABASE_URL"] = self.database_url
        return {"args": module_of(*command), "env": environ, "text": True, "cwd": self.folder}

    def serve(self, source):
        """Run the server of a release, in place of the one before."""
        self.stop()
        if self.database_url:
            migrating = self.python(source, "deltareg_migrations", "upgrade")
            migrating["args"][3:3] = ["--url", self.database_url]
            subprocess.run(**migrating, check=True, capture_output=True)
        said = self.folder / f"said-{source.name}"
        port = self.url.rpartition(":")[2] or "0"
        with said.open("w") as out:
            self._server = subprocess.Popen(
                **self.python(
                    source,
                    "deltareg.api",
                    "up",
                    "--workers",
                    "0",
                    "--port",
                    port,
                    "--data-dir",
                    str(self.folder / "data"),
                ),
                stdout=out,
                stderr=out,
            )
        until(lambda: "Press Ctrl-C" in said.read_text(), "the server is there", timeout_s=240)
        (self.url,) = re.findall(r"listens on (\S+)", said.read_text())

    def stop(self):
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._server.wait(60)

    def cli(self, source, *args, status=0):
        """Run a command of a release; give what it says."""
        done = subprocess.run(**self.python(source, "deltareg_cli", *args), capture_output=True, check=False)
        assert done.returncode == status, (args, done.stdout, done.stderr)
        return done.stdout

    def push(self, source, number, *options):
        return self.cli(source, "push", str(FOLDERS[number]), LINE, "--base", "tinyllama", *options)

    def verify(self, source, number):
        """Have a worker of a release verify a version, whichever server there is."""
        said = self.cli(source, "verify", f"{LINE}:v{number}", "--on", "local", "--json")
        assert json.loads(said)["verdict"] == "pass"

    def refuse(self, source, number):
        """Have a worker of a release meet a suite that it does not know: nothing is decided by that."""
        self.cli(source, "verify", f"{LINE}:v{number}", "--on", "local", "--json", status=INCONCLUSIVE)
        said = json.loads(self.cli(source, "verdict", "ls", f"{LINE}:v{number}", "--json"))
        assert said["items"] == []

    def check(self, source, numbers):
        """Pull versions byte for byte, and see that none of them goes to prod just like that."""
        for number in numbers:
            to = self.folder / f"out-{source.name}-{number}-{len(numbers)}"
            self.cli(source, "pull", f"{LINE}:v{number}", "--to", str(to))
            assert same_files(to, FOLDERS[number])
            self.cli(source, "gate", "check", f"{LINE}:v{number}", "--channel", "prod", status=GATE_PENDING)


@pytest.fixture(params=BOTH)
def place(request, tmp_path):
    url = "" if request.param == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    found = Place(tmp_path, url)
    yield found
    found.stop()


def test_each_client_at_the_others_server_and_the_data_of_before(place, before):
    place.serve(before)
    place.cli(HERE, "base", "push", str(BASE), "tinyllama")
    place.push(HERE, 1, "--no-golden")
    place.push(HERE, 2, "--no-golden", "--parent", f"{LINE}:v1")  # a field that it does not know
    place.push(before, 3)
    place.check(HERE, [1, 2, 3])
    place.check(before, [1, 2, 3])
    place.verify(HERE, 3)

    place.serve(HERE)
    place.push(before, 4)
    place.check(HERE, [1, 2, 4])
    place.check(before, [1, 2, 4])
    place.refuse(before, 1)  # it does not know a parameter of smoke: that is no verdict
    place.verify(HERE, 1)
    place.verify(HERE, 2)

    shown = json.loads(place.cli(HERE, "show", f"{LINE}:v2", "--json"))
    assert shown["parents"] == [f"{LINE}:v1"]
    assert json.loads(place.cli(before, "show", f"{LINE}:v4", "--json"))["version"] == 4
