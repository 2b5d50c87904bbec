"""Tests that a kind or a store must pass, for those who bring one: needs pytest, nothing else.

::

    from deltareg.testing import KindTests, OpenedStore, Sample, StoreTests

    class TestSSF(KindTests):
        samples = {"ssf": Sample(delta=HERE / "delta", base=HERE / "base", merged=MERGED)}

    class TestAzure(StoreTests):
        @pytest.fixture
        def opened(self):
            return OpenedStore(open_store("az://container"))

The registry's own pass the same tests (`tests/conformance`).
"""

from deltareg.testing.kinds import KindTests, Sample
from deltareg.testing.stores import OpenedStore, StoreTests

__all__ = ["KindTests", "OpenedStore", "Sample", "StoreTests"]
