"""Tests that a kind, a store or a form of events must pass, for those who bring one.

They need pytest, and what the plug-in itself stands on::

    from deltareg.testing import FormTests, KindTests, OpenedStore, Sample, StoreTests

    class TestSSF(KindTests):
        samples = {"ssf": Sample(delta=HERE / "delta", base=HERE / "base", merged=MERGED)}

    class TestAzure(StoreTests):
        @pytest.fixture
        def opened(self):
            return OpenedStore(open_store("az://container"))

    class TestPager(FormTests):
        form = PAGER

The registry's own pass the same tests (`tests/conformance`).
"""

from typing import TYPE_CHECKING

from deltareg.on_demand import load_name

if TYPE_CHECKING:
    from deltareg.testing.event_forms import FormTests
    from deltareg.testing.kinds import KindTests, Sample
    from deltareg.testing.stores import OpenedStore, StoreTests

_HOMES = {"event_forms": ("FormTests",), "kinds": ("KindTests", "Sample"), "stores": ("OpenedStore", "StoreTests")}

__all__ = ["FormTests", "KindTests", "OpenedStore", "Sample", "StoreTests"]


def __getattr__(name: str) -> object:
    """Load a name's module on first use: who tests a kind need not have a database."""
    return load_name(__name__, _HOMES, name)
