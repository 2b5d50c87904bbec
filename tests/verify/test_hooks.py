"""Hooks on a live network: what they read, what they change, in which order, and how they end."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from transformers.utils.generic import ModelOutput

from deltareg.errors import Inconclusive
from deltareg.kind import ActivationHook, Tap
from deltareg_verify.torch_engine.hooks import hooked
from deltareg_verify.torch_engine.ops import TorchOps

OPS = TorchOps(torch.device("cpu"))


@dataclass
class Answer(ModelOutput):
    """What a network of transformers answers with."""

    first: torch.Tensor | None = None
    second: torch.Tensor | None = None


class Part(nn.Module):
    """Doubles; answers in one of the ways that modules do."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, hidden, residual=None, *, scale=2.0):
        value = hidden * scale
        if self.answer == "tuple":
            return value, hidden
        if self.answer == "named":
            return Answer(first=value, second=hidden)
        return value


class Net(nn.Module):
    """Two parts, one called by position and one by name."""

    def __init__(self, answer: str = "tensor") -> None:
        super().__init__()
        self.one = Part(answer)
        self.two = Part("tensor")
        self.norm = nn.LayerNorm(3)

    def forward(self, x, mask=None):
        y = self.one(x, x + 1)
        self.seen = y
        first = y if isinstance(y, torch.Tensor) else y[0]
        return self.two(hidden=first, residual=None)


@dataclass
class Doing:
    """A hook made of a function of value and what is seen."""

    function: Any

    def apply(self, value, seen, ops):
        return self.function(value, seen)


def hook(function, module="one", when="after", **taps):
    return ActivationHook(module, when, taps, {}, Doing(function))


def run(hooks, *args, net=None, **kwargs):
    fired = []
    net = net or Net()
    with hooked(net, hooks, OPS, fired.append):
        return net(*args, **kwargs), fired, net


X = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("module", ["one", "two"])
def test_an_input_changes_whether_it_is_given_by_place_or_by_name(module):
    result, fired, _ = run([hook(lambda v, _: v + 1, module, "before")], X)

    assert torch.equal(result, (X + 1) * 4 if module == "one" else (X * 2 + 1) * 2)
    assert len(fired) == 1


@pytest.mark.parametrize("answer", ["tensor", "tuple", "named"])
def test_an_output_changes_and_the_rest_of_it_stays(answer):
    result, _, net = run([hook(lambda v, _: v + 1)], X, net=Net(answer))

    assert torch.equal(result, (X * 2 + 1) * 2)
    if answer != "tensor":
        assert type(net.seen) is (tuple if answer == "tuple" else Answer)
        assert torch.equal(net.seen[1], X)


def test_hooks_on_one_module_run_in_order():
    hooks = [hook(lambda v, _: v + 1), hook(lambda v, _: v * 10)]

    result, fired, _ = run(hooks, X)

    assert torch.equal(result, (X * 2 + 1) * 20)
    assert fired == hooks


def test_what_hooks_make_is_rounded_once_to_the_modules_dtype():
    third = 1 / 3
    hooks = [hook(lambda v, _: v * third), hook(lambda v, _: v * 3)]

    result, _, _ = run(hooks, X.bfloat16())

    assert result.dtype == torch.bfloat16
    assert torch.equal(result, ((X * 2) * third * 3).bfloat16() * 2)


TAPS = {
    "own input": (Tap("one", "input"), X),
    "own second input": (Tap("one", "input", 1), X + 1),
    "own second input by name": (Tap("one", "input", "residual"), X + 1),
    "an input given by name, by place": (Tap("two", "input", 0), X * 2),
    "an input given by name": (Tap("two", "input", "hidden"), X * 2),
    "an output": (Tap("one", "output"), X * 2),
    "the network's argument": (Tap("", "input", "mask"), torch.ones(2, 3)),
    "the network's argument by place": (Tap("", "input", 1), torch.ones(2, 3)),
}


@pytest.mark.parametrize("name", TAPS)
@pytest.mark.parametrize("by_name", [False, True])
def test_a_tap_reads(name, by_name):
    tap, expected = TAPS[name]
    module = "two" if tap.module == "two" or tap.what == "output" else "one"
    found = []
    mask = torch.ones(2, 3, dtype=torch.int64)
    given = {"mask": mask} if by_name else {}

    run(
        [hook(lambda v, seen: found.append(seen.arrays["t"]) or v, module, t=tap)],
        X, *(() if by_name else (mask,)), **given,
    )  # fmt: skip

    assert found[0].dtype == torch.float32
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize("tap", [Tap("", "input", "mask"), Tap("two", "input", "residual")])
def test_a_tap_on_what_is_not_given_is_left_out(tap):
    found = []

    run([hook(lambda v, seen: found.append(dict(seen.arrays)) or v, "two", t=tap)], X)

    assert found == [{}]


def test_a_tap_never_reads_an_earlier_forward():
    found, net = [], Net()
    reader = hook(lambda v, seen: found.append("t" in seen.arrays) or v, t=Tap("two", "output"))

    with hooked(net, [reader], OPS, lambda _: None):
        net(X)
        net(X)

    assert found == [False, False]


def test_a_tap_sees_what_other_hooks_have_changed():
    found = []
    hooks = [
        hook(lambda v, seen: found.append(seen.arrays["t"]) or v, "two", t=Tap("one", "output")),
        hook(lambda v, _: v + 1, "one"),
    ]

    run(hooks, X)

    assert torch.equal(found[0], X * 2 + 1)


def test_a_module_is_a_function_in_its_own_dtype_without_its_hooks():
    net = Net()
    net.norm.half()
    found = []
    hooks = [
        hook(lambda v, s: found.append(s.functions["f"](v)) or v, f=Tap("norm", "function")),
        hook(lambda v, _: v * 0, "norm"),
    ]

    run(hooks, X, net=net)

    assert torch.equal(found[0], net.norm((X * 2).half()).float())


def test_a_hook_on_a_module_that_is_not_there_never_fires():
    result, fired, _ = run([hook(lambda v, _: v + 1, "three")], X)

    assert torch.equal(result, X * 4)
    assert fired == []


def test_a_tap_on_a_module_that_is_not_there_is_inconclusive_and_leaves_no_hook():
    net = Net()
    hooks = [hook(lambda v, _: v, "one"), hook(lambda v, _: v, "two", t=Tap("gone", "output"))]

    with pytest.raises(Inconclusive, match="no module gone"):
        run(hooks, X, net=net)

    assert hooks_on(net) == 0


def test_no_hook_stays_even_when_the_forward_fails():
    net = Net()

    with pytest.raises(ZeroDivisionError):
        run([hook(lambda *_: 1 / 0, t=Tap("", "input", "mask"))], X, net=net)

    assert hooks_on(net) == 0


def hooks_on(net):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())
