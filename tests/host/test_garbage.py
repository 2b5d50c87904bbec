"""A process that looks for garbage seldom still finds it."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, weakref
from deltareg.host import garbage

class Knot: pass

garbage.{0}()
knots = []
for _ in range(200_000):
    knot = Knot()
    knot.self = knot
    knots.append(weakref.ref(knot))
del knot
print(gc.isenabled(), sum(knot() is not None for knot in knots) < 50_000)
"""


@pytest.mark.parametrize("way", ["collect_rarely", "collect_in_small_steps"])
def test_cycles_are_still_collected(way):
    script = SCRIPT.format(way)
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout

    assert told.split() == [b"True", b"True"]
