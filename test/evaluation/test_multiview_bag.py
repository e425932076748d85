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

import numpy as np
import pytest
from rigs import detected, ring, standing

from pose3d_ros.evaluation import multiview_bag
from pose3d_ros.evaluation.monocular import CameraTruth
from pose3d_ros.io.bags import CLOUD_TYPE
from pose3d_ros.io.npz import NpzError
from pose3d_ros.io.rig_file import RigFile, write_rig
from pose3d_ros.skeleton import H36M17

pytest.importorskip("rosbags", reason="needs rosbags")
pytest.importorskip("rclpy", reason="needs ROS 2 messages")
from image_bags import raw
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore
from std_msgs.msg import Header

from pose3d_ros.nodes.messages import keypoints_cloud, time_of

NAMES = ["left", "middle", "right"]
STEP_NS = 40_000_000
START_NS = 1_700_000_000_000_000_000


def two_people(seconds):
    return standing(np.array([(-0.8, 0), (0.8, 0)]) + [0, 0.4 * seconds], np.zeros(2), 5 * seconds)


@pytest.fixture
def rig():
    return RigFile(dict(zip(NAMES, ring(3), strict=True)))


@pytest.fixture
def recorded(tmp_path, rig):
    """A bag of three seconds: cameras out of phase, messages 20 to 60 ms on the way; and a picture
    of the left one.
    """
    rng, store = np.random.default_rng(0), get_typestore(Stores.ROS2_HUMBLE)
    events = []
    for index, (name, camera) in enumerate(rig.cameras.items()):
        for frame in range(75):
            taken = frame * STEP_NS + index * 9_000_000
            events.append((taken + int(rng.uniform(20, 60) * 1e6), name, camera, taken))
    with Writer(tmp_path / "bag", version=8) as writer:
        topics = {
            name: writer.add_connection(f"/pose3d/{name}/keypoints", CLOUD_TYPE, typestore=store)
            for name in NAMES
        }
        for arrived, name, camera, taken in sorted(events, key=lambda event: event[0]):
            people = detected(camera, two_people(taken * 1e-9), START_NS + taken, rng)
            cloud = keypoints_cloud(people, Header(stamp=time_of(START_NS + taken), frame_id=name))
            writer.write(topics[name], START_NS + arrived, serialize_message(cloud))
        image = raw(np.zeros((4, 4, 3), np.uint8), START_NS)
        topic = writer.add_connection("/pose3d/left/image_raw", image.__msgtype__, typestore=store)
        writer.write(topic, START_NS, store.serialize_cdr(image, image.__msgtype__))
    stamps = np.arange(0, 3_000_000_000, 100_000_000)
    np.savez(
        tmp_path / "truth.npz",
        joints_m=np.array([two_people(s * 1e-9) for s in stamps]),
        stamp_ns=START_NS + stamps,
    )
    return tmp_path


def test_a_bag_with_its_truth(recorded, rig):
    report = multiview_bag.evaluate(
        recorded / "bag", rig, multiview_bag.RigTruth.load(recorded / "truth.npz")
    )
    assert report["cameras"] == "left,middle,right" and report["frames"] == pytest.approx(
        75, abs=8
    )
    assert (
        report["ids"] == 2 and report["id_switches"] == 0 and report["false_people_per_frame"] == 0
    )
    assert report["recall"] > 0.9 and report["pcp"] > 90 and report["mpjpe_mm"] < 40
    assert 1.8 < report["people_per_frame"] <= 2 and report["ms_per_frame"] > 0


def test_two_of_the_cameras_without_truth(recorded, rig):
    report = multiview_bag.evaluate(recorded / "bag", rig, None, [0, 2])
    assert report["cameras"] == "left,right" and report["ids"] == 2
    assert "recall" not in report


def test_a_wrong_truth_is_noticed(recorded, rig):
    truth = multiview_bag.RigTruth.load(recorded / "truth.npz")
    report = multiview_bag.evaluate(
        recorded / "bag", rig, multiview_bag.RigTruth(truth.joints_m + [3, 0, 0], truth.stamp_ns)
    )
    assert report["recall"] == 0 and report["pcp"] == 0 and report["false_people_per_frame"] > 1.5


def test_truth_is_interpolated_and_ends():
    joints = np.zeros((3, 1, 17, 3))
    joints[1:, ..., 0] = 1.0
    truth = multiview_bag.RigTruth(joints, np.array([0, 100, 1000]) * 1_000_000)
    between = truth.at(25_000_000)
    assert between is not None and between[0, 0, 0] == pytest.approx(0.25)
    assert (
        truth.at(500_000_000) is None and truth.at(-1) is None and truth.at(1_000_000_001) is None
    )


def test_what_is_missing_is_named(recorded, rig, tmp_path):
    other = RigFile(dict(zip(["left", "roof"], ring(2), strict=True)))
    with pytest.raises(
        ValueError, match=r"one topic .../roof/keypoints .*, got none among /pose3d/left/keypoints"
    ):
        multiview_bag.evaluate(recorded / "bag", other, None)
    with pytest.raises(ValueError, match=r"views among 0 to 2, got \[5\]"):
        multiview_bag.evaluate(recorded / "bag", rig, None, [0, 5])
    with pytest.raises(ValueError, match=r"poses, got intrinsics only"):
        multiview_bag.evaluate(recorded / "bag", RigFile(rig.cameras, posed=False), None)
    np.savez(tmp_path / "no.npz", joints_m=np.zeros((2, 1, len(H36M17), 3)))
    with pytest.raises(ValueError, match=r"no.npz: expected an npz with joints_m .*stamp_ns"):
        multiview_bag.RigTruth.load(tmp_path / "no.npz")


def test_the_people_in_a_bag_are_labelled_to_train_on(recorded, rig, tmp_path):
    pytest.importorskip("torch", reason="needs torch")
    from pose3d_ros.training.data.recordings import read
    from pose3d_ros.training.rig.finetune import collect

    write_rig(tmp_path / "rig.yaml", rig)
    # By the 2D poses alone, also of the camera that has a picture.
    assert "3 cameras, 225 images" in collect(
        recorded / "bag", tmp_path / "rig.yaml", tmp_path / "own", False
    )
    found = list(read(tmp_path / "own", "train"))
    assert sum(map(len, found)) > 0.8 * 0.8 * 3 * 2 * 75  # a fifth is kept to measure on
    for recording in found:
        camera = list(rig.cameras.values())[
            NAMES.index(recording.name.split("-")[0])
        ].camera_from_world
        first = (
            recording.frame[0] * STEP_NS * 1e-9 + NAMES.index(recording.name.split("-")[0]) * 0.009
        )
        true = two_people(first) @ camera[:3, :3].T + camera[:3, 3]
        assert np.nanmean(np.linalg.norm(true - recording.joints_m[0], axis=-1), 1).min() < 0.05
        assert recording.rate_hz == pytest.approx(25)
    with pytest.raises(
        ValueError,
        match="camera middle: expected images on middle/image_raw .* this lifter takes",
    ):
        collect(recorded / "bag", tmp_path / "rig.yaml", tmp_path / "own", True)
    with pytest.raises(ValueError, match="expected the rig file of the cameras in the bag"):
        collect(recorded / "bag", None, tmp_path / "own", False)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"joints_m": np.zeros((3, 17, 3))}, r"17 joints of h36m17, got joints_m float64 \(3, 17"),
        ({"joints_m": np.zeros((3, 1, 25, 3))}, "17 joints of h36m17"),
        ({"joints_m": np.full((3, 1, 17, 3), "x")}, "got joints_m <U1"),
        ({"skeleton": "smpl"}, "expected a skeleton among .* got 'smpl'"),
        ({"stamp_ns": np.array([0.0, 0.1, 0.2])}, "got stamp_ns float64"),
        ({"stamp_ns": np.array([5, 5, 6])}, "expected at least 2 that rise"),
        ({"camera_from_world": np.eye(4)}, r"got camera_from_world float64 \(4, 4\)"),
        ({"camera_from_world": np.full((1, 4, 4), np.nan)}, "not finite"),
    ],
)
def test_a_truth_of_other_content_is_one_line(tmp_path, arrays, words):
    whole = {
        "joints_m": np.zeros((3, 1, 17, 3)),
        "stamp_ns": np.arange(3),
        "camera_from_world": np.eye(4)[None],
    }
    np.savez(tmp_path / "truth.npz", **{**whole, **arrays})
    with pytest.raises(NpzError, match=words) as caught:
        multiview_bag.RigTruth.load(tmp_path / "truth.npz")
        CameraTruth.load(tmp_path / "truth.npz", 0)
    assert "truth.npz" in str(caught.value) and "\n" not in str(caught.value)
