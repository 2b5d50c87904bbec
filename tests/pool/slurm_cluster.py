"""A Slurm of two nodes on this machine: slurmctld, two slurmd and munged, as Debian has them, run by root."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.fixtures.processes import until

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
NODES = ("n1", "n2")
_CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/munge/socket
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool.%n
SlurmctldPidFile={dir}/run/ctld.pid
SlurmdPidFile={dir}/run/%n.pid
SlurmctldLogFile={dir}/log/ctld.log
SlurmdLogFile={dir}/log/%n.log
SlurmctldPort={ports[0]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
SlurmdTimeout=6
KillWait=5
MinJobAge=5
SchedulerParameters=sched_interval=1,bf_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def why_not():
    """Say what is missing for it; empty if nothing is."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        return f"no {missing[0]} here: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "slurmd runs as root alone"


class SlurmCluster:
    """Daemons that run."""

    def __init__(self, folder):
        self.folder = folder
        self.environ = {"SLURM_CONF": str(folder / "slurm.conf")}

    def ask(self, *words):
        return subprocess.run(
            words, env={**os.environ, **self.environ}, capture_output=True, text=True, check=True
        ).stdout

    def tasks(self):
        """List the tasks that may run or run: id, state, reason, node."""
        rows = self.ask("squeue", "--noheader", "--array", "--format=%i|%t|%r|%N").splitlines()
        return [tuple(row.strip().split("|")) for row in rows]

    def start(self, node):
        daemon(self, "slurmd", "-N", node)
        until(lambda: self.ask("sinfo", "-hN", "-n", node, "-o%T").split()[0] in {"idle", "mixed", "allocated"}, node)

    def kill(self, node):
        """End a node as a power cut would: its daemon and all that runs on it, at once."""
        own = pids_of(f"SLURMD_NODENAME={node}") | {self.pid(node)}
        for pid in own:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(own) - 1

    def pid(self, name):
        return int((self.folder / "run" / f"{name}.pid").read_text())


def daemon(cluster, program, *words):
    folder = cluster.folder
    with (folder / "log" / "daemons").open("ab") as out:
        path = shutil.which(program, path="/usr/sbin:/usr/bin")
        subprocess.run([path, "-f", folder / "slurm.conf", *words], stdout=out, stderr=out, check=True)


def pids_of(variable):
    """Find the processes whose environment has a variable."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


def with_descendants(pids):
    """Add all that these processes have started, and those, as they are now."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@contextmanager
def slurm_cluster(folder):
    """Run a cluster below a folder of short path, while the block lasts."""
    ports = []
    for _ in range(3):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    for name in ("state", "log", "run", "munge", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    conf = _CONF.format(dir=folder, host=socket.gethostname().partition(".")[0], ports=ports)
    (folder / "slurm.conf").write_text(conf)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    munge = folder / "munge"
    words = [f"--key-file={key}", f"--socket={munge}/socket", f"--pid-file={munge}/pid", f"--log-file={munge}/log"]
    munged = subprocess.Popen(["/usr/sbin/munged", "--foreground", "--force", f"--seed-file={munge}/seed", *words])
    cluster = SlurmCluster(folder)
    try:
        until((munge / "socket").exists, "munged listens")
        daemon(cluster, "slurmctld")
        until((folder / "run" / "ctld.pid").exists, "slurmctld runs")
        for node in NODES:
            cluster.start(node)
        yield cluster
    finally:
        with suppress(subprocess.CalledProcessError):
            cluster.ask("scancel", "--me")
            time.sleep(1)  # KillWait is longer; what is left ends with its node
        for node in NODES:
            with suppress(OSError, ValueError):
                cluster.kill(node)
        with suppress(OSError, ValueError):
            ctld = cluster.pid("ctld")
            os.kill(ctld, signal.SIGTERM)
            until(lambda: not Path(f"/proc/{ctld}").exists(), "slurmctld has ended")
        munged.terminate()
        munged.wait()
