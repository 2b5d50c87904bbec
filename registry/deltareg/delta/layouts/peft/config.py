"""`adapter_config.json`, read field by field: unknown fields are refused, never ignored."""

from collections.abc import Mapping
from decimal import Decimal
from typing import cast

from deltareg.delta.kind import DeltaFiles
from deltareg.delta.layouts.peft.patterns import PatternBudget
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Source

CONFIG_FILE = "adapter_config.json"
_LIBRARIES = frozenset({"transformers", "diffusers", "sentence_transformers", "timm", "torchvision"})
_UNSLOTH = "unsloth_fixed"  # a mark of what Unsloth has loaded; the library passes over it
# Said for people or for training; no value of theirs changes what the delta does.
_INFORMATION = frozenset(
    {
        "base_model_name_or_path",
        "revision",
        "task_type",
        "inference_mode",
        "peft_version",
        "lora_dropout",
        "runtime_config",
        "peft_type",
        _UNSLOTH,
    }
)
_LONGEST = 1024
_LARGEST = 1e6


def adapter_config(files: DeltaFiles) -> Mapping[str, object] | None:
    """Return the parsed config; None if the folder has none."""
    return files.documents.get(CONFIG_FILE)


def peft_type(files: DeltaFiles) -> str:
    """Return the `peft_type` that the config names; empty if it names none."""
    value = (adapter_config(files) or {}).get("peft_type")
    return value if isinstance(value, str) else ""


def missing_config() -> Refused:
    """Build the refusal of tensors without their config."""
    return Refused(
        [
            Problem(
                "missing_config",
                f"the tensors are those of a peft delta, and {CONFIG_FILE} is missing: the scale is in it alone",
                fix=f"put {CONFIG_FILE} beside the tensors; save_pretrained() writes it",
            )
        ]
    )


def canonical_number(value: float) -> int | str:
    """Write a number for the manifest: integers as such, others as plain decimals."""
    if float(value).is_integer():
        return int(value)
    return format(Decimal(repr(float(value))).normalize(), "f")


class Fields:
    """The fields of one config, each read once by name and type; `finish` refuses the rest.

    A kind reads the fields that it supports and names those that it does not; problems are
    collected and raised together, so a user sees all of them.

    Attributes:
        budget: The time that the config's regular expressions may still take.
    """

    def __init__(self, config: Mapping[str, object]) -> None:
        self._config = config
        self._known = set(_INFORMATION)
        self._problems: list[Problem] = []
        self.budget = PatternBudget()
        self._check_information()

    def has(self, name: str) -> bool:
        """Whether the config has a field, be it null."""
        return name in self._config

    @property
    def version(self) -> tuple[int, int] | None:
        """Major and minor number of the release that wrote the config; None where it does not say."""
        text = self._config.get("peft_version")
        parts = str(text).split(".")[:2] if isinstance(text, str) else []
        return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(map(str.isdecimal, parts)) else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read true or false; null is the default."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        self.refuse(name, "is not true or false")
        return default

    def integer(self, name: str, default: int, *, least: int = 1) -> int:
        """Read a whole number."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and least <= value < 1 << 31:
            return value
        self.refuse(name, f"is not a whole number of at least {least}")
        return default

    def number(self, name: str, default: float) -> float:
        """Read a finite number."""
        value = self._take(name)
        if value is None:
            return default
        if is_number(value):
            return float(cast("float", value))
        self.refuse(name, "is not a finite number of a sane size")
        return default

    def choice(self, name: str, default: str, options: frozenset[str]) -> str:
        """Read one of a few words."""
        value = self._take(name)
        if value is None:
            return default
        if isinstance(value, str) and value in options:
            return value
        self.refuse(name, f"is not one of {', '.join(sorted(options))}")
        return default

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of short strings; null is empty."""
        value = self._take(name)
        if value is None:
            return ()
        if isinstance(value, list):
            items = cast("list[object]", value)
            if all(isinstance(item, str) and 0 < len(item) <= _LONGEST for item in items):
                return tuple(cast("list[str]", items))
        self.refuse(name, "is not a list of names")
        return ()

    def table(self, name: str) -> dict[str, object]:
        """Read an object; null is empty."""
        value = self._take(name)
        if value is None:
            return {}
        if isinstance(value, dict):
            return cast("dict[str, object]", value)
        self.refuse(name, "is not an object")
        return {}

    def value(self, name: str) -> object:
        """Read a field whose type the caller checks."""
        return self._take(name)

    def refuse_unsupported(self, *names: str) -> None:
        """Refuse fields that change the delta in a way that this kind cannot apply."""
        for name in names:
            if _says_something(self._take(name)):
                self.refuse(name, "is not supported: it changes what the delta does")

    def refuse_unsaved_projection(self, leaves: str = "the projections to a random number generator") -> None:
        """Refuse a delta that was saved without what all its modules share.

        Args:
            leaves: What it leaves to whom.
        """
        if not self.flag("save_projection", default=True):
            self.refuse(
                "save_projection",
                f"leaves {leaves}",
                code="not_self_contained",
                fix="set save_projection and save the delta again from the training process",
            )

    def ignore(self, *names: str) -> None:
        """Ignore fields that matter in training only."""
        for name in names:
            self._take(name)

    def refuse(self, name: str, why: str, *, code: str = "bad_config", fix: str = "") -> None:
        """Record that a field is refused."""
        value = str(self._config.get(name))[:80]
        self._problems.append(Problem(code, f"{CONFIG_FILE}: {name} {why} (it is {value})", fix=fix or _FIX))

    def finish(self) -> None:
        """Refuse the config if a problem was recorded or a field was never read.

        Raises:
            Refused: With every problem.
        """
        for name in sorted(self._config.keys() - self._known):
            if _says_something(self._config[name]):
                self.refuse(name[:80], "is not known here, and it is not at its default")
        if self._problems:
            raise Refused(self._problems)

    def _take(self, name: str) -> object:
        self._known.add(name)
        return self._config.get(name)

    def _check_information(self) -> None:
        self._known.add("auto_mapping")
        mapping = self._config.get("auto_mapping")
        if mapping is not None and not _is_plain_mapping(mapping):
            self.refuse("auto_mapping", "names code to import", code="custom_code", fix="set auto_mapping to null")
        for name in ("base_model_name_or_path", "revision", "task_type", "peft_version"):
            value = self._config.get(name)
            if value is not None and not (isinstance(value, str) and len(value) <= _LONGEST):
                self.refuse(name, "is not a short string")


def peft_source(config: Mapping[str, object]) -> Source:
    """Return the library with its version, if the config names it."""
    version = config.get("peft_version")
    return Source("peft", version if isinstance(version, str) else "")


def auto_class(config: Mapping[str, object]) -> str:
    """Return the class that `auto_mapping` says the delta was trained on; empty if it names none."""
    mapping = config.get("auto_mapping")
    if not isinstance(mapping, dict):
        return ""
    name = cast("dict[str, object]", mapping).get("base_model_class")
    return name if isinstance(name, str) else ""


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number of a sane size."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= _LARGEST  # an integer may be larger than any float


_FIX = "save the delta again without it, or ask for a kind that reads it"


def _says_something(value: object) -> bool:
    return value not in (None, False, "", [], {})


def _is_plain_mapping(value: object) -> bool:
    """Whether `auto_mapping` only names a class of a known library."""
    if not isinstance(value, dict):
        return False
    mapping = {k: v for k, v in cast("dict[str, object]", value).items() if k != _UNSLOTH}
    texts = [text for text in mapping.values() if isinstance(text, str) and len(text) <= _LONGEST]
    if mapping.keys() != {"base_model_class", "parent_library"} or len(texts) != len(mapping):
        return False
    parts = str(mapping["parent_library"]).split(".")
    is_path = all(part.isidentifier() and part.isascii() for part in parts)
    return is_path and parts[0] in _LIBRARIES and str(mapping["base_model_class"]).isidentifier()
