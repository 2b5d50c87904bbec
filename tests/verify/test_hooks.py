"""Hooks on a live network: what they read, what they change, in which order, and how they end."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from transformers.utils.generic import ModelOutput

from deltareg.delta.kind import ActivationHook, Tap
from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine.hooks import attach_hooks
from deltareg_verify.engine.torch_engine.ops import TorchOps
from tests.verify.toys import Keeping, hook

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


def run(hooks, *args, net=None, **kwargs):
    fired: list[ActivationHook] = []
    net = net or Net()
    with attach_hooks(net, hooks, OPS, lambda one, _: fired.append(one)):
        return net(*args, **kwargs), fired, net


X = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("module", ["one", "two"])
def test_an_input_changes_whether_it_is_given_by_place_or_by_name(module):
    result, fired, _ = run([hook(lambda v, _: v + 1, module, "before")], X)

    assert torch.equal(result, (X + 1) * 4 if module == "one" else (X * 2 + 1) * 2)
    assert len(fired) == 1


@pytest.mark.parametrize("answer", ["tensor", "tuple", "named"])
def test_an_output_changes_and_the_rest_of_it_stays(answer):
    result, _, net = run([hook(lambda v, _: v + 1, "one")], X, net=Net(answer))

    assert torch.equal(result, (X * 2 + 1) * 2)
    if answer != "tensor":
        assert type(net.seen) is (tuple if answer == "tuple" else Answer)
        assert torch.equal(net.seen[1], X)


def test_hooks_on_one_module_run_in_order():
    hooks = [hook(lambda v, _: v + 1, "one"), hook(lambda v, _: v * 10, "one")]

    result, fired, _ = run(hooks, X)

    assert torch.equal(result, (X * 2 + 1) * 20)
    assert fired == hooks


def test_what_hooks_make_is_rounded_once_to_the_modules_dtype():
    third = 1 / 3
    hooks = [hook(lambda v, _: v * third, "one"), hook(lambda v, _: v * 3, "one")]

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
    keeping, mask = Keeping(), torch.ones(2, 3, dtype=torch.int64)
    places, names = ([], {"mask": mask}) if by_name else ([mask], {})

    run([hook(keeping, module, t=tap)], X, *places, **names)

    assert keeping.arrays[0]["t"].dtype == torch.float32
    assert torch.equal(keeping.arrays[0]["t"], expected)


@pytest.mark.parametrize("tap", [Tap("", "input", "mask"), Tap("two", "input", "residual")])
def test_a_tap_on_what_is_not_given_is_left_out(tap):
    keeping = Keeping()

    run([hook(keeping, "two", t=tap)], X)

    assert keeping.arrays == [{}]


def test_a_tap_never_reads_an_earlier_forward():
    keeping, net = Keeping(), Net()

    with attach_hooks(net, [hook(keeping, "one", t=Tap("two", "output"))], OPS, lambda *_: None):
        net(X)
        net(X)

    assert keeping.arrays == [{}, {}]


def test_a_tap_sees_what_other_hooks_have_changed():
    keeping = Keeping()
    hooks = [hook(keeping, "two", t=Tap("one", "output")), hook(lambda v, _: v + 1, "one")]

    run(hooks, X)

    assert torch.equal(keeping.arrays[0]["t"], X * 2 + 1)


def test_a_module_is_a_function_in_its_own_dtype_without_its_hooks():
    net = Net()
    net.norm.half()
    hooks = [
        hook(lambda v, seen: seen.functions["f"](v), "one", f=Tap("norm", "function")),
        hook(lambda v, _: v * 0, "norm"),
    ]

    result, _, _ = run(hooks, X, net=net)

    assert torch.equal(result, net.norm((X * 2).half()).float() * 2)


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
        run([hook(lambda *_: 1 / 0, "one", t=Tap("", "input", "mask"))], X, net=net)

    assert hooks_on(net) == 0


def hooks_on(net):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())
