"""A process that looks for garbage seldom still finds it."""

import subprocess
import sys

SCRIPT = """
import gc, weakref
from deltareg.host.garbage import collect_rarely

class Knot: pass

collect_rarely()
knots = []
for _ in range(200_000):
    knot = Knot()
    knot.self = knot
    knots.append(weakref.ref(knot))
del knot
print(gc.isenabled(), sum(knot() is not None for knot in knots) < 50_000)
"""


def test_cycles_are_still_collected():
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True).stdout

    assert told.split() == [b"True", b"True"]
