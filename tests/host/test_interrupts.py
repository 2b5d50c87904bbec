"""A request to stop is heard wherever the main thread is, and waits for nothing it holds."""

import signal
import subprocess
import sys
import threading

import pytest

from deltareg.host.interrupts import ask_on_signals

# A signal within 100 us of each wait, sooner or later one in the midst of a wait's first lines.
_STORM = """
import random, signal, sys, threading, time
from deltareg.host.interrupts import ask_on_signals
from deltareg_verify.supervisor.stop import StopSignal

woken = threading.Event()
stop = StopSignal(600.0)
if sys.argv[1] == "agent":
    ask_on_signals(woken.set, signal.SIGALRM)
    wait = lambda: (woken.clear(), woken.wait(0.0001))
else:
    stop.listen()
    signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
    wait = lambda: (setattr(stop, "_is_asked", False), stop.pause(0.0001))
until = time.monotonic() + 1.0
while time.monotonic() < until:
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
    wait()
signal.setitimer(signal.ITIMER_REAL, 0)
print("ended")
"""

# Python drops what is raised while a weak reference is cleared.
_DROPPED = """
import signal, sys, threading, weakref
from deltareg.host.interrupts import repeat_lost_interrupts

if sys.argv[1] == "repeated":
    repeat_lost_interrupts()
class Held: pass
held = Held()
kept = weakref.ref(held, lambda _: signal.raise_signal(signal.SIGINT))
try:
    del held
    threading.Event().wait(2.0)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("who", ["agent", "worker"])
def test_a_storm_of_signals_blocks_nobody(who):
    done = subprocess.run([sys.executable, "-c", _STORM, who], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr


def test_each_signal_asks_in_a_thread_of_its_own():
    kept, asked = signal.getsignal(signal.SIGUSR1), threading.Semaphore(0)
    threads = set()

    def ask():
        threads.add(threading.current_thread().name)
        asked.release()

    try:
        ask_on_signals(ask, signal.SIGUSR1)
        for _ in range(2):
            signal.raise_signal(signal.SIGUSR1)
            assert asked.acquire(timeout=60)
    finally:
        signal.signal(signal.SIGUSR1, kept)

    assert threads == {"signals"}


@pytest.mark.parametrize(("way", "output"), [("dropped", ""), ("repeated", "interrupted\n")])
def test_an_interrupt_that_python_drops_comes_again(way, output):
    done = subprocess.run(
        [sys.executable, "-c", _DROPPED, way], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (0, output), done.stderr
    assert ("Traceback" in done.stderr) == (way == "dropped")
