"""Tests that a kind of delta must pass, for authors of kinds; they need only pytest.

::

    from deltareg.testing import KindTests, Sample

    class TestSSF(KindTests):
        samples = {"ssf": Sample(delta=HERE / "delta", base=HERE / "base", merged=MERGED)}

The registry's own kinds pass the same tests (`tests/conformance/test_kinds.py`).
"""

from deltareg.testing.kinds import KindTests, Sample

__all__ = ["KindTests", "Sample"]
