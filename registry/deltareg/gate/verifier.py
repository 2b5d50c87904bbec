"""The verifier's version and its environment, as verdicts record them.

A change to the findings of a check must raise the version. From then on verdicts of an older
verifier do not count, and the server asks for new ones.
"""

from collections.abc import Mapping

VERIFIER_VERSION = "3"
VERIFIER = f"deltareg-verify/{VERIFIER_VERSION}"
ENVIRONMENT = ("torch", "cuda", "driver", "device", "gpu")


def is_current_verifier(told: str) -> bool:
    """Whether a verdict was made by this version of the verifier.

    Args:
        told: The verifier as recorded: `deltareg-verify/3 deltareg/0.4.0`.
    """
    return told.partition(" ")[0] == VERIFIER


def environment_key(told: Mapping[str, str]) -> str:
    """Return the part of an environment that may change a result: `torch 2.10.0, device cpu`.

    Args:
        told: The environment that a verdict recorded, or the labels of a worker; the index of a
            device (`cuda:1`) makes no difference.
    """
    entries = {key: told[key] for key in ENVIRONMENT if told.get(key)}
    if "device" in entries:
        entries["device"] = entries["device"].partition(":")[0]
    return ", ".join(f"{key} {value}" for key, value in entries.items())
