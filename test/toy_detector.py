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

"""A detector in one file: it sees a body that stands where the image is brightest."""

import numpy as np
from bodies import STANDING_M

from pose3d_ros.camera import Camera
from pose3d_ros.detection import Detector
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17
from pose3d_ros.stopwatch import Stopwatch


class Brightest(Detector):
    name = "brightest"
    skeleton = H36M17

    def __init__(self, settings):
        self.settings = settings

    def __call__(self, image_bgr, stamp_ns, stopwatch=None):
        height, width = image_bgr.shape[:2]
        with (stopwatch or Stopwatch())("pose"):
            y, x = np.unravel_index(image_bgr.sum(-1, dtype=int).argmax(), (height, width))
            camera = Camera.from_fov(width, height, 1.2)
            body = camera.project(STANDING_M + [0, 0, 4.0], "camera")
            place = body + [x, y] - body[H36M17.index("pelvis")]
        return People2D(H36M17, place[None], np.ones((1, 17)), stamp_ns, (width, height))
