"""The errors of all engines."""


class EngineError(RuntimeError):
    """A network cannot be loaded or run; the message is one line that says what to do."""


class MissingEngineError(EngineError):
    """The engine's library or device is not on this machine; the message ends with the remedy."""


class PrecisionError(EngineError):
    """The engine does not compute in the precision asked for."""
