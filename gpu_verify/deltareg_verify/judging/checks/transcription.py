"""How many words, or characters, of a transcript are wrong: networks that write down speech.

The probe set holds sounds as the network takes them and their transcripts; errors are jiwer's.
"""

from functools import partial
from importlib.util import find_spec

from deltareg.errors import InvalidInput
from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.answers import texts_of
from deltareg_verify.engine.measures.normal_forms import FORMS
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared
from deltareg_verify.judging.text_scores import error_rate, letter_errors, word_errors

_LIBRARY = "jiwer"
_ERRORS = {"wer": word_errors, "cer": letter_errors}


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the rates of errors over all transcripts."""
    if find_spec(_LIBRARY) is None:
        reason = f"this worker has no {_LIBRARY}; pip install 'deltareg[texts]' there"
        return Finding("skipped", detail=reason)
    which = str(spec.parameters["measure"])
    return rows_compared(
        case,
        spec,
        partial(_values, case, spec),
        SampleMeasure(
            description=which.upper(),
            by=which,
            aggregate=error_rate,
            needs="a network that writes down what it hears, and a tokenizer in the base",
        ),
    )


def _values(case: Case, spec: CheckSpec, side: EngineSide, samples: Samples) -> list[object] | None:
    form = FORMS[str(spec.parameters["form"])]
    targets = [form(target) for target in samples.targets]
    if not all(targets):
        raise InvalidInput(f"the transcript of sample {targets.index('')} has no words")
    transcripts = texts_of(side, samples, count=int(spec.number("new_tokens")), known=case.written)
    if transcripts is None:
        return None
    count = _ERRORS[str(spec.parameters["measure"])]
    return [count(form(text), target) for text, target in zip(transcripts, targets, strict=True)]


CHECK = Check(
    "transcription",
    run,
    CheckForm(
        "how much of what it hears it writes down wrongly",
        {**UNDECIDED, "worse": "fail", "measure": "wer", "form": "plain", "new_tokens": 128},
        counts=("least_samples", "new_tokens"),
        choices={"measure": tuple(_ERRORS), "form": tuple(FORMS)},
        probes=("targets",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
