"""The errors of all engines, and how to say those of their libraries."""


class EngineError(RuntimeError):
    """A network cannot be loaded or run; the message is one line that says what to do."""


class MissingEngineError(EngineError):
    """The engine's library or device is not on this machine; the message ends with the remedy."""


class PrecisionError(EngineError):
    """The engine does not compute in the precision asked for."""


def one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())


def quoted(error: BaseException) -> str:
    """As much of a library's message as is worth repeating in one of ours."""
    return one_line(error)[:300]
