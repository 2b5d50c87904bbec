"""The supported instructions: those of pickle protocols 2 to 5 for values and tensors.

Each is one byte and makes at most one value, and their number is limited, so time and memory are
bounded.
"""

from collections.abc import Callable

from deltareg.client.convert.torch_archive.machine import PickleMachine
from deltareg.client.convert.torch_archive.values import make_refusal

_MOST = 2_000_000
_STOP = ord(".")


def carry_out(machine: PickleMachine) -> object:
    """Run a pickle to its end and return its value.

    Raises:
        Refused: The pickle has an instruction, a name or a value that no file of tensors needs, or
            too many of them.
    """
    for _ in range(_MOST):
        code = machine.take(1)[0]
        if code == _STOP:
            return machine.result
        step = _STEPS.get(code)
        if step is None:
            raise make_refusal(f"instruction {code:#04x} at byte {machine.position - 1} makes no tensors")
        step(machine)
    raise make_refusal(f"it has more than {_MOST} instructions", "limits")


def _short_name(machine: PickleMachine) -> None:
    module = machine.line()
    machine.name(module, machine.line())


def _float(machine: PickleMachine) -> None:
    machine.take(8)  # no tensor has one; a note in `_metadata` may
    machine.push(None)


_STEPS: dict[int, Callable[[PickleMachine], None]] = {
    0x80: PickleMachine.protocol,
    0x95: PickleMachine.frame,
    ord("("): PickleMachine.mark,
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),  # noqa: FBT003  # a value like any other
    0x89: lambda m: m.push(False),  # noqa: FBT003
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    0x8A: PickleMachine.integer,
    ord("G"): _float,
    0x8C: lambda m: m.push(m.text(m.number("<B"))),
    ord("X"): lambda m: m.push(m.text(m.number("<I"))),
    0x8D: lambda m: m.push(m.text(m.number("<Q"))),
    ord(")"): lambda m: m.push(()),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("t"): lambda m: m.push(tuple(m.above_mark())),
    ord("]"): lambda m: m.push(list[object]()),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.above_mark()),
    ord("}"): lambda m: m.push(dict[object, object]()),
    ord("s"): PickleMachine.one_item,
    ord("u"): lambda m: m.set_items(m.above_mark()),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: PickleMachine.memoize,
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("c"): _short_name,
    0x93: PickleMachine.stacked_name,
    ord("R"): PickleMachine.reduce,
    ord("b"): PickleMachine.build,
    ord("Q"): PickleMachine.outside,
}
