"""2D keypoints of followed people -> 3D joints relative to the pelvis."""

from __future__ import annotations

from pose3d_ros import inference
from pose3d_ros.lifting.lifter import DEPTH_INPUTS, LATENCY_FRAMES, LiftedPoses, Lifter
from pose3d_ros.lifting.recurrent import FrameLifter
from pose3d_ros.lifting.windowed import TemporalLifter
from pose3d_ros.model_store.store import locate
from pose3d_ros.settings import GUESS_DEPTH, PipelineSettings, SettingsError

__all__ = ["LATENCY_FRAMES", "LiftedPoses", "Lifter", "lifter_name", "create"]


def lifter_name(settings: PipelineSettings) -> str:
    """The name of the shipped lifter, or the path of the model, that the settings ask for."""
    if settings.lifter_model or settings.lifter != "auto":
        return settings.lifter_model or settings.lifter
    return "rpsm-context" if settings.detector in GUESS_DEPTH else "rpsm"


def create(settings: PipelineSettings) -> Lifter:
    """The lifter that the settings name; what a model looks at is told by the names of its inputs.

    Raises ``ModelError``, ``EngineError``, or ``SettingsError`` if the detector does not see what
    the lifter looks at.
    """
    name = lifter_name(settings)
    # Coarse arithmetic costs a lifter millimetres and saves nothing: it is for networks of
    # pictures.
    precision = "auto" if settings.precision in ("bf16", "int8") else settings.precision
    engine = inference.load(
        locate(settings.lifter_model or f"lifter-{name}"),
        settings.engine,
        settings.threads,
        precision=precision,
        max_people=settings.max_people,
    )
    problem: Exception | None = None
    if not engine.inputs.keys() & {"keypoints", "images"} or "joints" not in engine.outputs:
        problem = inference.EngineError(
            f"lifter_model {settings.lifter_model}: expected an ONNX lifter as 'pose3d "
            f"export' writes it, from keypoints or images to joints, got one from "
            f"{', '.join(engine.inputs)} to {', '.join(engine.outputs)}"
        )
    elif DEPTH_INPUTS & engine.inputs.keys() and settings.detector not in GUESS_DEPTH:
        problem = SettingsError(
            f"lifter {name}: expected a detector that guesses depth ({', '.join(GUESS_DEPTH)}), "
            f"got '{settings.detector}'; set the lifter to rpsm or auto"
        )
    if problem is not None:
        engine.close()
        raise problem
    return TemporalLifter(engine) if engine.inputs.keys() == {"keypoints"} else FrameLifter(engine)
