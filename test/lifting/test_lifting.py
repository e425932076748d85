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

"""What the lifter sees, and the shipped lifters."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from bodies import CAMERA, STANDING_M, seen

from pose3d_ros.geometry import CAMERA_DOWN, look_along
from pose3d_ros.inference import EngineError
from pose3d_ros.lifting import create, lifter_name
from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.lifting.windowed import resample
from pose3d_ros.metrics import pa_mpjpe
from pose3d_ros.people import NO_ID
from pose3d_ros.settings import PipelineSettings, SettingsError
from pose3d_ros.skeleton import H36M17

SECOND = 1_000_000_000


def _rays(place):
    return CAMERA.rays(CAMERA.project(STANDING_M + place, "camera"))[None, None]


def test_virtual_camera_looks_at_the_person_without_roll():
    rotation = look_along(np.array([0.4, -0.3, 1.0]), CAMERA_DOWN)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation @ [0.4, -0.3, 1.0], [0, 0, np.sqrt(1.25)], atol=1e-12)
    assert rotation[0, 1] == 0  # its x axis is level with the camera's
    assert np.linalg.det(rotation) > 0


def test_features_hardly_depend_on_place_and_distance():
    """Far away, perspective is weak: the same pose turned with the line of sight gives the same
    features.
    """
    confidence = np.ones((1, 1, 17))
    ahead, _ = normalise(_rays(np.array([0, 0, 20.0])), confidence)
    nearer, _ = normalise(_rays(np.array([0, 0, 12.0])), confidence)
    np.testing.assert_allclose(ahead[..., :17, :2], nearer[..., :17, :2], atol=0.03)
    assert nearer[0, 0, 17, 0] - ahead[0, 0, 17, 0] == pytest.approx(np.log(20 / 12), abs=0.01)


def test_unseen_joints_carry_nothing():
    rays = _rays(np.array([0, 0, 4.0]))
    confidence = np.ones((1, 1, 17))
    confidence[..., 3] = 0
    rays[..., 5, :] = np.nan
    features, _ = normalise(rays, confidence)
    assert (features[..., [3, 5], :] == 0).all() and np.isfinite(features).all()
    nobody, _ = normalise(np.full((1, 1, 17, 2), np.nan), np.zeros((1, 1, 17)))
    assert np.isfinite(nobody).all()


def test_window_is_at_30_hz_whatever_the_camera_does():
    """A joint moves at constant speed and is seen at irregular times: interpolation gives the
    exact line.
    """
    stamps = np.cumsum([0.1, 0.02, 0.05, 0.1, 0.033, 0.2, 0.01]) * SECOND
    rays = np.broadcast_to((stamps / SECOND)[:, None, None], (7, 17, 2)).copy()
    window, confidence = resample(stamps.astype(np.int64), rays, np.full((7, 17), 0.8), 12)
    wanted = stamps[-1] / SECOND - np.arange(11, -1, -1) / 30
    np.testing.assert_allclose(window[:, 0, 0], np.maximum(wanted, 0.1), atol=1e-6)
    np.testing.assert_allclose(confidence, 0.8)


def test_window_takes_the_known_end_of_an_interval():
    rays = np.ones((2, 17, 2))
    rays[0, 4] = np.nan
    rays[:, 5] = np.nan
    window, confidence = resample(
        np.array([SECOND, 2 * SECOND]), rays, np.where(np.isnan(rays[..., 0]), 0, 0.7), 4
    )
    np.testing.assert_array_equal(window[:, 4], 1)
    np.testing.assert_allclose(confidence[:, 4], 0.7)
    assert np.isnan(window[:, 5]).all() and (confidence[:, 5] == 0).all()


@pytest.fixture
def counter(tmp_path):
    """A recurrent lifter whose state counts the steps of a person, told as the logarithm of
    sigma.
    """
    h = onnx.helper
    weights = np.zeros((1, 68), np.float32)
    weights[:, 3::4] = 1
    constants = [
        onnx.numpy_helper.from_array(value, name)
        for name, value in (
            ("one", np.ones(1, np.float32)),
            ("weights", weights),
            ("shape", np.array([0, 17, 4])),
        )
    ]
    nodes = [
        h.make_node("Add", ["state", "one"], ["next_state"]),
        h.make_node("MatMul", ["next_state", "weights"], ["flat"]),
        h.make_node("Reshape", ["flat", "shape"], ["joints"]),
    ]
    shapes: dict[str, list[str | int | None]] = {
        "keypoints": ["people", 1, 18, 3],
        "state": ["people", 1],
        "joints": ["people", 17, 4],
        "next_state": ["people", 1],
    }
    values = [
        h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    model = h.make_model(
        h.make_graph(nodes, "counter", values[:2], values[2:], constants),
        opset_imports=[h.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, tmp_path / "counter.onnx")
    return PipelineSettings(lifter_model=str(tmp_path / "counter.onnx"))


def _steps(lifter, settings, seconds, ids=(7,)):
    people = seen(np.array([[i, 0, 4.0] for i in range(len(ids))]), round(seconds * SECOND))
    people = replace(people, ids=np.array(ids))
    return np.log(lifter(people, CAMERA, settings).sigma_m[:, 0]).round().astype(int).tolist()


@pytest.mark.parametrize(
    ("rate", "low", "high"), [(10, 20, 20), (30, 20, 21), (60, 20, 21), (25, 17, 25), (15, 15, 30)]
)
def test_state_goes_on_from_about_a_tenth_of_a_second_ago_at_every_rate(counter, rate, low, high):
    """Over two seconds, that is 20 steps; 25 Hz has 0.08 and 0.12 s to choose from, 15 Hz 0.067
    and 0.133 s.
    """
    lifter = create(counter)
    steps = [_steps(lifter, counter, 1 + i / rate)[0] for i in range(2 * rate)]
    assert low <= steps[-1] <= high


def test_state_survives_missed_frames_and_not_a_long_absence(counter):
    lifter = create(counter)
    assert [_steps(lifter, counter, t)[0] for t in (1.0, 1.1, 1.2)] == [1, 2, 3]
    assert _steps(lifter, counter, 1.45)[0] == 4  # two missed
    assert _steps(lifter, counter, 2.5)[0] == 1


def test_states_are_each_persons_own(counter):
    lifter = create(counter)
    _steps(lifter, counter, 1.0, (7,))
    assert _steps(lifter, counter, 1.1, (3, 7)) == [1, 2]
    assert _steps(lifter, counter, 1.2, (7, 3, 9)) == [3, 2, 1]
    lifter.forget(np.array([3]))
    assert _steps(lifter, counter, 1.3, (7, 3)) == [1, 3]


def test_larger_people_are_known_less_well_in_metres(counter):
    """The network knows poses at one stature: what is scaled to 1.9 m has its sigma scaled as
    well.
    """
    sigmas = []
    for height_m in (1.7, 1.9):
        settings = replace(counter, person_height_m=height_m)
        people = seen([[0, 0, 4.0]], SECOND)
        people = replace(people, ids=np.array([7]))
        sigmas.append(create(settings)(people, CAMERA, settings).sigma_m)
    np.testing.assert_allclose(sigmas[1] / sigmas[0], 1.9 / 1.7, rtol=1e-6)


def test_model_that_is_no_lifter_is_refused(tmp_path):
    from toy_networks import Graph

    graph = Graph()
    graph.save(tmp_path / "other.onnx", (8, 8), ("input",))
    with pytest.raises(EngineError, match="expected an ONNX lifter .* from input to"):
        create(PipelineSettings(lifter_model=str(tmp_path / "other.onnx")))


def test_auto_looks_at_what_the_detector_tells():
    """A guess of depth from blazepose; other detectors give keypoints alone, and the shipped
    lifter refuses them.
    """
    assert lifter_name(PipelineSettings()) == "rpsm-context"
    assert lifter_name(PipelineSettings(detector="rtmo")) == "rpsm"
    assert lifter_name(PipelineSettings(lifter_model="my.onnx")) == "my.onnx"
    with pytest.raises(
        SettingsError, match="expected a detector that gives root-relative depth .*, got 'rtmo'"
    ):
        create(PipelineSettings(detector="rtmo", lifter="rpsm-context"))


@pytest.mark.parametrize("name", ["rpsm", "videopose3d", "martinez"])
def test_shipped_lifters_lift_a_standing_body(name):
    """Upright, facing the camera, left on the left; several people in one call, each with a
    history of their own.
    """
    settings = PipelineSettings(lifter=name)
    lifter = create(settings)
    places = np.array([[-1.2, 0, 4.0], [0.2, 0.1, 3.0], [1.5, 0, 6.0]])
    for i in range(30):
        people = seen(places, SECOND + i * SECOND // 30)
        assert (people.ids == NO_ID).all()
        people = replace(people, ids=np.array([7, 3, 5]))
        poses = lifter(people, CAMERA, settings)
    assert (pa_mpjpe(poses.joints_m.astype(float), STANDING_M.astype(float)) < 0.05).all()
    left, right = H36M17.indices("l_wrist", "r_wrist")
    assert (poses.joints_m[:, left, 0] > poses.joints_m[:, right, 0]).all()
    assert (poses.joints_m[:, 0] == 0).all() and (poses.sigma_m > 0).all()
    head = H36M17.index("head")
    tall = lifter(people, CAMERA, PipelineSettings(lifter=name, person_height_m=1.9))
    np.testing.assert_allclose(
        tall.joints_m[:, head] / poses.joints_m[:, head], 1.9 / 1.7, rtol=0.02
    )
    lifter.close()


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_coarse_arithmetic_is_for_networks_of_pictures(precision, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing is calibrated there
    people = seen([[0.3, 0.0, 4.0]], SECOND)
    settings = [
        PipelineSettings(lifter="rpsm", precision=wanted) for wanted in ("fp32", precision)
    ]
    exact, coarse = (create(wanted)(people, CAMERA, wanted).joints_m for wanted in settings)
    np.testing.assert_array_equal(exact, coarse)
