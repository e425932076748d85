# Copyright 2026 pose3d_ros maintainers
# SPDX-License-Identifier: Apache-2.0
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Every setting of the package, in one typed place: default, bounds, description.

ROS parameters, command-line arguments, launch descriptions and the site's tables are made from
these dataclasses.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from pose3d_ros import registry
from pose3d_ros.errors import Pose3dError
from pose3d_ros.registry import Choices
from pose3d_ros.skeleton import PUBLISHED

S = TypeVar("S", bound="Settings")


class SettingsError(Pose3dError, ValueError):
    """A setting with a value that it cannot have."""


def setting(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Collection[str] | None = None,
    live: bool = False,
) -> Any:
    """A dataclass field with bounds (inclusive) and a description. ``live``: may change while the
    node runs.
    """
    metadata = {
        "description": description,
        "low": low,
        "high": high,
        "choices": choices,
        "live": live,
    }
    return field(default=default, metadata=metadata)


def check(spec: Field[Any], value: Any) -> str | None:
    """Why ``value`` is not valid for the setting, or None when it is."""
    expected: type = type(spec.default)
    meta = spec.metadata
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected:
        return f"{spec.name}: expected {expected.__name__}, got {type(value).__name__} {value!r}"
    if meta["choices"] and value not in meta["choices"]:
        return f"{spec.name}: expected one of {', '.join(meta['choices'])}; got '{value}'"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{spec.name}: expected a finite number, got {value}"
    if (
        meta["low"] is not None
        and value < meta["low"]
        or meta["high"] is not None
        and value > meta["high"]
    ):
        return f"{spec.name}: expected {meta['low']:g} to {meta['high']:g}, got {value:g}"
    return None


@dataclass(frozen=True)
class Settings:
    """Base of the settings dataclasses: construction checks every value and raises
    ``SettingsError``.
    """

    def __post_init__(self) -> None:
        problems = [
            problem for spec in fields(self) if (problem := check(spec, getattr(self, spec.name)))
        ]
        if problems:
            raise SettingsError("; ".join(problems))

    def changed(self: S, **values: Any) -> S:
        """A copy with some values changed; names that are not settings raise ``SettingsError``
        with those that are.
        """
        known = [spec.name for spec in fields(self)]
        if unknown := sorted(set(values) - set(known)):
            raise SettingsError(f"unknown setting {', '.join(unknown)}; known: {', '.join(known)}")
        return replace(self, **values)


DETECTORS = Choices(registry.DETECTORS, "auto")
LIFTERS = Choices(registry.LIFTERS, "auto")
ENGINES = Choices(registry.ENGINES, "auto")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class SkeletonSettings(Settings):
    """The setting of everything that makes people in space."""

    skeleton: str = setting(
        "h36m17",
        "Joints of the people: h36m17, Human3.6M's 17, or body30, these first and then 13 more of "
        "face, hands and feet: nose, eyes, ears, knuckles, heels, toes",
        choices=PUBLISHED,
    )


@dataclass(frozen=True)
class PipelineSettings(SkeletonSettings):
    """Settings of the way from images to tracked 3D people (``pipeline.MonocularPipeline``)."""

    detector: str = setting(
        "blazepose",
        "2D pose detector: blazepose, blazepose-heavy (better, four times the cost) and movenet "
        "need no model file; simcc (RTMPose), heatmap "
        "(HRNet) and heatmap-udp (ViTPose) are top-down, rtmo and yolo-pose one-stage ONNX "
        "models; auto is blazepose-heavy on a GPU and where 'pose3d benchmark --detector auto' "
        "found that this CPU reads max_people people with it at 30 Hz, else blazepose",
        choices=DETECTORS,
    )
    detector_model: str = setting(
        "", "Path of the detector's ONNX model; empty for those without a model file"
    )
    person_model: str = setting(
        "",
        "Path of an ONNX person detector for the top-down detectors; it must contain "
        "yolox or rtmdet",
    )
    lifter: str = setting(
        "auto",
        "2D to 3D lifter: rpsm carries a state from frame to frame, rpsm-context looks at "
        "the detector's root-relative depth as well, videopose3d at the last 0.9 s, martinez at "
        "one frame; context at one frame and feature maps, context-t at those of half a second; "
        "auto is rpsm-context with detectors that tell depth (blazepose, blazepose-heavy), else "
        "rpsm",
        choices=LIFTERS,
    )
    lifter_model: str = setting(
        "",
        "Path of another ONNX lifter, as 'pose3d train' and 'pose3d export' write it; "
        "empty takes the shipped one",
    )
    engine: str = setting(
        "auto", "Inference engine: auto takes the fastest that is installed", choices=ENGINES
    )
    precision: str = setting(
        "auto",
        "Arithmetic of the networks: auto is fp16 with tensorrt and fp32 else; bf16 (of "
        "openvino) and int8 are for the detector's",
        choices=PRECISIONS,
    )
    threads: int = setting(0, "CPU threads for inference; 0 takes all cores", low=0, high=256)
    lift: bool = setting(
        True, "Lift to 3D; false publishes 2D keypoints only (a camera of a multi-view rig)"
    )
    max_people: int = setting(4, "Most people followed at once", low=1, high=64)
    detect_interval_s: float = setting(
        0.5,
        "Time between two searches for newcomers while people are followed",
        low=0.0,
        high=10.0,
        live=True,
    )
    min_confidence: float = setting(
        0.3, "Keypoints below this confidence are not used for 3D", low=0.0, high=1.0, live=True
    )
    person_height_m: float = setting(
        1.70,
        "Standing height that sets the metric scale; depth is proportional to it",
        low=0.5,
        high=2.5,
        live=True,
    )
    person_height_sigma_m: float = setting(
        0.10,
        "One standard deviation of people's height; goes into sigma",
        low=0.0,
        high=0.5,
        live=True,
    )
    camera_height_m: float = setting(
        0.0,
        "Height of the camera above the floor: feet on the floor then tell people's distance and "
        "stature; 0 where it is not known",
        low=0.0,
        high=100.0,
        live=True,
    )
    camera_pitch_deg: float = setting(
        0.0,
        "How far the camera of camera_height_m looks down; negative looks up",
        low=-90.0,
        high=90.0,
        live=True,
    )
    camera_roll_deg: float = setting(
        0.0,
        "How far the world's up leans to the right in the picture of the camera of "
        "camera_height_m",
        low=-180.0,
        high=180.0,
        live=True,
    )
    learn_floor: bool = setting(
        True,
        "Learn the floor from people who stand and walk, where nothing else tells it, and use it "
        "once it is sure; false for a camera that is carried or tilted",
        live=True,
    )
    fixed_frame: str = setting(
        "",
        "Frame to publish people in, z up, that does not move with the camera (odom, map), by TF "
        "at each image's stamp; empty takes the camera's optical frame",
    )
    depth_scale: float = setting(
        1.0,
        "Factor on the depth image for cameras whose unit is not that of REP-118 (16UC1 in mm, "
        "32FC1 in m): 0.25 for a RealSense L515, 0.001 for 32FC1 in mm",
        low=1e-6,
        high=1e6,
        live=True,
    )
    smoothing: float = setting(
        1.0,
        "Strength of the Kalman filter: 0 publishes measurements as they are, 1 is the "
        "measured optimum, larger is smoother and later",
        low=0.0,
        high=10.0,
        live=True,
    )
    max_occlusion_s: float = setting(
        0.5,
        "How long a person who is not seen is predicted before being dropped",
        low=0.0,
        high=5.0,
        live=True,
    )


@dataclass(frozen=True)
class NodeSettings(Settings):
    """Parameters that every node has."""

    autostart: bool = setting(
        True, "Configure and activate at start; false leaves both to a lifecycle manager"
    )


@dataclass(frozen=True)
class DiagnosedNodeSettings(NodeSettings):
    """Parameters of a node that tells its state on /diagnostics."""

    diagnostics_period_s: float = setting(
        1.0, "Time between two messages on /diagnostics", low=0.1, high=60.0
    )


@dataclass(frozen=True)
class PoseNodeSettings(DiagnosedNodeSettings):
    """Parameters of a node that publishes people in space."""

    publish_tentative: bool = setting(
        False,
        "Publish people who have not been seen for long enough to be believed as well; their "
        "state is 0",
        live=True,
    )
    publish_tf: str = setting(
        "none",
        "Frames on /tf: none, one per person, or one per joint",
        choices=("none", "person", "joints"),
        live=True,
    )
    prediction_s: float = setting(
        0.0,
        "How far ahead of the moment of publishing the people of `predicted` are; 0 makes up for "
        "the latency alone",
        low=0.0,
        high=2.0,
        live=True,
    )
    covariance: bool = setting(
        False,
        "Also publish each joint's covariance: fields cov_xx to cov_zz of `joints` and "
        "`predicted`, ellipsoids of one sigma in `markers`",
        live=True,
    )


@dataclass(frozen=True)
class MonocularNodeSettings(PoseNodeSettings, PipelineSettings):
    """Parameters of the ``monocular`` node."""

    floor_frame: str = setting(
        "",
        "Frame whose plane z = 0 is the floor (base_footprint, map), by TF at each image's stamp; "
        "empty takes camera_height_m",
    )
    rig: str = setting(
        "",
        "Rig file that tells the intrinsics of rig_camera, instead of camera_info, and where it "
        "stands in the file's frame, instead of TF",
    )
    rig_camera: str = setting("", "Name of this camera in the rig file")
    transport: str = setting(
        "raw",
        "How images arrive: raw on `image`, or compressed on `image/compressed`",
        choices=("raw", "compressed"),
    )
    max_fps: float = setting(
        0.0,
        "Most images per second to work on, by their stamps, to spare the processor (not with "
        "pace:=joints); 0: all that it manages",
        low=0.0,
        high=1000.0,
        live=True,
    )
    assumed_fov_deg: float = setting(
        0.0,
        "Horizontal field of view to assume when no valid camera_info arrives; "
        "0 refuses to lift without one",
        low=0.0,
        high=170.0,
    )


@dataclass(frozen=True)
class VideoNodeSettings(NodeSettings):
    """Parameters of the ``video`` node."""

    source: str = setting(
        "",
        "Video file, folder of images, bag (folder, .mcap, .db3 or .bag), camera (/dev/video0, "
        "its number, or a link to it), or URL of a network camera (rtsp://...)",
    )
    rig: str = setting(
        "",
        "Rig file whose cameras' videos are played in step, each in its camera's namespace, "
        "instead of a source",
    )
    bag_topic: str = setting("", "Image topic to read from a bag; empty takes the only one")
    width: int = setting(
        0, "Width to ask a camera device for, with height; 0 takes its own", low=0, high=16384
    )
    height: int = setting(
        0, "Height to ask a camera device for, with width; 0 takes its own", low=0, high=16384
    )
    calibration: str = setting(
        "", "camera_calibration YAML to publish as camera_info; empty takes a bag's own"
    )
    assumed_fov_deg: float = setting(
        0.0,
        "Horizontal field of view to publish as camera_info when there is no "
        "calibration; 0 publishes none",
        low=0.0,
        high=170.0,
    )
    frame_id: str = setting(
        "camera_optical", "Optical frame of the images (x right, y down, z forward)"
    )
    compressed: bool = setting(False, "Also publish JPEG on `image/compressed`")
    pace: str = setting(
        "realtime",
        "realtime plays at rate_hz and skips nothing; joints waits for `joints` of the last frame "
        "as well, so that every frame is processed, however slow the computer",
        choices=("realtime", "joints"),
    )
    rate_hz: float = setting(
        0.0,
        "Frames per second in realtime, also to ask a camera device for; 0 takes the source's own",
        low=0.0,
        high=1000.0,
    )
    loop: bool = setting(False, "Start again at the end; false ends the node")
    wait_for_subscribers: int = setting(
        0, "Subscribers of the images to wait for before the first frame", low=0, high=100
    )


@dataclass(frozen=True)
class SeparationNodeSettings(DiagnosedNodeSettings):
    """Parameters of the ``separation`` node."""

    shapes: str = setting(
        "", "YAML file of the robot's spheres and capsules (config/robot_shapes.yaml)"
    )
    max_age_s: float = setting(
        0.3,
        "Age of joints beyond which nothing is known, so that everybody counts as near",
        low=0.01,
        high=10.0,
        live=True,
    )


@dataclass(frozen=True)
class RecorderNodeSettings(NodeSettings):
    """Parameters of the ``recorder`` node."""

    output: str = setting(
        "",
        "File to write people to, which must not be there yet: NAME.csv, .jsonl, .npz, .mcap, "
        ".trc, .c3d, .bvh or .mot (docs/files.md)",
    )


@dataclass(frozen=True)
class ViewerNodeSettings(NodeSettings):
    """Parameters of the ``viewer`` node."""

    rig: str = setting("", "Rig file whose cameras are shown with what they see")
    viewer_address: str = setting(
        "localhost",
        "Address of this machine to serve the browser view on; 0.0.0.0 lets everybody look who "
        "reaches the machine",
    )
    viewer_port: int = setting(
        8080, "Port of the browser view, or the next that is free; 0 takes any", low=0, high=65535
    )


@dataclass(frozen=True)
class HumansNodeSettings(NodeSettings):
    """Parameters of the ``humans`` node."""


@dataclass(frozen=True)
class MultiviewNodeSettings(PoseNodeSettings, SkeletonSettings):
    """Parameters of the ``multiview`` node."""

    rig: str = setting(
        "",
        "Rig file: the cameras and, unless TF tells, where they stand (pose3d calibrate writes "
        "one)",
    )
    cameras: str = setting(
        "",
        "Namespaces of the cameras, separated by spaces, when there is no rig file: intrinsics "
        "then come from their camera_info, and poses from TF",
    )
    fixed_frame: str = setting(
        "", "Frame to publish people in, z up; empty takes the rig file's, or world"
    )
    max_latency_s: float = setting(
        0.0,
        "How long to wait for a camera that is later than the first; 0: as long as the cameras' "
        "rates and usual lateness need, at most 1 s",
        low=0.0,
        high=2.0,
    )
    max_occlusion_s: float = setting(
        0.5,
        "How long a person whom no camera sees is predicted before being dropped",
        low=0.0,
        high=5.0,
        live=True,
    )
