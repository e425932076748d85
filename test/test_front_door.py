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

"""What a stranger meets first: the names of the package, and objects that print and compare."""

import subprocess
import sys

import numpy as np
import pytest

import pose3d_ros
from pose3d_ros import Camera, People2D, People3D
from pose3d_ros.skeleton import COCO17, H36M17


def people_2d(value: float = 1.0) -> People2D:
    keypoints = np.full((2, 17, 2), value)
    keypoints[0, 3] = np.nan
    return People2D(H36M17, keypoints, np.ones((2, 17)), 5, (640, 480), np.array([3, 8]))


def people_3d(value: float = 1.0) -> People3D:
    joints, known = np.full((1, 17, 3), value), np.ones((1, 17))
    joints[0, H36M17.index("l_wrist")] = 1, 2, 3
    return People3D(
        H36M17,
        joints,
        known,
        known,
        joints,
        np.array([7]),
        np.array([1]),
        5,
        "camera",
        people_2d(),
    )


def test_every_public_name_is_there():
    for name in pose3d_ros.__all__:
        assert getattr(pose3d_ros, name) is not None
    assert set(pose3d_ros.__all__) <= set(dir(pose3d_ros))
    assert pose3d_ros.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="has no attribute 'Pipeline'"):
        pose3d_ros.Pipeline  # noqa: B018


def test_the_package_imports_nothing_until_it_is_asked():
    code = (
        "import sys, pose3d_ros; "
        "sys.exit(' '.join({'numpy', 'cv2', 'onnxruntime', 'torch'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_joints_by_name():
    np.testing.assert_array_equal(people_3d().joint("l_wrist"), [[1, 2, 3]])
    assert np.isnan(people_2d().joint("r_ankle")[0]).all()
    with pytest.raises(KeyError, match="has no joint 'wrist'; it has pelvis"):
        people_3d().joint("wrist")


def test_people_and_cameras_compare_by_value():
    for make in (people_2d, people_3d):
        assert make() == make() and make() != make(2.0) and make() != "people"
    assert people_2d() != people_2d()[[0]]
    assert People2D.empty(H36M17, 0, (2, 2)) != People2D.empty(COCO17, 0, (2, 2))
    camera = Camera.from_fov(640, 480, 1.0)
    assert camera == Camera.from_fov(640, 480, 1.0) and camera != Camera.from_fov(640, 480, 1.1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(people_2d())


def test_representations_are_one_line():
    for thing in (people_2d(), people_3d(), Camera.from_fov(640, 480, 1.0), H36M17):
        assert "\n" not in repr(thing) and 10 < len(repr(thing)) < 160
    assert repr(people_3d()) == "People3D(1 of h36m17, ids [7], stamp_ns 5, frame 'camera')"
    assert repr(H36M17) == "Skeleton('h36m17', 17 joints)"


def test_arrays_are_read_only_and_stay_the_callers_own():
    keypoints = np.zeros((1, 17, 2), np.float32)
    people = People2D(H36M17, keypoints, np.ones((1, 17)), 0, (2, 2))
    camera = Camera.from_fov(640, 480, 1.0)
    for array in (people.keypoints_px, people.ids, people_3d().joints_m, camera.matrix):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
    keypoints[...] = 1
