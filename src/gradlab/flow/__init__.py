"""The gradient-flow laboratory: what is recorded of a step, what theory says of it, and what many seeds say."""

from gradlab.flow.diagnose import Diagnosis, Finding, diagnose
from gradlab.flow.gains import Attribution, attribution
from gradlab.flow.probes import PROBES, FlowRecorder
from gradlab.flow.statistics import (
    DecaySlope,
    Interval,
    PairedTest,
    bootstrap_interval,
    decay_slope,
    mean_interval,
    median_interval,
    paired_test,
    share_interval,
)

__all__ = [
    "PROBES",
    "Attribution",
    "DecaySlope",
    "Diagnosis",
    "Finding",
    "FlowRecorder",
    "Interval",
    "PairedTest",
    "attribution",
    "bootstrap_interval",
    "decay_slope",
    "diagnose",
    "mean_interval",
    "median_interval",
    "paired_test",
    "share_interval",
]
