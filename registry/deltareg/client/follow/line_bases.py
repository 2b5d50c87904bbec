"""Compares the bases that versions of one line are for with the one that the engine serves."""

from pathlib import Path

from deltareg.client.follow.release import Release
from deltareg.client.follow.served_base import ServedBase, VersionBase
from deltareg.client.follow.shelf import PendingVersion, VersionShelf
from deltareg.errors import BaseMismatch
from deltareg.wire import BaseState


class LineBases:
    """What is known about the bases of a line's versions.

    Attributes:
        state: The last result for the version that the channel says.
    """

    def __init__(self, shelf: VersionShelf, served_base: ServedBase) -> None:
        """Prepare; nothing is known yet."""
        self._shelf, self._served_base = shelf, served_base
        self._bases: dict[Release, VersionBase] = {}
        self._asked: dict[Release, PendingVersion] = {}
        self.state: BaseState = "unchecked"

    def forget_wrong(self) -> None:
        """Forget mismatches, as the channel or the engine may have moved to another base."""
        if self.state == "wrong":
            self.state = "unchecked"

    def learn(self, release: Release, base: VersionBase) -> None:
        """Record the base that a version is for."""
        self._bases[release] = base

    def keep_only(self, release: Release) -> None:
        """Forget all versions but one."""
        self._bases = {each: base for each, base in self._bases.items() if each == release}
        self._asked.clear()

    def check(self, release: Release) -> BaseState | None:
        """Compare the version that the channel says with the engine; None while that is under way.

        Raises:
            BaseMismatch: The engine has another base.
            DeltaregError: It could not be found out; the next call tries again.
        """
        base = self._bases.get(release)
        try:
            state = "unchecked" if base is None else self._served_base.check(release, base)
        except BaseMismatch:
            self.state = "wrong"
            raise
        if state is not None:
            self.state = state
        return state

    def is_right(self, release: Release) -> bool | None:
        """Whether a version's base allows serving it; None while that is being checked."""
        base = self._bases.get(release)
        return False if base is None else self._served_base.is_right(release, base)

    def is_wrong(self, release: Release, versions: Path, *, may_ask: bool) -> bool:
        """Whether a version is known to be for another base; finds out what is not known yet.

        Args:
            release: The version.
            versions: The folder that holds its folder.
            may_ask: Whether it may find out now what is not known.
        """
        if release not in self._bases:
            if release not in self._asked and may_ask:
                self._asked[release] = self._shelf.bring(release, versions)
            base = self._asked.get(release)
            if base is None or base.base is None:
                if base is not None and base.is_over:
                    del self._asked[release]
                return False
            self._bases[release] = base.base
        return self._served_base.is_wrong(release, self._bases[release])
