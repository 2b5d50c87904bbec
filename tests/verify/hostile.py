"""A child that does what no delta should make a child do. Runs in a real zygote, as its module.

A request is JSON: `act`, with what it needs. With `scratch` the child enters the sandbox first, but
for the walls in `without`. It answers with one line of JSON: what it could do, or the name of the
error that stopped it.
"""

import contextlib
import ctypes
import errno
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from deltareg_verify.sandbox import escapes, kernel, layers
from tests.verify import leaky


def warm():
    """Import nothing dear."""


def prepare(request):
    wanted = json.loads(request)
    if wanted["act"] == "escape":
        wanted["targets"] = escapes.targets_of(wanted["targets"].encode())
    return lambda out: perform(out, **wanted)


def perform(out, *, act, scratch=None, readable=(), memory_bytes=None, cpu_s=60, without=(), **given):
    level = ""
    for wall in without:
        leaky.WALLS[wall]()
    if scratch is not None:
        bounds = layers.SandboxLimits(tuple(map(Path, readable)), Path(scratch), cpu_s, memory_bytes)
        level = layers.enter(bounds)
    try:
        result = ACTS[act](out=out, **given)
    except OSError as error:
        result = {"error": errno.errorcode.get(error.errno or 0, str(error.errno))}
    except MemoryError:
        result = {"error": "MemoryError"}
    out.write(json.dumps({"result": result, "level": level}).encode() + b"\n")


def connect(out, host, port):
    with socket.create_connection((host, port), timeout=3):
        return "connected"


def environment(out):
    return dict(os.environ)


def read(out, path):
    return Path(path).read_text()


def write(out, path):
    Path(path).write_text("written")
    return "written"


def through_link(out, folder, path):
    link = Path(folder) / "link"
    link.symlink_to(path)
    return link.read_text()


def execute(out):
    return subprocess.run(["/bin/true"], check=True).returncode


def fork(out):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "forked"


def thread(out):
    done = []
    worker = threading.Thread(target=lambda: done.append("ran"))
    worker.start()
    worker.join()
    return done


def kill(out, pid):
    os.kill(pid, signal.SIGKILL)
    return "killed"


def attach(out, pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, pid, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    return "attached"


def unshare(out):
    kernel.unshare(0x10000000)
    return "unshared"


def swallow(out, size_bytes):
    return len(bytearray(size_bytes))


def fill(out, path, size_bytes):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Path(path).open("wb") as file:
        for _ in range(size_bytes >> 20):
            file.write(b"\0" * (1 << 20))
    return "filled"


def fill_many(out, path, count, size_bytes):
    for number in range(count):
        with (Path(path) / f"part-{number}").open("wb") as file:
            for _ in range(size_bytes >> 20):
                file.write(b"\0" * (1 << 20))
    return "filled"


def cache(out, path):
    """What transformers and torch may need beside the base: temporary files and modules."""
    import colorsys  # noqa: F401  # a module that nothing has imported yet

    Path(path).write_text("kept")
    return Path(path).read_text()


def say(out, text):
    return text


def segfault(out):
    ctypes.string_at(0)


def leave(out, status):
    print("last words", flush=True)
    os._exit(status)


def hang(out, pid_file=None):
    if pid_file:
        Path(pid_file).write_text(str(os.getpid()))
    while True:
        time.sleep(60)


def abort(out):
    os.abort()


def spin(out):
    while True:
        pass


def leave_the_session(out, word):
    """Leave processes in sessions of their own; each has the word on its command line."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            start_sleeper(word)
            hang(out)
    hang(out)


def multiply(out, word, most):
    """Fork as fast as it goes, up to a limit, and into other sessions."""
    for _ in range(most):
        with contextlib.suppress(OSError):
            start_sleeper(word)
    hang(out)


def start_sleeper(word):
    if os.fork() == 0:
        os.setsid()
        os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(600)", word])


def devour(out):
    """Eat memory until there is no more, and use all of it."""
    eaten = []
    while True:
        eaten.append(bytearray(b"x" * (16 << 20)))


def processes(out):
    return sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def collect(out):
    """Say how many objects a look for garbage goes through, and how many it leaves alone."""
    return [len(gc.get_objects()), gc.get_freeze_count()]


def look_around(out, folders):
    return {folder: sorted(entry.name for entry in Path(folder).iterdir()) for folder in folders}


def call(out, path):
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(path)
    return "connected"


def open_socket(out, family):
    socket.socket(family, socket.SOCK_STREAM).close()
    return "opened"


def capabilities(out):
    lines = Path("/proc/self/status").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith(("CapEff", "CapPrm"))]


def remount(out, path):
    kernel.mount("none", path, flags=0x1020)
    return "remounted"


def escape(out, targets):
    """Try all twelve escapes of the worker's start."""
    return escapes.try_escapes(targets)


def flood(out):
    while True:
        out.write(b"x" * (1 << 16))


def close_and_hang(out):
    os.close(out.fileno())
    hang(out)


def leave_child_behind(out, pid_file):
    pid = os.fork()
    if pid == 0:
        hang(out, pid_file)
    while not Path(pid_file).exists():
        time.sleep(0.01)
    return "left"


def look(out):
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return {"leader": os.getsid(0) == os.getpid(), "open": [str(link.readlink()) for link in links]}


ACTS = {
    act.__name__: act
    for act in (
        connect,
        environment,
        read,
        write,
        through_link,
        execute,
        fork,
        thread,
        kill,
        attach,
        unshare,
        swallow,
        fill,
        fill_many,
        cache,
        say,
        segfault,
        leave,
        hang,
        flood,
        close_and_hang,
        leave_child_behind,
        look,
        abort,
        spin,
        leave_the_session,
        multiply,
        devour,
        processes,
        look_around,
        call,
        open_socket,
        capabilities,
        remount,
        escape,
        collect,
    )
}
