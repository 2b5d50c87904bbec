"""The sandbox, tried from inside: each of these would succeed without it."""

import json
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deltareg.errors import Inconclusive
from deltareg.gate.policy import SANDBOX_LAYERS
from deltareg_verify.sandbox import layers
from deltareg_verify.sandbox.zygote import Zygote

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: the layers are its own")
LAYERS = ("session", *layers.LAYERS)
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)  # whatever the environment says
STOPPED = {"EACCES", "EPERM", "ENETUNREACH", "ESRCH", "EROFS", "ENOENT"}


@pytest.fixture(scope="module")
def zygote(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("scratch")
    environment = {**os.environ, "PYTHONPATH": str(repository), "DELTAREG_TOKEN": "secret-token"}
    with Zygote(folder, environment=environment, child="tests.verify.hostile") as zygote:
        yield zygote


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


@pytest.fixture
def inside(zygote, scratch):
    """Try something inside the sandbox; gives what came of it."""

    def attempt(act, *, readable=(), memory_bytes=None, **given):
        request = {
            "act": act,
            "scratch": str(scratch),
            "readable": [str(p) for p in readable],
            "memory_bytes": memory_bytes,
            **given,
        }
        return json.loads(zygote.run(json.dumps(request).encode(), wall_s=60))["result"]

    return attempt


@pytest.fixture(scope="module")
def holds(zygote, tmp_path_factory):
    """Tell which layers hold on this machine; tests of the others are skipped."""
    request = {"act": "say", "scratch": str(tmp_path_factory.mktemp("own")), "text": ""}
    level = json.loads(zygote.run(json.dumps(request).encode(), wall_s=60))["level"]
    return set(level.split())


def need(holds, layer):
    if layer not in holds:
        pytest.skip(f"needs the layer {layer}, which this kernel or container does not allow")


def stopped(result):
    return isinstance(result, dict) and result.get("error") in STOPPED


def test_every_layer_is_told_whether_it_holds(holds):
    assert {layer.lstrip("-") for layer in holds} == set(LAYERS)
    assert {"session", "limits"} <= holds


def test_a_policy_may_ask_for_every_layer():
    assert SANDBOX_LAYERS == LAYERS


def test_no_secret_is_in_the_environment(inside):
    found = inside("environment")

    assert "secret-token" not in found.values()
    assert not [name for name in found if name.startswith(("DELTAREG", "AWS", "HF_TOKEN"))]
    assert found["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("host", ["1.1.1.1", "169.254.169.254"])
def test_no_host_is_reached(inside, holds, host):
    need(holds, "network")

    assert stopped(inside("connect", host=host, port=80))


def test_not_even_the_machine_itself_is_reached(inside, holds):
    need(holds, "network")
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert stopped(inside("connect", host="127.0.0.1", port=server.getsockname()[1]))


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/etc/hostname", str(HOME / ".bashrc")], ids=["shadow", "hostname", "home"]
)
def test_the_systems_secrets_are_not_read(inside, holds, path):
    need(holds, "files")

    assert stopped(inside("read", path=path)) or not Path(path).exists()


def test_the_users_tokens_are_not_read(inside, holds, tmp_path):
    need(holds, "files")
    token = tmp_path / "token"
    token.write_text("secret")

    assert stopped(inside("read", path=str(token)))


def test_what_is_given_is_read(inside, tmp_path):
    given = tmp_path / "delta"
    given.mkdir()
    (given / "file").write_text("weights")

    assert inside("read", path=str(given / "file"), readable=[given]) == "weights"


def test_what_is_given_is_read_where_a_link_leads(inside, tmp_path):
    given = tmp_path / "delta"
    given.mkdir()
    (given / "file").write_text("weights")
    (tmp_path / "link").symlink_to(given)

    read = inside("read", path=str(tmp_path / "link" / "file"), readable=[tmp_path / "link"])

    assert read == "weights"


def test_the_own_folder_may_be_behind_a_link(zygote, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    request = {"act": "write", "scratch": str(tmp_path / "link"), "path": str(tmp_path / "link" / "file")}

    said = json.loads(zygote.run(json.dumps(request).encode(), wall_s=60))

    assert said["result"] == "written"
    assert (tmp_path / "real" / "file").exists()


def test_what_is_given_to_read_is_not_written(inside, holds, tmp_path):
    need(holds, "files")
    given = tmp_path / "delta"
    given.mkdir()

    assert stopped(inside("write", path=str(given / "file"), readable=[given]))
    assert list(given.iterdir()) == []


def test_the_own_folder_is_written(inside, scratch):
    assert inside("cache", path=str(scratch / "file")) == "kept"


def test_a_link_leads_nowhere_else(inside, holds, scratch, tmp_path):
    need(holds, "files")
    (tmp_path / "secret").write_text("secret")

    assert stopped(inside("through_link", folder=str(scratch), path=str(tmp_path / "secret")))


@pytest.mark.parametrize("act", ["execute", "fork", "unshare"])
def test_no_program_and_no_process_is_started(inside, holds, act):
    need(holds, "calls")

    assert stopped(inside(act))


def test_threads_are_started(inside):
    assert inside("thread") == ["ran"]


def test_no_other_process_is_traced(inside, holds):
    need(holds, "calls")

    assert stopped(inside("attach", pid=os.getpid()))


def test_no_other_process_is_killed(inside, holds, zygote):
    need(holds, "files")

    result = inside("kill", pid=zygote.pid)

    if result == "killed":
        pytest.skip("needs Landlock ABI 6, which knows signals")
    assert stopped(result)


def test_a_child_that_is_ended_as_it_begins_costs_no_zygote(zygote, inside, scratch):
    """It has no process group of its own for a moment; a zygote that fell over it took seconds to come back."""
    request = json.dumps({"act": "hang", "scratch": str(scratch), "readable": [], "memory_bytes": None}).encode()
    inside("say", text="")
    began = zygote.pid

    for _ in range(40):
        with pytest.raises(Inconclusive, match=r"the run was taken back"):
            zygote.run(request, wall_s=60, interrupted=lambda: "the run was taken back")

    assert zygote.pid == began


def test_a_supervisor_that_conceals_itself_is_not_read(inside, tmp_path):
    """Reading another process's environment needs its consent, not just the same user."""
    script = "import sys, time; from deltareg_verify.sandbox import layers; layers.conceal();"
    script += "print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

        result = inside("read", path=f"/proc/{process.pid}/environ")
        process.kill()

    assert stopped(result)


def test_no_other_process_is_seen(inside, holds):
    need(holds, "pid")
    need(holds, "mount")

    assert inside("processes") == [1]


def test_places_where_others_leave_files_are_empty(inside, holds, scratch, tmp_path):
    """With the wall open that would keep them from being read."""
    need(holds, "mount")
    (tmp_path / "secret").write_text("secret")
    folders = [str(tmp_path), "/run", "/dev/shm"]

    found = inside("look_around", folders=folders, without=["files"])

    own = {part for part in map(str, scratch.parents) if part.startswith("/dev/shm/")}
    assert found["/run"] == []
    assert {f"/dev/shm/{name}" for name in found["/dev/shm"]} <= own
    if "/tmp" in map(str, scratch.parents):
        assert found[str(tmp_path)] == ["own"]


def test_no_socket_of_others_is_called(inside, holds, tmp_path):
    """Such as that of a container engine, which is the way to all of the machine."""
    need(holds, "mount")
    path = Path("/run" if os.access("/run", os.W_OK) else "/tmp", f"deltareg-{os.getpid()}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        result = inside("call", path=str(path))
        path.unlink()

    assert stopped(result)


def test_nothing_else_is_written_though_files_were_open(inside, holds, repository):
    need(holds, "mount")

    assert stopped(inside("write", path=str(repository / "written"), without=["files"]))


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, 16, 17, 40])
def test_no_socket_leads_to_another_machine(inside, holds, family):
    """IP, netlink, packets and virtual machines' own, whatever namespaces say of them."""
    need(holds, "calls")

    assert inside("open_socket", family=family) == {"error": "EPERM"}
    assert inside("open_socket", family=socket.AF_UNIX) == "opened"


def test_no_right_is_left_to_undo_it(inside, holds):
    need(holds, "no_new_privs")

    assert set(inside("capabilities")) == {"0" * 16}
    assert stopped(inside("remount", path="/", without=["calls"]))


def test_memory_is_bounded(inside):
    assert inside("swallow", size_bytes=1 << 20, memory_bytes=4 << 30) == 1 << 20
    assert inside("swallow", size_bytes=8 << 30, memory_bytes=4 << 30) == {"error": "MemoryError"}


def test_files_are_bounded(inside, scratch, holds):
    need(holds, "mount")
    result = inside("fill", path=str(scratch / "file"), size_bytes=80 << 20)

    assert result == {"error": "EFBIG"}
    assert list(scratch.iterdir()) == []  # what it wrote was in memory of its own


def test_what_is_written_is_bounded_as_a_whole(inside, scratch, holds):
    need(holds, "mount")
    result = inside("fill_many", path=str(scratch), count=6, size_bytes=60 << 20)

    assert result == {"error": "ENOSPC"}
    assert list(scratch.iterdir()) == []


def test_the_interpreters_folders_exist_and_are_no_secrets():
    folders = layers.interpreter_folders()

    assert all(folder.exists() for folder in folders)
    assert not any(str(folder) in {"/", str(HOME), "/home", "/etc"} for folder in folders)
