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

"""Joint sets and conversions."""

import numpy as np
import pytest

from pose3d_ros.skeleton import (
    BLAZEPOSE33,
    BODY25,
    BODY30,
    CMU22,
    COCO17,
    H36M17,
    PUBLISHED,
    SKELETONS,
    anchors,
    convert,
)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_flip_exchanges_sides_and_is_its_own_inverse(skeleton):
    assert (skeleton.flip[skeleton.flip] == np.arange(len(skeleton))).all()
    for left, right in skeleton.symmetric_pairs:
        assert skeleton.joints[left][2:] == skeleton.joints[right][2:]
    assert len(set(skeleton.joints)) == len(skeleton)


def test_h36m_order_is_that_of_the_published_networks():
    assert H36M17.joints.index("r_hip") == 1 and H36M17.joints.index("l_hip") == 4
    assert H36M17.joints.index("head") == 10 and H36M17.joints.index("r_wrist") == 16


@pytest.mark.parametrize("skeleton", PUBLISHED.values(), ids=lambda s: s.name)
def test_what_is_published_begins_with_human36ms_17_joints_and_the_rest_hangs_from_them(skeleton):
    assert skeleton.joints[:17] == H36M17.joints
    assert (anchors(skeleton)[:17] == np.arange(17)).all()
    # the bones are a tree: every joint but the pelvis ends one, and sides do not mix
    assert sorted(child for _, child in skeleton.limbs) == sorted(
        set(skeleton.joints) - {"pelvis"}
    )
    assert (skeleton.flip[anchors(skeleton)] == anchors(skeleton)[skeleton.flip]).all()


def test_blazepose_sees_all_of_body30_and_coco_no_hands_and_feet():
    ones = np.ones(33, np.float32)
    assert convert(np.ones((33, 2), np.float32), ones, BLAZEPOSE33, BODY30)[1].all()
    _, seen = convert(np.ones((17, 2), np.float32), ones[:17], COCO17, BODY30)
    assert seen[: BODY30.index("r_ear") + 1].all() and not seen[BODY30.index("r_ear") + 1 :].any()


@pytest.mark.parametrize("source", [BLAZEPOSE33, COCO17, BODY25, CMU22], ids=lambda s: s.name)
def test_conversion_keeps_shared_joints_and_makes_middles(source):
    points = np.random.default_rng(0).normal(size=(2, len(source), 3)).astype(np.float32)
    confidence = np.linspace(0.1, 0.9, 2 * len(source), dtype=np.float32).reshape(2, -1)
    converted, converted_confidence = convert(points, confidence, source, H36M17)
    wrist = source.index("l_wrist")
    np.testing.assert_array_equal(converted[:, H36M17.index("l_wrist")], points[:, wrist])
    np.testing.assert_array_equal(
        converted_confidence[:, H36M17.index("l_wrist")], confidence[:, wrist]
    )
    if "pelvis" not in source.joints:
        hips = source.indices("l_hip", "r_hip")
        np.testing.assert_allclose(converted[:, 0], points[:, hips].mean(1), atol=1e-6)
        np.testing.assert_allclose(converted_confidence[:, 0], confidence[:, hips].min(1))


def test_a_joint_that_cannot_be_made_is_nan_without_confidence():
    converted, confidence = convert(
        np.zeros((1, 17, 2), np.float32), np.ones((1, 17), np.float32), H36M17, COCO17
    )
    assert (
        np.isnan(converted[0, COCO17.index("l_ear")]).all()
        and confidence[0, COCO17.index("l_ear")] == 0
    )


def test_conversion_moves_with_the_body():
    """Weights of a rule sum to one, so a shifted body gives shifted joints."""
    points = np.random.default_rng(1).normal(size=(33, 2)).astype(np.float32)
    ones = np.ones(33, np.float32)
    here, _ = convert(points, ones, BLAZEPOSE33, H36M17)
    there, _ = convert(points + np.array([5, -3], np.float32), ones, BLAZEPOSE33, H36M17)
    np.testing.assert_allclose(there - here, np.broadcast_to([5, -3], here.shape), atol=1e-5)


def test_errors_name_what_exists():
    with pytest.raises(KeyError, match="h36m17 has no joint 'nose'"):
        H36M17.index("nose")
    with pytest.raises(ValueError, match="expected 33 joints of blazepose33"):
        convert(np.zeros((1, 17, 2)), np.zeros((1, 17)), BLAZEPOSE33, H36M17)
