"""Tests that a kind of delta must pass, for those who bring one: needs pytest, and nothing else.

::

    from deltareg.testing import KindTests, Sample

    class TestSSF(KindTests):
        samples = {"ssf": Sample(delta=HERE / "delta", base=HERE / "base", merged=MERGED)}

The registry's own kinds pass the same tests (`tests/conformance/test_kinds.py`).
"""

from deltareg.testing.kinds import KindTests, Sample

__all__ = ["KindTests", "Sample"]
