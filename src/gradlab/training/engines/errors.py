"""What is raised when an engine cannot do what it is asked for."""


class EngineError(ValueError):
    """The compiled engine was asked for and cannot run, or does not compute what the layers do."""
