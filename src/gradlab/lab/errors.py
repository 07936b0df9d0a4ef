"""What is wrong with a configuration; apart from what reads one, so that saying it needs no other package."""

from collections.abc import Sequence


class ConfigError(ValueError):
    """A configuration that cannot be run: one line per mistake, with file, key, what was given and what is allowed."""

    def __init__(self, problems: Sequence[str]):
        self.problems = [_on_a_line(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


def _on_a_line(text: str) -> str:
    """Escape what would end the line or not be seen: a key of TOML may hold it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
