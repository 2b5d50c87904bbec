"""The stack machine that runs pickles, as far as dictionaries of tensors need it."""

import struct
from dataclasses import dataclass, field
from typing import cast

from deltareg.client.convert.torch_archive.values import (
    CALLABLE,
    KNOWN,
    PickleGlobal,
    TorchStorage,
    call,
    make_refusal,
    storage,
)

_LONGEST_TEXT = 1 << 16
_LONGEST_NAME = 256
_LONGEST_INTEGER = 16
_PROTOCOLS = range(2, 6)
NEWLINE = ord("\n")
_METADATA = "_metadata"


@dataclass(slots=True)
class PickleMachine:
    """One pickle that is being read.

    Attributes:
        data: The bytes that contain it.
        position: The position of the next byte.
        storages: Every storage that the pickle names, by key.
    """

    data: memoryview
    position: int = 0
    storages: dict[str, TorchStorage] = field(default_factory=dict[str, TorchStorage])
    _stack: list[object] = field(default_factory=list[object])
    _marks: list[int] = field(default_factory=list[int])
    _memo: dict[int, object] = field(default_factory=dict[int, object])

    @property
    def result(self) -> object:
        """The value of the pickle, once it has ended.

        Raises:
            Refused: Other values are left on the stack.
        """
        if len(self._stack) != 1 or self._marks:
            raise make_refusal("the pickle ends with other things on its stack than one")
        return self._stack[0]

    # What instructions are made of

    def take(self, count: int) -> bytes:
        """Read a number of bytes."""
        end = self.position + count
        if end > len(self.data):
            raise make_refusal("the pickle is cut short", "truncated")
        data = bytes(self.data[self.position : end])
        self.position = end
        return data

    def number(self, form: str) -> int:
        """Read a number in a `struct` format."""
        number: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return number

    def pop(self) -> object:
        """Pop the top of the stack; what lies below a mark is out of reach."""
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise make_refusal("the pickle takes more from its stack than it put there")
        return self._stack.pop()

    def above_mark(self) -> list[object]:
        """Pop everything above the last mark."""
        if not self._marks:
            raise make_refusal("the pickle goes back to a mark that it did not set")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def text(self, count: int) -> str:
        """Read a text of a given number of bytes."""
        if count > _LONGEST_TEXT:
            raise make_refusal(f"it holds a text of {count} bytes", "limits")
        try:
            return self.take(count).decode("utf-8")
        except UnicodeDecodeError as error:
            raise make_refusal("it holds a text that is not UTF-8") from error

    def line(self) -> str:
        """Read a text up to the end of its line."""
        end = self.position
        while end < len(self.data) and self.data[end] != NEWLINE:
            end += 1
            if end - self.position > _LONGEST_NAME:
                raise make_refusal("it names something very long")
        text = self.text(end - self.position)
        self.take(1)
        return text

    # Instructions

    def protocol(self) -> None:
        """Read the protocol number."""
        if self.take(1)[0] not in _PROTOCOLS:
            raise make_refusal("it is of a pickle protocol that is not known here")

    def frame(self) -> None:
        """Read the length of the next frame, which does not matter here."""
        self.take(8)

    def mark(self) -> None:
        """Mark the current place on the stack."""
        self._marks.append(len(self._stack))

    def push(self, value: object) -> None:
        """Push a value onto the stack."""
        self._stack.append(value)

    def remember(self, place: int) -> None:
        """Store the top of the stack under a number."""
        self._memo[place] = self._stack[-1] if self._stack else None

    def memoize(self) -> None:
        """Store the top of the stack under the next free number."""
        self.remember(len(self._memo))

    def recall(self, place: int) -> None:
        """Push what is stored under a number onto the stack."""
        if place not in self._memo:
            raise make_refusal("the pickle asks for something that it did not keep")
        self._stack.append(self._memo[place])

    def integer(self) -> None:
        """Push a long integer."""
        count = self.take(1)[0]
        if count > _LONGEST_INTEGER:
            raise make_refusal(f"it holds an integer of {count} bytes", "limits")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def name(self, module: str, attribute: str) -> None:
        """Push a name; only a few names are allowed."""
        text = f"{module}.{attribute}"
        if text not in KNOWN:
            raise make_refusal(f"it names {text[:120]!r}, which no file of tensors needs")
        self.push(PickleGlobal(text))

    def stacked_name(self) -> None:
        """Push the name that the two texts on the stack spell."""
        attribute, module = self.pop(), self.pop()
        if not (isinstance(attribute, str) and isinstance(module, str)):
            raise make_refusal("it names something by other than text")
        self.name(module, attribute)

    def reduce(self) -> None:
        """Call a name with arguments, if the name is one of the few that may be called."""
        args, function = self.pop(), self.pop()
        if not isinstance(function, PickleGlobal) or function.text not in CALLABLE:
            name = function.text if isinstance(function, PickleGlobal) else type(function).__name__
            raise make_refusal(f"it calls {name}, which makes no tensor")
        if not isinstance(args, tuple):
            raise make_refusal(f"it calls {function.text} with no list of arguments")
        self.push(call(function.text, cast("tuple[object, ...]", args)))

    def build(self) -> None:
        """Set an object's attributes: torch notes versions on a state dict, nothing more."""
        state, target = self.pop(), self.pop()
        keys: set[object] = set(cast("dict[object, object]", state)) if type(state) is dict else {0}
        if type(target) is not dict or keys - {_METADATA}:
            raise make_refusal("it sets attributes of an object")
        self.push(cast("object", target))

    def outside(self) -> None:
        """Push a storage that is kept outside of the pickle."""
        new = storage(self.pop())
        first = self.storages.setdefault(new.key, new)
        if first != new:
            raise make_refusal(f"storage {new.key} is described in two ways")
        self.push(new)

    def append(self, values: list[object]) -> None:
        """Append values to the list below them."""
        target = self.top()
        if type(target) is not list:
            raise make_refusal("it appends to something that is no list")
        cast("list[object]", target).extend(values)

    def set_items(self, values: list[object]) -> None:
        """Put alternating keys and values into the dictionary below them."""
        target = self.top()
        keys = values[0::2]
        if type(target) is not dict or len(values) % 2 or not all(type(k) is str for k in keys):
            raise make_refusal("it sets items of something that is no dictionary of texts")
        cast("dict[object, object]", target).update(zip(keys, values[1::2], strict=True))

    def one_item(self) -> None:
        """Put one key and its value into the dictionary below them."""
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def tuple_of(self, count: int) -> None:
        """Build a tuple from the top of the stack."""
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def top(self) -> object:
        """Return the top of the stack without popping it."""
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise make_refusal("the pickle changes something that is not on its stack")
        return self._stack[-1]
