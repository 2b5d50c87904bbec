"""What lint, push and materialize make of a folder, without a client around it."""

from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.delta.accounting import account, recognise
from deltareg.delta.examine import examine
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import Account, BaseView
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.tensors.array import integers, to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES
from tests.folders import open_base, open_folder


@dataclass(frozen=True)
class Assessed:
    """A delta held against a base."""

    account: Account
    problems: list
    base: BaseView
    weights: Mapping[str, Tensor]
    names: frozenset

    @property
    def kind(self):
        assert self.account.delta is not None
        return self.account.delta.name

    @property
    def codes(self):
        return list(dict.fromkeys(p.code for p in self.problems if p.severity == "error"))

    def folding(self):
        assert self.problems == []
        assert self.account.roles.keys() == self.names
        return FoldedBase(self.account.effects, self.weights)

    def folded(self):
        """Give every weight that differs from the base's file, real numbers as float32."""
        folding = self.folding()
        return {name: _values(folding, name) for name in folding.changed}


def assessed(path, base_path, *, convention=""):
    """Recognise, account for and examine a folder."""
    view_, weights = open_base(base_path)
    folder = open_folder(path, convention=convention)
    kind, _ = recognise(folder.files, view_)
    found = account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_)
    more = examine(found, folder.tensors, weights, folder.files) if found.is_accepted else []
    return Assessed(found, [*found.problems, *more], view_, weights, folder.files.names)


def _values(folding, name):
    dtype = folding.dtype(name)
    raw = view(b"".join(folding.rows(name)), dtype, folding.shape(name))
    return to_f32(raw, dtype) if dtype in FLOAT_DTYPES else integers(raw, dtype)


def fold_rows(update, weight, start, stop, ops=None):
    """Run a formula on an array of whatever library."""
    return update.fold(weight, start, stop, ops or NumPyOps())
