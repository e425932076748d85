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

"""A calibrated camera: intrinsics, lens distortion and pose; projection and viewing rays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.arrays import EqualByValue, read_only
from pose3d_ros.errors import Pose3dError
from pose3d_ros.geometry import inverse_transform, transform_points
from pose3d_ros.lens import COEFFICIENTS, Lens, lens_of
from pose3d_ros.text_files import TextFileError, local_path, read_mapping, shortened

Float = npt.NDArray[np.float64]

_MODEL_NAMES = {"fisheye": "equidistant", "equi": "equidistant", "radtan": "plumb_bob"}
LARGEST_SIZE = 65535  # pixels of a side
# What a real camera is, for ``Camera.checked``. Focal lengths in widths or heights of the image,
# the longer one: from the widest fisheye to the longest lens.
FOCAL_RANGE = 0.02, 200.0
PIXEL_ASPECT = 3.0  # fy/fx or fx/fy: anamorphic video has up to 2
CENTRE_MARGIN = 0.5  # of the image's side: how far outside of it the principal point may be
LARGEST_SKEW = 0.1  # of fx
LARGEST_BINNING = 16
LEAST_COVERED = {"equidistant": 0.2}  # share of the image that the lens covers: fisheyes have
LEAST_COVERED_PINHOLE = 0.5  # black corners, a pinhole model may fold there
LARGEST_STRETCH = 1.5  # distance from the centre with distortion, in that without
CALIBRATE = "calibrate the camera ('pose3d calibrate intrinsics') or mend its driver's file"


class CameraError(Pose3dError, ValueError):
    """Intrinsics, distortion or pose that no camera can have."""


@dataclass(frozen=True, eq=False, repr=False)
class Camera(EqualByValue):
    """Pinhole or fisheye camera.

    ``matrix`` (3, 3) in pixels; ``size`` (width, height) in pixels; ``distortion`` in OpenCV's
    order for ``distortion_model``, one of ``lens.COEFFICIENTS`` (empty for a pinhole; four zeros
    are a fisheye, r = f theta); ``camera_from_world`` (4, 4) maps world metres to the optical
    frame (REP-103: x right, y down, z forward). Raises ``CameraError`` that says which value is
    wrong; ``checked`` refuses also what only no real camera is.
    """

    matrix: Float
    size: tuple[int, int]
    distortion: Float = field(default_factory=lambda: np.zeros(0))
    distortion_model: str = "plumb_bob"
    camera_from_world: Float = field(default_factory=lambda: np.eye(4))
    frame_id: str = "camera"

    def __post_init__(self) -> None:
        for name, shape in (("matrix", (3, 3)), ("camera_from_world", (4, 4))):
            value = np.array(getattr(self, name), float)
            if value.shape != shape or not np.isfinite(value).all():
                raise CameraError(f"{name}: expected {shape} finite numbers, got {value.tolist()}")
            object.__setattr__(self, name, read_only(value))
        if not 0 < min(self.size) <= max(self.size) <= LARGEST_SIZE:
            raise CameraError(
                f"expected a positive image size of at most {LARGEST_SIZE} pixels a side, got "
                f"{self.size[0]}x{self.size[1]}"
            )
        fx, fy = self.matrix[0, 0], self.matrix[1, 1]
        if fx <= 0 or fy <= 0:
            raise CameraError(
                f"expected positive focal lengths, got fx={fx:g}, fy={fy:g}: the camera is not "
                f"calibrated"
            )
        if fx < 0.01 * self.size[0]:
            raise CameraError(
                f"fx: expected a focal length in pixels, at least a hundredth of the image's "
                f"width of {self.size[0]}, got {fx:.4g}"
            )
        if self.matrix[1, 0] or self.matrix[2].tolist() != [0, 0, 1]:
            raise CameraError(
                f"matrix: expected [fx s cx; 0 fy cy; 0 0 1], got {self.matrix.tolist()}"
            )
        distortion = np.ravel(np.asarray(self.distortion, float))
        if not np.isfinite(distortion).all():
            raise CameraError(
                f"distortion: expected finite coefficients, got {shortened(distortion.tolist())}"
            )
        model = _MODEL_NAMES.get(self.distortion_model, self.distortion_model)
        if model not in COEFFICIENTS:
            if distortion.any():
                raise CameraError(
                    f"expected a distortion model among {', '.join(COEFFICIENTS)}, got "
                    f"'{shortened(model, 60)}'"
                )
            model = "plumb_bob"
        elif len(distortion) not in COEFFICIENTS[model] and distortion.any():
            counts = ", ".join(map(str, COEFFICIENTS[model]))
            raise CameraError(f"{model}: expected {counts} coefficients, got {len(distortion)}")
        if not distortion.any():  # however many: a pinhole, or a fisheye of r = f theta
            distortion = np.zeros(4 if model == "equidistant" else 0)
        object.__setattr__(self, "distortion_model", model)
        object.__setattr__(self, "distortion", read_only(distortion))

    def __repr__(self) -> str:
        fx, fy = self.matrix[0, 0], self.matrix[1, 1]
        return (
            f"Camera({self.size[0]}x{self.size[1]}, fx {fx:.5g}, fy {fy:.5g}, "
            f"{self.distortion_model} of {len(self.distortion)}, frame '{self.frame_id}')"
        )

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
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
        binning: tuple[int, int] = (0, 0),
    ) -> Camera:
        """From the fields of a sensor_msgs/CameraInfo, for the image that it comes with.

        ``k`` is row-major, 9 values. ``roi`` (x_offset, y_offset, width, height) in pixels of the
        sensor, and ``binning`` (x, y) pixels combined in one; zeros mean the whole sensor as it
        is. Raises ``CameraError`` for whatever no real camera is (``checked``).
        """
        whole = cls(
            _row_major(k),
            image_size(width, height),
            np.array(d, float),
            distortion_model,
            frame_id=frame_id,
        ).checked()
        return whole._cropped(*roi)._binned(*(max(int(b), 1) for b in binning))

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], name: str = "camera") -> Camera:
        """From the content of a file: camera_calibration YAML as ``camera_info_manager`` writes
        it, a sensor_msgs/CameraInfo as ``ros2 topic echo`` writes it (ROS 1's too), or what
        OpenCV's calibration example writes.

        ``frame_id`` is what the file says, else ``name``. Raises ``CameraError``.
        """
        try:
            with np.errstate(all="ignore"):  # what overflows is found not to be finite
                return cls._from_mapping(data, name)
        except CameraError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CameraError(
                f"expected camera_calibration YAML with image_width, image_height, camera_matrix, "
                f"distortion_model and distortion_coefficients, or a CameraInfo message; got "
                f"{shortened(error) or type(error).__name__}"
            ) from None

    @classmethod
    def _from_mapping(cls, data: Mapping[str, Any], name: str) -> Camera:
        fields = {str(key).lower(): value for key, value in data.items()}  # ROS 1 writes K and D
        if "camera_matrix" in fields:  # OpenCV's older example: Camera_Matrix
            matrix = fields["camera_matrix"]
            distortion = fields.get("distortion_coefficients", [])
            if isinstance(matrix, Mapping):
                matrix, distortion = matrix["data"], distortion["data"]
            model = fields.get("distortion_model")
            if model is None and fields.get("fisheye_model"):
                model = "equidistant"
            return cls.from_camera_info(
                fields["image_width"],
                fields["image_height"],
                matrix,
                np.ravel(distortion).tolist(),
                "rational_polynomial" if model is None else str(model),
                str(fields.get("camera_name", name)),
            )
        header, roi = fields.get("header") or {}, fields.get("roi") or {}
        region = [int(roi.get(key, 0)) for key in ("x_offset", "y_offset", "width", "height")]
        return cls.from_camera_info(
            fields["width"],
            fields["height"],
            fields["k"],
            fields["d"],
            str(fields["distortion_model"]),
            str(header.get("frame_id") or name),
            (region[0], region[1], region[2], region[3]),
            (int(fields.get("binning_x", 0)), int(fields.get("binning_y", 0))),
        )

    @classmethod
    def from_yaml(cls, path: str | Path) -> Camera:
        """From a file as ``from_mapping`` takes it, YAML (OpenCV's ``%YAML:1.0`` too) or
        ``ost.txt``; a path, or a ``file://`` or ``package://`` URL.

        Raises ``CameraError`` that names the file.
        """
        try:
            return cls.from_mapping(read_mapping(path), local_path(path).stem)
        except TextFileError as error:
            raise CameraError(f"calibration file {error}") from None
        except CameraError as error:
            raise CameraError(f"calibration file {path}: {shortened(error)}") from None

    def checked(self) -> Camera:
        """The camera itself; raises ``CameraError`` that names a value that no real camera has:
        focal lengths, principal point, skew, or a distortion that leaves most of the image without
        a viewing ray.
        """
        (fx, skew, cx), (_, fy, cy), _ = self.matrix.tolist()
        width, height = self.size
        low, high = (share * max(self.size) for share in FOCAL_RANGE)
        centre = CENTRE_MARGIN * width, CENTRE_MARGIN * height
        for name, value, least, most in (
            ("fx", fx, low, high),
            ("fy", fy, max(low, fx / PIXEL_ASPECT), min(high, fx * PIXEL_ASPECT)),
            ("cx", cx, -centre[0], width + centre[0]),
            ("cy", cy, -centre[1], height + centre[1]),
            ("skew", skew, -LARGEST_SKEW * fx, LARGEST_SKEW * fx),
        ):
            if not least <= value <= most:
                beside = f" beside fx={fx:.4g}" if name == "fy" else ""
                raise CameraError(
                    f"{name}: expected {least:.4g} to {most:.4g} px for an image of "
                    f"{width}x{height}{beside}, got {value:.4g}: {CALIBRATE}"
                )
        if self._lens is not None:
            covered, stretch = _extent_of_lens(
                self.distortion_model, tuple(self.distortion), tuple(self.matrix.flat), self.size
            )
            least = LEAST_COVERED.get(self.distortion_model, LEAST_COVERED_PINHOLE)
            if covered < least or stretch > LARGEST_STRETCH:
                raise CameraError(
                    f"distortion: expected a lens that images at least {least:.0%} of "
                    f"{width}x{height} px and stretches it {LARGEST_STRETCH:g} times at most, got "
                    f"{covered:.0%} and {stretch:.3g} times with {self.distortion_model} "
                    f"{self.distortion.tolist()}: {CALIBRATE}"
                )
        return self

    def differs_from(self, other: Camera, tolerance: float) -> str:
        """What differs between two cameras of one place, in words; empty when nothing does.

        Image size, frame, or anything of the intrinsics that moves a viewing ray: focal lengths
        by the share ``tolerance``, principal point and skew by this share of the focal length,
        distortion by as much somewhere in the image. Poses are not compared.
        """
        if self.size != other.size:
            return "image size {}x{} to {}x{}".format(*other.size, *self.size)
        if self.frame_id != other.frame_id:
            return f"frame '{shortened(other.frame_id, 60)}' to '{shortened(self.frame_id, 60)}'"
        focal = other.matrix[0, 0], other.matrix[1, 1]
        for name, index, unit in (
            ("fx", (0, 0), focal[0]),
            ("fy", (1, 1), focal[1]),
            ("cx", (0, 2), focal[0]),
            ("cy", (1, 2), focal[1]),
            ("skew", (0, 1), focal[0]),
        ):
            before, now = other.matrix[index], self.matrix[index]
            if not abs(now - before) <= tolerance * unit:
                return f"{name} {before:.4g} to {now:.4g} px"
        if self._lens is not other._lens:
            grid = _grid(self.size)
            before, now = other.rays(grid), self.rays(grid)
            both = np.isfinite(before).all(1) & np.isfinite(now).all(1)
            moved = np.linalg.norm(now - before, axis=1) / (1 + np.square(before).sum(1))
            seen = np.isfinite(before).all(1).mean() - np.isfinite(now).all(1).mean()
            if abs(seen) > tolerance or (moved[both] > tolerance).any():
                return f"distortion {_of_lens(other)} to {_of_lens(self)}"
        return ""

    @property
    def position_m(self) -> Float:
        """(3,) the camera's centre in the world."""
        return np.asarray(inverse_transform(self.camera_from_world)[:3, 3])

    def at_resolution(self, width: int, height: int) -> Camera:
        """The same camera delivering an image of another size (binned or resized, not cropped).

        Raises ``CameraError`` when the aspect ratio differs by over 1 %: then the image was
        cropped and the calibration says nothing about it.
        """
        if (width, height) == self.size:
            return self
        sx, sy = width / self.size[0], height / self.size[1]
        if abs(sx / sy - 1) > 0.01:
            raise CameraError(
                f"image is {width}x{height} but the camera is calibrated for {self.size[0]}x"
                f"{self.size[1]}, another aspect ratio: publish the CameraInfo of this image"
            )
        return replace(self, matrix=_rescaled(self.matrix, sx, sy), size=(width, height))

    def _cropped(self, x: int, y: int, width: int, height: int) -> Camera:
        """The camera of a region of its image; width or height 0 reaches to the edge."""
        width, height = width or self.size[0] - x, height or self.size[1] - y
        if (
            min(x, y) < 0
            or min(width, height) <= 0
            or (x + width > self.size[0] or y + height > self.size[1])
        ):
            raise CameraError(
                f"roi: expected a region within {self.size[0]}x{self.size[1]} px, got "
                f"{width}x{height} at {x}, {y}: mend the camera's driver"
            )
        matrix = self.matrix.copy()
        matrix[:2, 2] -= x, y
        return replace(self, matrix=matrix, size=(width, height))

    def _binned(self, x: int, y: int) -> Camera:
        """The camera whose pixels are x by y of this one's combined."""
        size = self.size[0] // x, self.size[1] // y
        if max(x, y) > LARGEST_BINNING or not all(size):
            raise CameraError(
                f"binning: expected 0 to {LARGEST_BINNING} pixels, got {x} and {y}: mend the "
                f"camera's driver"
            )
        return replace(self, matrix=_rescaled(self.matrix, 1 / x, 1 / y), size=size)

    @cached_property
    def _lens(self) -> Lens | None:
        return lens_of(self.distortion_model, tuple(self.distortion.tolist()))

    @cached_property
    def _intrinsics(self) -> tuple[float, float, float, float, float]:
        (fx, skew, cx), (_, fy, cy), _ = self.matrix.tolist()
        return fx, fy, cx, cy, skew

    def rays(self, points_px: npt.ArrayLike) -> Float:
        """Undistorted viewing rays (..., 2): x/z and y/z in the optical frame of pixels (..., 2).

        They project to the pixels to 1e-6 px; NaN where the lens has no ray: beyond 90 degrees
        from the axis, beyond the fold of its polynomial, or for a pixel that is NaN.
        """
        points = np.asarray(points_px, float)
        fx, fy, cx, cy, skew = self._intrinsics
        rays = np.empty(points.shape)
        rays[..., 1] = (points[..., 1] - cy) / fy
        rays[..., 0] = (points[..., 0] - cx - skew * rays[..., 1]) / fx
        if self._lens is None or not rays.size:
            return rays
        undistorted = self._lens.undistort(rays.view(complex).reshape(-1))
        return undistorted.view(float).reshape(points.shape)

    def project(self, points_m: npt.ArrayLike, frame: str = "world") -> Float:
        """Pixels (..., 2) of points (..., 3) in metres in the ``world`` or ``camera`` frame.

        NaN for points at or behind the camera (z <= 0), beyond what the lens images, and NaN.
        """
        points = np.asarray(points_m, float)
        flat = points.reshape(-1, 3)
        if frame == "world":
            flat = transform_points(self.camera_from_world, flat)
        elif frame != "camera":
            raise ValueError(f"expected frame 'world' or 'camera', got '{frame}'")
        fx, fy, cx, cy, skew = self._intrinsics
        rays = flat[:, :2] / np.where(flat[:, 2:] > 1e-6, flat[:, 2:], np.nan)
        if self._lens is not None and len(rays):
            rays = self._lens.distort(rays.view(complex)[:, 0]).view(float).reshape(-1, 2)
        pixels = np.empty_like(rays)
        pixels[:, 0] = fx * rays[:, 0] + skew * rays[:, 1] + cx
        pixels[:, 1] = fy * rays[:, 1] + cy
        return pixels.reshape(*points.shape[:-1], 2)


def image_size(width: Any, height: Any) -> tuple[int, int]:
    """Width and height as whole numbers of pixels. Raises ``CameraError``."""
    try:
        exact = float(width), float(height)
    except (TypeError, ValueError, OverflowError):
        exact = math.nan, math.nan
    if not all(length.is_integer() for length in exact):
        raise CameraError(
            f"expected an image size in whole pixels, got {shortened(f'{width}x{height}')}"
        )
    return int(exact[0]), int(exact[1])


def _row_major(k: Any) -> Float:
    """(3, 3) of nine numbers, in a row or three rows."""
    matrix = np.array(k, float)
    if matrix.size != 9:
        raise CameraError(f"k: expected 9 numbers, got {matrix.size}")
    return matrix.reshape(3, 3)


def _rescaled(matrix: Float, x: float, y: float) -> Float:
    """(3, 3) of an image scaled by x and y. Pixel centres are at whole numbers, so the principal
    point moves by half a pixel.
    """
    scaled = np.diag([x, y, 1.0]) @ matrix
    scaled[:2, 2] += (x - 1) / 2, (y - 1) / 2
    return np.asarray(scaled)


def _grid(size: tuple[int, int]) -> Float:
    """(N, 2) pixels all over an image."""
    columns, lines = (np.linspace(0, length - 1, 25) for length in size)
    return np.stack(np.meshgrid(columns, lines), -1).reshape(-1, 2)


def _of_lens(camera: Camera) -> str:
    return f"{camera.distortion_model} {np.round(camera.distortion, 4).tolist()}"


@lru_cache(maxsize=256)
def _extent_of_lens(
    model: str, distortion: tuple[float, ...], matrix: tuple[float, ...], size: tuple[int, int]
) -> tuple[float, float]:
    """Share of the image that has viewing rays, and the largest ratio of the distances from the
    centre with distortion and without.
    """
    camera = Camera(np.reshape(matrix, (3, 3)), size, np.array(distortion), model)
    grid = _grid(size)
    pinhole = replace(camera, distortion=np.zeros(0), distortion_model="plumb_bob")
    radius = np.linalg.norm(camera.rays(grid), axis=1)
    distance = np.linalg.norm(pinhole.rays(grid), axis=1)
    covered = np.isfinite(radius)
    away = covered & (distance > 0.01 * distance.max())
    stretch = distance[away] / np.maximum(radius[away], 1e-30)
    return float(covered.mean()), float(stretch.max(initial=0))
