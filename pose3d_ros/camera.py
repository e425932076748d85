"""A calibrated camera: intrinsics, lens distortion and pose; projection and viewing rays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from pose3d_ros.geometry import inverse_transform, transform_points

# ROS' distortion models (sensor_msgs/distortion_models.hpp) with the numbers of coefficients that
# OpenCV takes.
DISTORTION_MODELS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}


class CameraError(ValueError):
    """Intrinsics, distortion or pose that no camera can have."""


@dataclass(frozen=True)
class Camera:
    """Pinhole or fisheye camera.

    ``matrix`` (3, 3) in pixels; ``size`` (width, height) in pixels; ``distortion`` in OpenCV's
    order for ``distortion_model``; ``camera_from_world`` (4, 4) maps world metres to the optical
    frame (REP-103: x right, y down, z forward). Raises ``CameraError`` that says which value is
    wrong.
    """

    matrix: np.ndarray
    size: tuple[int, int]
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(0))
    distortion_model: str = "plumb_bob"
    camera_from_world: np.ndarray = field(default_factory=lambda: np.eye(4))
    frame_id: str = "camera"

    def __post_init__(self) -> None:
        for name, shape in (("matrix", (3, 3)), ("camera_from_world", (4, 4))):
            value = np.asarray(getattr(self, name), float)
            if value.shape != shape or not np.isfinite(value).all():
                raise CameraError(f"{name}: expected {shape} finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, value)
        fx, fy = self.matrix[0, 0], self.matrix[1, 1]
        if fx <= 0 or fy <= 0:
            raise CameraError(
                f"expected positive focal lengths, got fx={fx:g}, fy={fy:g}: the camera is not "
                f"calibrated"
            )
        if fx < 0.01 * self.size[0] or self.matrix[2].tolist() != [0, 0, 1]:
            raise CameraError(
                f"matrix: expected [fx s cx; 0 fy cy; 0 0 1] with a focal length in pixels, "
                f"got {self.matrix.tolist()}"
            )
        if min(self.size) <= 0:
            raise CameraError(f"expected a positive image size, got {self.size[0]}x{self.size[1]}")
        distortion = np.asarray(self.distortion, float).reshape(-1)
        if not np.isfinite(distortion).all():
            raise CameraError(
                f"distortion: expected finite coefficients, got {distortion.tolist()}"
            )
        if not distortion.any():
            distortion = np.zeros(0)
        elif self.distortion_model not in DISTORTION_MODELS:
            raise CameraError(
                f"expected a distortion model among {', '.join(DISTORTION_MODELS)}, "
                f"got '{self.distortion_model}'"
            )
        elif len(distortion) not in DISTORTION_MODELS[self.distortion_model]:
            raise CameraError(
                f"{self.distortion_model}: expected {DISTORTION_MODELS[self.distortion_model]} "
                f"coefficients, got {len(distortion)}"
            )
        object.__setattr__(self, "distortion", distortion)

    @classmethod
    def from_fov(
        cls, width: int, height: int, horizontal_fov_rad: float, frame_id: str = "camera"
    ) -> Camera:
        """Undistorted camera with square pixels and a centred principal point."""
        if not 0 < horizontal_fov_rad < math.pi:
            raise CameraError(
                f"expected a field of view between 0 and {math.pi:.2f} rad, got "
                f"{horizontal_fov_rad:g}"
            )
        focal = width / 2 / math.tan(horizontal_fov_rad / 2)
        matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        return cls(matrix, (width, height), frame_id=frame_id)

    @classmethod
    def from_camera_info(
        cls,
        width: int,
        height: int,
        k: Sequence[float],
        d: Sequence[float],
        distortion_model: str,
        frame_id: str = "",
    ) -> Camera:
        """From the fields of a sensor_msgs/CameraInfo (``k`` is row-major, 9 values)."""
        if not distortion_model and not np.any(d):
            distortion_model = "plumb_bob"
        return cls(
            np.array(k, float).reshape(3, 3),
            (width, height),
            np.array(d, float),
            distortion_model,
            frame_id=frame_id,
        )

    @classmethod
    def from_yaml(cls, path: str | Path) -> Camera:
        """From a camera_calibration YAML file as ``camera_info_manager`` writes it."""
        path = Path(path)
        try:
            data = yaml.safe_load(path.read_text())
            return cls.from_camera_info(
                int(data["image_width"]),
                int(data["image_height"]),
                data["camera_matrix"]["data"],
                data["distortion_coefficients"]["data"],
                data["distortion_model"],
                data.get("camera_name", path.stem),
            )
        except OSError as error:
            raise CameraError(f"calibration file {path}: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise CameraError(
                f"calibration file {path}: expected camera_calibration YAML with image_width, "
                f"image_height, camera_matrix, distortion_model and distortion_coefficients; "
                f"got {' '.join(str(error).split()) or type(error).__name__}"
            ) from None

    @property
    def position_m(self) -> np.ndarray:
        """(3,) the camera's centre in the world."""
        return np.asarray(inverse_transform(self.camera_from_world)[:3, 3])

    def at_resolution(self, width: int, height: int) -> Camera:
        """The same camera delivering an image of another size (binned or resized, not cropped).

        Pixel centres are at whole numbers, so the principal point moves by half a pixel. Raises
        ``CameraError`` when the aspect ratio differs by over 1 %: then the image was cropped and
        the calibration says nothing about it.
        """
        if (width, height) == self.size:
            return self
        sx, sy = width / self.size[0], height / self.size[1]
        if abs(sx / sy - 1) > 0.01:
            raise CameraError(
                f"image is {width}x{height} but the camera is calibrated for {self.size[0]}x"
                f"{self.size[1]}, another aspect ratio: publish the CameraInfo of this image"
            )
        matrix = np.diag([sx, sy, 1.0]) @ self.matrix
        matrix[:2, 2] += (sx - 1) / 2, (sy - 1) / 2
        return replace(self, matrix=matrix, size=(width, height))

    def rays(self, points_px: np.ndarray) -> np.ndarray:
        """Undistorted viewing rays (..., 2): x/z and y/z in the optical frame of pixels (..., 2).
        NaN stays NaN.
        """
        points = np.asarray(points_px, float)
        flat = points.reshape(-1, 2)
        if not len(self.distortion):
            rays = (flat - self.matrix[:2, 2]) / np.diag(self.matrix)[:2]
            rays[:, 0] -= self.matrix[0, 1] / self.matrix[0, 0] * rays[:, 1]
            return rays.reshape(points.shape)
        rays = np.full(flat.shape, np.nan)
        known = np.isfinite(flat).all(1)
        if known.any():
            if self.distortion_model == "equidistant":
                rays[known] = cv2.fisheye.undistortPoints(
                    flat[known, None], self.matrix, self.distortion
                )[:, 0]
            else:
                rays[known] = cv2.undistortPoints(flat[known, None], self.matrix, self.distortion)[
                    :, 0
                ]
        return rays.reshape(points.shape)

    def project(self, points_m: np.ndarray, frame: str = "world") -> np.ndarray:
        """Pixels (..., 2) of points (..., 3) in metres in the ``world`` or ``camera`` frame.

        Points at or behind the camera (z <= 0) and NaN give NaN.
        """
        points = np.asarray(points_m, float)
        flat = points.reshape(-1, 3)
        if frame == "world":
            flat = transform_points(self.camera_from_world, flat)
        elif frame != "camera":
            raise ValueError(f"expected frame 'world' or 'camera', got '{frame}'")
        pixels = np.full((len(flat), 2), np.nan)
        seen = flat[:, 2] > 1e-6
        if seen.any():
            zero = np.zeros(3)
            if self.distortion_model == "equidistant" and len(self.distortion):
                pixels[seen] = cv2.fisheye.projectPoints(
                    flat[seen, None], zero, zero, self.matrix, self.distortion
                )[0][:, 0]
            elif len(self.distortion):
                pixels[seen] = cv2.projectPoints(
                    flat[seen, None], zero, zero, self.matrix, self.distortion
                )[0][:, 0]
            else:
                homogeneous = flat[seen] @ self.matrix.T
                pixels[seen] = homogeneous[:, :2] / homogeneous[:, 2:]
        return pixels.reshape(*points.shape[:-1], 2)
