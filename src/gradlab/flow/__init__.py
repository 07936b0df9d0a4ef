"""The gradient-flow laboratory: what is recorded of a step, and what the numbers of many seeds say."""

from gradlab.flow.diagnose import Diagnosis, Finding, diagnose
from gradlab.flow.gains import Attribution, attribution
from gradlab.flow.probes import PROBES, FlowRecorder
from gradlab.flow.statistics import Interval, mean_interval

__all__ = [
    "PROBES",
    "Attribution",
    "Diagnosis",
    "Finding",
    "FlowRecorder",
    "Interval",
    "attribution",
    "diagnose",
    "mean_interval",
]
