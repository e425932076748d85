"""The error of all engines."""


class EngineError(RuntimeError):
    """A network cannot be loaded or run; the message is one line that says what to do."""
