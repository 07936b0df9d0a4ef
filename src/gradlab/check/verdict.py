"""What a check says: right or wrong, and in the second case why."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What was found; true if it is right.

    Attributes
    ----------
    right : bool
    subject : str
        What was checked.
    says : str
        One or a few sentences.
    mistake : str
        Which known mistake explains the numbers, in a word or two; empty if none does, or nothing is wrong.
    """

    right: bool
    subject: str
    says: str
    mistake: str = ""

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return f"{'right' if self.right else 'wrong'}: {self.subject}: {self.says}"
