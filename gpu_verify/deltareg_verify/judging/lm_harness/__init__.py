"""lm-evaluation-harness on the engine, the only part of the project that imports it.

It is optional and takes seconds to import, so nothing here is imported before a suite asks for it.
"""

from deltareg_verify.judging.lm_harness.answers import LmAnswers, ask

__all__ = ["LmAnswers", "ask"]
