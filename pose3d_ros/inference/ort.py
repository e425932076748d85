"""ONNX Runtime's library, which tells nobody of its use."""

from __future__ import annotations

from functools import cache
from typing import Any

from pose3d_ros.errors import MissingEngineError


@cache
def library() -> Any:
    """The module ``onnxruntime`` with its telemetry off: else it writes a device id and events
    below the user's cache. Raises ``MissingEngineError``.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingEngineError(
            f"ONNX Runtime is not installed ({error}); pip install onnxruntime"
        ) from None
    if hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    return onnxruntime
