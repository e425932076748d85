"""Errors of the package, and one-line quotations of those of libraries."""


class Pose3dError(Exception):
    """Base of every error class of the package; the message is one line: what was expected, what
    came, what to do.
    """


class EngineError(Pose3dError, RuntimeError):
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
