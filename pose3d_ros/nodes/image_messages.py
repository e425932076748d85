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

"""Image messages to and from arrays: as ``encodings`` reads them, and what cv_bridge knows
besides.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from array import array
from functools import cache
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from pose3d_ros.errors import one_line
from pose3d_ros.io import image_encodings
from pose3d_ros.io.image_encodings import ENCODINGS, BitDepth, ImageError
from pose3d_ros.text_files import shortened

PROBE_S = 30.0
PROBE = """
from cv_bridge import CvBridge
from sensor_msgs.msg import Image
image = Image(width=1, height=1, encoding="bgr8", step=3, data=bytes(3))
CvBridge().imgmsg_to_cv2(image, "rgb8")
"""


def to_bgr(message: Image, depth: BitDepth | None = None) -> np.ndarray:
    """(H, W, 3) uint8 BGR picture of an Image; a view of its data where the encoding is bgr8.

    cv_bridge, where it is installed, converts what is not in ``ENCODINGS``. ``depth``: of the
    samples of this camera's 16-bit images. Raises ``ImageError``.
    """
    if message.encoding in ENCODINGS:
        return image_encodings.to_bgr(message, depth)
    bridge, why = _cv_bridge()
    try:
        if bridge is not None:
            return np.asarray(bridge.imgmsg_to_cv2(message, "bgr8"))
    except Exception as error:  # noqa: BLE001 - cv_bridge fails in its own ways
        why = str(error)
    raise ImageError(
        f"expected an encoding among {', '.join(ENCODINGS)}, got '{message.encoding}', which "
        f"cv_bridge cannot convert here either ({why}); publish bgr8"
    )


@cache
def _cv_bridge() -> tuple[Any, str]:
    """cv_bridge, or None and why it does not work. Tried once, in a process of its own: built for
    another numpy it prints a page, or takes the process down.
    """
    if importlib.util.find_spec("cv_bridge") is None:
        return None, "it is not installed"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"it could not be tried: {one_line(error)}"
    if probe.returncode < 0:
        return None, (
            f"it crashes with signal {-probe.returncode}: it was built for another numpy than "
            f"{np.__version__}"
        )
    if probe.returncode:
        return None, shortened((probe.stderr.strip().splitlines() or ["it fails"])[-1], 200)
    from cv_bridge import CvBridge

    return CvBridge(), ""


def to_message(image_bgr: np.ndarray, header: Header) -> Image:
    """Image (bgr8) of a (H, W, 3) uint8 picture."""
    height, width = image_bgr.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="bgr8",
        step=3 * width,
        data=_bytes(image_bgr),
    )


def to_compressed_message(image_bgr: np.ndarray, header: Header) -> CompressedImage:
    """CompressedImage (JPEG) of a (H, W, 3) uint8 picture, with the format that image_transport
    writes.
    """
    _, jpeg = cv2.imencode(".jpg", image_bgr)
    return CompressedImage(header=header, format="bgr8; jpeg compressed bgr8", data=_bytes(jpeg))


def _bytes(pixels: np.ndarray) -> array[int]:
    """What rclpy takes without looking at every byte: a numpy array costs 300 ms for 720p, this
    0.3 ms.
    """
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return data
