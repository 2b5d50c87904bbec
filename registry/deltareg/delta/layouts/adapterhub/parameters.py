"""The tensors of one module, each taken once under a name and a shape that it must have."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.delta.kind import Tensors
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.maths.formula import Tensor


@dataclass(slots=True)
class ModuleParameters:
    """One module's tensors; missing or misfitting ones are recorded in the plan.

    Attributes:
        module: The module, for messages.
        names: Parameter -> tensor name.
        tensors: All tensors.
        plan: Receives problems.
        roles: Tensor name -> role, of those taken.
        is_sound: Whether every tensor so far was there and fitted.
    """

    module: str
    names: Mapping[str, str]
    tensors: Tensors
    plan: EffectPlan
    roles: dict[str, str] = field(default_factory=dict[str, str])
    is_sound: bool = True

    def shape(self, parameter: str) -> tuple[int, ...]:
        """Return a tensor's shape; empty if it is missing."""
        name = self.names.get(parameter)
        return () if name is None else self.tensors[name].shape

    def take(self, parameter: str, *shapes: tuple[int, ...]) -> Tensor:
        """Take a tensor that must have one of these shapes.

        Returns:
            The tensor; an arbitrary one if a problem was recorded, since the plan is void then.
        """
        name = self.names.get(parameter)
        if name is None:
            self._refuse("missing_tensors", f"its {parameter} is missing", "")
            return next(iter(self.tensors.values()))
        tensor = self.tensors[name]
        self.roles[name] = parameter
        if tensor.shape not in shapes:
            expected = " or ".join(str(list(shape)) for shape in shapes)
            message = f"{list(tensor.shape)} is not {expected}, which {self.module} needs"
            self._refuse("shape", message, name)
        return tensor

    def finish(self) -> bool:
        """Refuse tensors that were not taken.

        Returns:
            Whether the module is sound.
        """
        for parameter, name in self.names.items():
            if name not in self.roles:
                message = f"the config knows no {parameter} in {self.module}"
                self._refuse("unexpected_tensors", message, name)
        return self.is_sound

    def _refuse(self, code: str, message: str, tensor: str) -> None:
        self.is_sound = False
        name = tensor or next(iter(self.names.values()), self.module)
        self.plan.refuse(code, message, name, "save the adapter again with the library")
