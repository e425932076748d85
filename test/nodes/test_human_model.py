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

"""A person's URDF and joint angles give the joints back, in every pose."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
from bodies import STANDING_M
from scipy.spatial.transform import Rotation

from pose3d_ros.nodes import human_model
from pose3d_ros.nodes.human_model import BodySize
from pose3d_ros.skeleton import H36M17

LINKS = {
    "pelvis": "body",
    "neck": "r_head",
    "head": "head",
    "thorax": "torso",
    **{
        f"{s}_{part}": f"{s}_{part}"
        for s in "lr"
        for part in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    },
}
"""Link at whose origin each joint of the skeleton lies; the spine has none."""

REP_155 = {
    *("waist", "r_head", "y_head", "p_head"),
    *(
        f"{s}_{joint}"
        for s in "lr"
        for joint in (
            *("y_shoulder", "p_shoulder", "r_shoulder", "elbow"),
            *("y_hip", "p_hip", "r_hip", "knee"),
        )
    ),
}


def told(joint, child, attribute):
    element = joint.find(child)
    assert element is not None
    return element.attrib[attribute]


def places(text, angles, body):
    """Origins of all links in the frame body, by the URDF alone."""
    root = ElementTree.fromstring(text)
    poses = {f"body_{body}": np.eye(4)}
    for joint in root.iter("joint"):
        at = np.eye(4)
        at[:3, 3] = [float(number) for number in told(joint, "origin", "xyz").split()]
        if joint.get("type") != "fixed":
            axis = np.array([float(number) for number in told(joint, "axis", "xyz").split()])
            angle = angles[joint.attrib["name"].removesuffix(f"_{body}")]
            at[:3, :3] = Rotation.from_rotvec(angle * axis).as_matrix()
        poses[told(joint, "child", "link")] = poses[told(joint, "parent", "link")] @ at
    assert {link.attrib["name"] for link in root.iter("link")} == set(poses)
    return {link.removesuffix(f"_{body}"): pose[:3, 3] for link, pose in poses.items()}


def pose(rng, size, bend=2.5):
    """Somebody of that size with bones in random directions, (17, 3)."""

    def direction(usual):
        turned = Rotation.from_rotvec(bend * rng.uniform(-1, 1, 3)).apply(usual)
        return turned / np.linalg.norm(turned)

    at = {"pelvis": np.array([0.5, -1.0, 3.0])}
    across = direction([0, 1, 0])
    at["l_hip"] = at["pelvis"] + size.half_hips * across
    at["r_hip"] = at["pelvis"] - size.half_hips * across
    at["thorax"] = at["pelvis"] + size.torso * direction([0, 0, 1])
    across = direction([0, 1, 0])
    at["l_shoulder"] = at["thorax"] + size.half_shoulders * across
    at["r_shoulder"] = at["thorax"] - size.half_shoulders * across
    at["spine"] = (at["pelvis"] + at["thorax"]) / 2
    at["neck"] = at["thorax"] + size.neck * direction([0, 0, 1])
    at["head"] = at["neck"] + size.head * direction([0, 0, 1])
    for s in "lr":
        at[f"{s}_elbow"] = at[f"{s}_shoulder"] + size.upper_arm * direction([0, 0, -1])
        at[f"{s}_wrist"] = at[f"{s}_elbow"] + size.forearm * direction([0, 0, -1])
        at[f"{s}_knee"] = at[f"{s}_hip"] + size.thigh * direction([0, 0, -1])
        at[f"{s}_ankle"] = at[f"{s}_knee"] + size.shin * direction([0, 0, -1])
    return np.array([at[name] for name in H36M17.joints])


def test_urdf_and_angles_give_the_joints_back() -> None:
    rng = np.random.default_rng(7)
    size = BodySize(0.5, 0.12, 0.19, 0.15, 0.1, 0.3, 0.26, 0.4, 0.43)
    text = human_model.urdf(size, "p3")
    for _ in range(200):
        joints_m = pose(rng, size)
        found = human_model.joint_angles(joints_m)
        assert found is not None
        rotation, angles = found
        links = places(text, angles, "p3")
        for name, link in LINKS.items():
            expected = (joints_m[H36M17.index(name)] - joints_m[0]) @ rotation
            np.testing.assert_allclose(links[link], expected, atol=1e-4, err_msg=name)


def test_somebody_who_stands_has_the_angles_of_rest() -> None:
    """Facing +x with z up: elbows and knees nearly straight, nothing turned round."""
    upright = np.stack([-STANDING_M[:, 2], STANDING_M[:, 0], -STANDING_M[:, 1]], -1)
    rotation, angles = human_model.joint_angles(upright) or pytest.fail("no body")
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-6)
    assert set(angles) >= REP_155
    shoulders = {name for name in angles if "shoulder" in name}
    assert all(abs(angle) < 0.5 for name, angle in angles.items() if name not in shoulders)
    for s in "lr":
        assert 0.1 < angles[f"{s}_p_shoulder"] < 0.3, "arms hang a little outwards"
        assert angles[f"{s}_elbow"] > 0 > angles[f"{s}_knee"], "forearms forward, shins back"


@pytest.mark.parametrize("s", ["l", "r"])
def test_gestures_in_rep_155s_terms(s) -> None:
    upright = np.stack([-STANDING_M[:, 2], STANDING_M[:, 0], -STANDING_M[:, 1]], -1)
    at = {name: upright[index] for index, name in enumerate(H36M17.joints)}
    shoulder, hip = at[f"{s}_shoulder"], at[f"{s}_hip"]
    at[f"{s}_elbow"][:] = shoulder + [0.28, 0, 0]  # points forward, forearm up
    at[f"{s}_wrist"][:] = at[f"{s}_elbow"] + [0, 0, 0.25]
    at[f"{s}_knee"][:] = hip + [0.42, 0, 0]  # as if sitting
    at[f"{s}_ankle"][:] = at[f"{s}_knee"] + [0, 0, -0.41]
    _, angles = human_model.joint_angles(upright) or pytest.fail("no body")
    assert angles[f"{s}_y_shoulder"] == pytest.approx(math.pi / 2)
    assert angles[f"{s}_p_shoulder"] == pytest.approx(math.pi / 2)
    assert angles[f"{s}_elbow"] == pytest.approx(math.pi / 2)
    assert angles[f"{s}_r_hip"] == pytest.approx(math.pi / 2)
    assert angles[f"{s}_knee"] == pytest.approx(-math.pi / 2)
    assert angles[f"{s}_y_hip"] == pytest.approx(0, abs=1e-6)


def test_unknown_limbs_have_no_angles() -> None:
    joints_m = pose(np.random.default_rng(1), BodySize())
    joints_m[H36M17.index("l_ankle")] = joints_m[H36M17.index("r_elbow")] = np.nan
    _, angles = human_model.joint_angles(joints_m) or pytest.fail("no body")
    missing = {joint.name for joint in human_model.model(BodySize()) if joint.axis} - set(angles)
    assert missing == {
        *("l_y_hip", "l_p_hip", "l_r_hip", "l_knee"),
        *("r_y_shoulder", "r_p_shoulder", "r_r_shoulder", "r_elbow"),
    }
    links = {joint.child for joint in human_model.placed(human_model.model(BodySize()), angles)}
    assert {"l_elbow", "l_wrist", "r_knee", "r_ankle", "head"} <= links
    assert not {"r_shoulder", "r_elbow", "r_wrist", "l_knee", "l_ankle"} & links
    joints_m[H36M17.index("l_hip")] = np.nan
    assert human_model.joint_angles(joints_m) is None


def test_size_is_the_median_and_unseen_bones_have_usual_proportions() -> None:
    rng = np.random.default_rng(3)
    child = BodySize(*(0.6 * np.array([0.5, 0.12, 0.19, 0.15, 0.1, 0.3, 0.26, 0.4, 0.43])))
    poses = np.array([pose(rng, child) for _ in range(9)])
    poses[0] *= 3  # one frame is far off
    poses[:, H36M17.indices("l_ankle", "r_ankle")] = np.nan
    measured = human_model.measured_size(poses)
    assert measured.thigh == pytest.approx(child.thigh)
    assert measured.shin == pytest.approx(0.6 * BodySize().shin, rel=0.1)
    assert human_model.far_from(measured, child) < 0.03
    assert human_model.measured_size(np.full((0, 17, 3), np.nan)) == BodySize()
