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

"""The protocols of the papers: cases counted by hand, and what other packages say."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from pose3d_ros.metrics import (
    PCK_JOINTS,
    align,
    auc,
    mpjpe,
    mpjve,
    n_mpjpe,
    pa_mpjpe,
    pck,
    protocols,
)
from pose3d_ros.skeleton import H36M17


def poses(seed=0, frames=6):
    joints = np.random.default_rng(seed).normal(0, 0.4, (frames, 17, 3))
    return joints - joints[:, :1]


def test_pa_mpjpe_ignores_similarities_and_sees_mirrors():
    truth = poses()
    moved = 1.7 * truth @ Rotation.from_rotvec([0.3, -1, 2]).as_matrix().T + [1, 2, 3]
    np.testing.assert_allclose(align(moved, truth), truth, atol=1e-9)
    assert (pa_mpjpe(truth * [-1, 1, 1], truth) > 0.1).all()


def test_mpjpe_by_hand():
    truth = np.zeros((3, 2, 3))
    predicted = truth.copy()
    predicted[1, 0] = [3, 4, 0]
    np.testing.assert_allclose(mpjpe(predicted, truth), [0, 2.5, 0])


def test_n_mpjpe_by_hand():
    """Along x the best scale of (2, 1) for (1, 1) is 3 / 5: errors of 0.2 and 0.4. Moving or
    turning is not mended.
    """
    truth = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0.0]])
    predicted = np.array([[0, 0, 0], [2, 0, 0], [1, 0, 0.0]])
    assert n_mpjpe(predicted, truth) == pytest.approx((0.2 + 0.4) / 3)
    assert n_mpjpe(0.3 * truth, truth) == pytest.approx(0, abs=1e-12)
    assert n_mpjpe(truth[:, [1, 0, 2]], truth) == pytest.approx(2 / 3)


def test_mpjve_by_hand():
    """A constant offset has no velocity error; a joint that jumps by 10 cm in one frame has it in
    two steps.
    """
    truth = poses(frames=5)
    predicted = truth + 0.2
    predicted[2, 3, 0] += 0.1
    np.testing.assert_allclose(mpjve(predicted, truth), [0, 0.1 / 17, 0.1 / 17, 0], atol=1e-12)


def test_pck_and_auc_by_hand():
    """Errors of 0, 52, 149 and 150 mm: three are below 150; of the 31 thresholds they are below
    30, 20, 1 and 0.
    """
    truth = np.zeros((4, 3))
    predicted = truth + np.array([[0], [0.052], [0.149], [0.15]]) * [1, 0, 0]
    assert pck(predicted, truth) == pytest.approx(3 / 4)
    assert auc(predicted, truth) == pytest.approx((30 + 20 + 1 + 0) / 4 / 31)


def test_pck_joints_are_those_of_mpi_inf_3dhp():
    """mpii_joint_groups: head, neck, shoulders, elbows, wrists, hips, knees, ankles; its neck is
    our thorax.
    """
    assert {H36M17.joints[joint] for joint in PCK_JOINTS} == set(H36M17.joints) - {
        "pelvis",
        "spine",
        "neck",
    }


def test_protocols_put_them_together():
    truth = poses(frames=5)
    predicted = 1.1 * truth + 0.3  # elsewhere and larger
    predicted[3] = np.nan
    scores = protocols(predicted, truth)
    assert np.isnan(scores["mpjpe_mm"]).tolist() == [False, False, False, True, False]
    np.testing.assert_allclose(
        scores["mpjpe_mm"][0], 100 * np.linalg.norm(truth[0], axis=-1).mean()
    )
    np.testing.assert_allclose(scores["n_mpjpe_mm"][[0, 1, 2, 4]], 0, atol=1e-9)
    np.testing.assert_allclose(scores["pa_mpjpe_mm"][[0, 1, 2, 4]], 0, atol=1e-9)
    assert np.isfinite(scores["mpjve_mm"]).tolist() == [True, True, False, False]
    assert scores["pck_percent"][0] == 100


def test_joints_that_the_truth_lacks_do_not_count():
    truth, predicted = poses(), poses(1)
    lacking = truth.copy()
    missing = H36M17.indices("neck", "head")
    lacking[:, missing] = np.nan
    known = [joint for joint in range(17) if joint not in missing]
    scores = protocols(predicted, lacking)
    np.testing.assert_allclose(
        scores["mpjpe_mm"], 1e3 * mpjpe(predicted[:, known], truth[:, known])
    )
    counted = [joint for joint in PCK_JOINTS if joint not in missing]
    np.testing.assert_allclose(
        scores["pck_percent"], 100 * pck(predicted[:, counted], truth[:, counted])
    )


def test_alignment_is_scipys():
    """scipy.spatial.procrustes fits up to mirrors, so it is asked about poses that no mirror image
    fits better; its disparity is the squared error of a truth of unit size. The rotation is that
    of Rotation.align_vectors.
    """
    truth = poses(2)
    predicted = truth + np.random.default_rng(3).normal(0, 0.1, truth.shape)
    for p, t in zip(predicted, truth, strict=True):
        centred = t - t.mean(0)
        _, _, disparity = procrustes(t, p)
        assert ((align(p, t) - t) ** 2).sum() / (centred**2).sum() == pytest.approx(disparity)
        rotation, _ = Rotation.align_vectors(centred, p - p.mean(0))
        turned = rotation.apply(p - p.mean(0))
        scale = (turned * centred).sum() / (turned**2).sum()
        np.testing.assert_allclose(align(p, t), scale * turned + t.mean(0), atol=1e-9)


def test_mirrored_alignment_is_scipys():
    """A mirrored pose is fitted by a rotation all the same, as Rotation.align_vectors does."""
    truth = poses(4)[0]
    mirrored = (truth * [-1, 1, 1]) - (truth * [-1, 1, 1]).mean(0)
    rotation, _ = Rotation.align_vectors(truth - truth.mean(0), mirrored)
    ours, turned = align(mirrored, truth) - truth.mean(0), rotation.apply(mirrored)
    cosine = (ours * turned).sum() / np.linalg.norm(ours) / np.linalg.norm(turned)
    assert cosine == pytest.approx(1)


@pytest.fixture
def mmpose(monkeypatch):
    """MMPose's metrics, which need numpy alone; the package around them needs much more, so it is
    not imported.
    """
    found = importlib.util.find_spec("mmpose")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs mmpose: pip install --no-deps mmpose==0.29.0")
    modules = {}
    for name in ("mesh_eval", "pose3d_eval"):
        path = Path(found.submodule_search_locations[0], "core", "evaluation", f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"mmpose_evaluation.{name}", path)
        assert spec is not None and spec.loader is not None
        modules[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, modules[name])
        spec.loader.exec_module(modules[name])
    return modules["pose3d_eval"]


def test_protocols_are_mmposes(mmpose):
    truth = poses(5, 40)
    predicted = truth + np.random.default_rng(6).normal(0, 0.04, truth.shape)
    predicted -= predicted[:, :1]
    scores, every = protocols(predicted, truth), np.ones(truth.shape[:2], bool)
    for name, alignment in (
        ("mpjpe_mm", "none"),
        ("pa_mpjpe_mm", "procrustes"),
        ("n_mpjpe_mm", "scale"),
    ):
        theirs = mmpose.keypoint_mpjpe(predicted, truth, every, alignment)
        assert scores[name].mean() == pytest.approx(1e3 * theirs, rel=1e-9), name
    counted = np.zeros(truth.shape[:2], bool)
    counted[:, PCK_JOINTS] = True
    for name, theirs in (
        ("pck_percent", mmpose.keypoint_3d_pck),
        ("auc_percent", mmpose.keypoint_3d_auc),
    ):
        assert 20 < scores[name].mean() < 99
        assert scores[name].mean() == pytest.approx(theirs(predicted, truth, counted), rel=1e-6), (
            name
        )
