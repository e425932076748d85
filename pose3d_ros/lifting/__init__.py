"""2D keypoints of followed people -> 3D joints relative to the pelvis."""

from __future__ import annotations

from pose3d_ros import inference
from pose3d_ros.lifting.context import ContextLifter
from pose3d_ros.lifting.lifter import LATENCY_FRAMES, LiftedPoses, Lifter
from pose3d_ros.lifting.recurrent import RecurrentLifter
from pose3d_ros.lifting.temporal import TemporalLifter
from pose3d_ros.model_store import ModelError, locate
from pose3d_ros.settings import PipelineSettings

__all__ = ["LATENCY_FRAMES", "LiftedPoses", "Lifter", "create"]


def create(settings: PipelineSettings) -> Lifter:
    """The lifter that the settings name; a model with an input ``state`` is a recurrent one, one with feature maps
    looks at the context.

    Raises ``ModelError`` or ``EngineError``.
    """
    if settings.lifter == "context" and not settings.lifter_model:
        raise ModelError("lifter context: expected lifter_model, a file that 'pose3d train --lifter context' wrote; no "
                         "weights of it are shipped, because ours do not help on real video yet")
    engine = inference.load(locate(settings.lifter_model or f"lifter-{settings.lifter}"), settings.engine,
                            settings.threads)
    if missing := {"keypoints"} - engine.inputs.keys() | {"joints"} - engine.outputs.keys():
        engine.close()
        raise inference.EngineError(f"lifter_model {settings.lifter_model}: expected an ONNX lifter as 'pose3d export' "
                                    f"writes it, got one without {', '.join(sorted(missing))}")
    if "features0" in engine.inputs:
        return ContextLifter(engine)
    return RecurrentLifter(engine) if "state" in engine.inputs else TemporalLifter(engine)
