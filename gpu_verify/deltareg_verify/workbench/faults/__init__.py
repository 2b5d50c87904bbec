"""Faults that are put into a delta on purpose, to see whether a suite notices them.

A fault is something that goes wrong with deltas in practice and raises no error: a converter that
counts layers otherwise, a config of an earlier run, a save in the wrong dtype. Each takes the files
of a healthy version and returns those of a broken one; all randomness is seeded.
"""

from deltareg_verify.workbench.faults import amounts, gaps, places, settings, values, vocabulary
from deltareg_verify.workbench.faults.delta_files import MutableDelta, MutableTensor
from deltareg_verify.workbench.faults.fault import Fault
from deltareg_verify.workbench.faults.training import TRAININGS, TrainingFault

__all__ = ["FAULTS", "TRAININGS", "Fault", "MutableDelta", "MutableTensor", "TrainingFault"]

FAULTS: dict[str, Fault] = {
    fault.name: fault for family in (places, amounts, gaps, values, settings, vocabulary) for fault in family.FAULTS
}
