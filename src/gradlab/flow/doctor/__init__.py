"""The doctor says what keeps a network from learning, and what to change. Read patient, signs, treatments, diagnosis.

A patient is a network with all that it is trained with; signs are what can be seen in it, each with the treatments
that may help; the diagnosis goes from sign to sign, treats the patient, and looks again.
"""

from gradlab.flow.doctor.diagnosis import Diagnosis, Finding, diagnose
from gradlab.flow.doctor.signs import KINDS

__all__ = ["KINDS", "Diagnosis", "Finding", "diagnose"]
