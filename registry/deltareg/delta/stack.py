"""Versions as bases: checking a claimed fold of a version, as far as headers and digests allow.

A base that is a version is stored as the tensors that folding produced, so it has the same bits on
every machine (docs/adr/0016-version-as-base.md). Here it is checked against the version and the
base below: names, shapes and dtypes of every tensor, and the digest of every tensor whose bytes are
those of the base or of the delta. Only the values of computed tensors cannot be checked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deltareg.delta.base_manifest import CONFIG_FILE, TOKENIZER_FILES
from deltareg.delta.fold import RECIPE, FoldedBase
from deltareg.delta.kind import Account, BaseView
from deltareg.delta.shapes import HeaderTensor
from deltareg.digest import Digest
from deltareg.errors import Blocked, InvalidInput, Problem
from deltareg.identity.manifest import Manifest
from deltareg.tensors.header import strict_json_object

MAX_DEPTH = 4
"""How many versions may be folded one onto another, the one on top included."""

BESIDE_WEIGHTS = frozenset({CONFIG_FILE, "generation_config.json"}) | TOKENIZER_FILES
"""Files beside the weights of which a delta may bring its own."""

_Form = tuple[str, str, tuple[int, ...]]
_FIX = "push with a client of the server's version, and the base's own config and tokenizer"


def check_stackable(ref: str, *, foldable: bool, depth: int, is_revoked: bool = False) -> None:
    """Check that a version can be the base of another.

    Args:
        ref: The version, as shown.
        foldable: Whether all of its effects are on weights.
        depth: How many versions are folded to make it, itself included.
        is_revoked: Whether it is revoked.

    Raises:
        InvalidInput: It can only be attached, or the stack would be too high.
        Blocked: It is revoked.
    """
    if is_revoked:
        raise Blocked(f"{ref} is revoked and can be the base of nothing", fix="use another version")
    if not foldable:
        raise InvalidInput(
            f"{ref} acts on activations and cannot be folded into weights, so it is no base",
            fix="name a version that `deltareg show` says can be folded, or a base",
        )
    if depth >= MAX_DEPTH:
        raise InvalidInput(
            f"{ref} stands on {depth - 1} versions already, and a stack has at most {MAX_DEPTH}",
            fix=f"deltareg materialize {ref} --out DIR, then: deltareg base push DIR NAME",
        )


def stacked_config(
    folding: FoldedBase, below: Mapping[str, object], own: Mapping[str, object] | None
) -> dict[str, object]:
    """Return the `config.json` of the result.

    Args:
        folding: The delta folded into its base.
        below: The base's.
        own: The delta's own, which replaces the base's; None if it has none.
    """
    config = below if own is None else own
    return {**config, **folding.config_changes(config)}


@dataclass(frozen=True, slots=True)
class Stacking:
    """A version and the base that it is folded into.

    Attributes:
        account: Of the version's delta; its tensors need not be readable.
        delta: The version's manifest.
        below: The manifest of its base.
        view: The same, as kinds see it.
        own_config: The delta's own `config.json`, if it has one.
    """

    account: Account
    delta: Manifest
    below: Manifest
    view: BaseView
    own_config: Mapping[str, object] | None

    def recipe(self) -> str:
        """The recipe by which the result was computed; empty if all of it is stored values."""
        folding, own = self._folding(), self._own_digests()
        computed = [t for t in folding.changed if self._digest(folding, t, own) is None]
        return f"{RECIPE.library}, {RECIPE.block_rows} rows, {RECIPE.dtype}" if computed else ""

    def problems(self, result: Manifest) -> list[Problem]:
        """Describe why a claimed result cannot be that of folding.

        Args:
            result: The manifest of the claimed base.
        """
        folding = self._folding()
        wrong = [*self._tensors(folding, result), *self._files(result)]
        config = strict_json_object(str(result.config["config_json"]).encode())
        if config != stacked_config(folding, self.view.config, self.own_config):
            wrong.append("its config.json is not that of the base with what the delta changes")
        return [Problem("base_mismatch", f"the folded version: {w}", fix=_FIX) for w in wrong]

    def _folding(self) -> FoldedBase:
        known = {name: HeaderTensor(record) for name, record in self.view.tensors.items()}
        return FoldedBase(self.account.effects, known, network_class=self.account.network_class)

    def _tensors(self, folding: FoldedBase, result: Manifest) -> Iterator[str]:
        records, own = result.records(), self._own_digests()
        expected = {*self.view.tensors, *folding.changed, *folding.additions}
        for name in sorted(expected ^ records.keys()):
            yield f"tensor {name[:120]} is {'missing' if name in expected else 'not of it'}"
        for name in sorted(expected & records.keys()):
            dtype, shape = self._form(folding, name)
            record, digest = records[name], self._digest(folding, name, own)
            if (record.dtype, record.shape) != (dtype, shape):
                yield f"tensor {name[:120]} is {record.dtype} {record.shape}, not {dtype} {shape}"
            elif digest is not None and record.digest != digest:
                yield f"tensor {name[:120]} is {record.digest.short}, not {digest.short}"

    def _form(self, folding: FoldedBase, name: str) -> tuple[str, tuple[int, ...]]:
        if name in folding.changed:
            return folding.dtype(name), folding.shape(name)
        tensor = folding.additions.get(name) or self.view.tensors[name]
        return tensor.dtype, tensor.shape

    def _own_digests(self) -> dict[_Form, Digest]:
        return {(t.name, t.dtype, t.shape): t.digest for t in self.delta.tensors}

    def _digest(self, folding: FoldedBase, name: str, own: Mapping[_Form, Digest]) -> Digest | None:
        """Return the digest that a tensor must have; None if its values are computed."""
        if name in folding.changed:
            tensor = folding.find_stored(name)
            if tensor is None:
                return None
        elif name in folding.additions:
            tensor = folding.additions[name]
        else:
            return self.view.tensors[name].digest
        form = tensor.name, tensor.dtype, tensor.shape
        if form not in own:
            message = f"{tensor.name} would be put in place, and the delta has no such tensor"
            raise InvalidInput(message)
        return own[form]

    def _files(self, result: Manifest) -> Iterator[str]:
        expected, own, actual = (
            {file.path: file.digest for file in manifest.files if file.path in BESIDE_WEIGHTS}
            for manifest in (self.below, self.delta, result)
        )
        expected |= own
        for path in sorted({*expected, *actual}):
            if path not in expected or path not in actual:
                yield f"{path} is {'missing' if path in expected else 'not of it'}"
            elif path != CONFIG_FILE and actual[path] != expected[path]:
                yield f"{path} is neither the base's nor the delta's"
