"""What `explain` returns: a worked step that writes itself."""

from __future__ import annotations

from gradlab.learn.worked import renderers
from gradlab.learn.worked.lines import Worked


class Explanation(Worked):
    """A training step, worked; `explain` makes it."""

    def text(self, colour: bool = False) -> str:
        """Write it for a terminal."""
        return renderers.text(self, colour)

    def markdown(self) -> str:
        """Write it as Markdown with formulas in LaTeX."""
        return renderers.markdown(self)

    def html(self) -> str:
        """Write it as one HTML file, whose formulas need no script and no network."""
        return renderers.page(self)

    def json(self) -> str:
        """Write every line at full precision."""
        return renderers.as_json(self)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return renderers.html(self)

    def _repr_markdown_(self) -> str:
        return self.markdown()
