"""The gradient-flow laboratory: what is recorded of a step, what theory says of it, and what many seeds say."""

from gradlab.flow.correlations import Correlation, correlation_fixed_point, correlation_map
from gradlab.flow.doctor import Diagnosis, Finding, diagnose
from gradlab.flow.gains import Attribution, attribution
from gradlab.flow.probes import PROBES, FlowRecorder, Sight
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
from gradlab.flow.theory import MeanField, chi, critical_gain, mean_field, predicted_decay, variance_map

__all__ = [
    "PROBES",
    "Attribution",
    "Correlation",
    "DecaySlope",
    "Diagnosis",
    "Finding",
    "FlowRecorder",
    "Interval",
    "MeanField",
    "PairedTest",
    "Sight",
    "attribution",
    "bootstrap_interval",
    "chi",
    "correlation_fixed_point",
    "correlation_map",
    "critical_gain",
    "decay_slope",
    "diagnose",
    "mean_field",
    "mean_interval",
    "median_interval",
    "paired_test",
    "predicted_decay",
    "share_interval",
    "variance_map",
]
