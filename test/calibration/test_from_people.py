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

"""Refining a rig from people: cameras that were moved come back, and what cannot be told is
refused.
"""

from dataclasses import replace

import numpy as np
import pytest
from rigs import detected, ring, standing

from pose3d_ros.calibration.bundle_adjustment import (
    PixelObservations,
    adjust,
    aligned,
    apply_steps,
    pose_uncertainty,
    steps_between,
)
from pose3d_ros.calibration.from_people import refine
from pose3d_ros.calibration.people_matching import LIMB_JOINTS, Poses2D, load_poses, match_people
from pose3d_ros.camera import Camera
from pose3d_ros.cli.main import main
from pose3d_ros.io.rig_file import RigFile, read_cameras, write_rig
from pose3d_ros.multiview import triangulate
from pose3d_ros.multiview.rig import Rig
from pose3d_ros.skeleton import H36M17

NAMES = ["a", "b", "c", "d"]
NOISE_PX = 3.0


def walking(people: int, time_s: float) -> np.ndarray:
    """(P, 17, 3): on circles around the middle, with swinging arms and legs."""
    angle = 0.6 * time_s + 2 * np.pi * np.arange(people) / people
    radius = 1.0 + 0.4 * np.arange(people) / people
    places = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return standing(places, angle + np.pi / 2, stride=4 * time_s)


def walk(people: int, frames: int) -> np.ndarray:
    """(T, P, 17, 3) at 10 Hz."""
    return np.stack([walking(people, t / 10) for t in range(frames)])


def recorded(cameras: list[Camera], people_m: np.ndarray, path, missed: float = 0.1) -> None:
    """What detectors see of (T, P, 17, 3), as an npz file."""
    rng = np.random.default_rng(2)
    poses, frame, view = [], [], []
    for t, people in enumerate(people_m):
        for c, camera in enumerate(cameras):
            found = detected(camera, people, 0, rng, NOISE_PX, missed, false_people=0.1)
            known = ((found.keypoints_px > 0) & (found.keypoints_px < camera.size)).all(
                -1, keepdims=True
            )
            poses.append(
                np.where(
                    known, np.concatenate([found.keypoints_px, found.confidence[..., None]], -1), 0
                )
            )
            frame += [t] * len(found)
            view += [c] * len(found)
    np.savez(path, poses=np.concatenate(poses), frame=frame, view=view)


def read(cameras: list[Camera], people_m: np.ndarray, tmp_path) -> Poses2D:
    recorded(cameras, people_m, tmp_path / "poses.npz")
    return load_poses(tmp_path / "poses.npz", NAMES, cameras, "h36m17")


def disturbed(
    cameras: list[Camera], metres: float, radians: float, which=(0, 1, 2, 3)
) -> list[Camera]:
    rng = np.random.default_rng(5)
    by = np.zeros((len(cameras), 6))
    by[list(which)] = rng.normal(0, [radians] * 3 + [metres] * 3, (len(which), 6))
    poses = apply_steps(np.stack([c.camera_from_world for c in cameras]), by)
    return [
        replace(camera, camera_from_world=pose)
        for camera, pose in zip(cameras, poses, strict=True)
    ]


def difference(cameras, truth, scale: bool = True) -> tuple[float, float]:
    """Largest distance in metres and angle in radians, whatever the world's frame (and scale)."""
    a, b = (np.stack([c.camera_from_world for c in some]) for some in (cameras, truth))
    by = steps_between(b, aligned(a, b, 3.0, scale))
    return np.linalg.norm(by[:, 3:], axis=1).max(), np.linalg.norm(by[:, :3], axis=1).max()


def misplaced_mm(cameras, truth, people_m: np.ndarray) -> float:
    """Median distance of joints triangulated with ``cameras`` from noiseless pixels, but for frame
    and scale.
    """
    joints = people_m.reshape(-1, 3)
    pixels = np.stack([camera.project(joints) for camera in truth])
    found, _, _ = triangulate(pixels, cameras, np.ones(pixels.shape[:2]), noise_px=20.0)
    a, b = found - found.mean(0), joints - joints.mean(0)
    u, spread, vt = np.linalg.svd(b.T @ a)
    turned = a @ (u @ vt).T * spread.sum() / (a * a).sum()
    return float(np.median(np.linalg.norm(turned - b, axis=1)) * 1e3)


@pytest.mark.parametrize("people", [1, 3])
def test_disturbed_cameras_come_back(people, tmp_path):
    truth = ring(4, distortion=(-0.1, 0.02, 0, 0))
    given = disturbed(truth, 0.04, 0.015)
    said: list[str] = []
    result = refine(given, NAMES, read(truth, walk(people, 120), tmp_path), say=said.append)
    assert [text.split(":")[0] for text in said][:2] == [f"round {i} of at most 8" for i in (1, 2)]
    before, after = difference(given, truth), difference(result.cameras, truth)
    # with people near the middle, a camera that moves aside and turns back sees nearly the same:
    # noise shows there
    assert before[0] > 0.05
    assert before[1] > 0.02
    assert after[0] < 0.025
    assert after[1] < 0.005
    everybody = walk(people, 120)[::10]
    assert misplaced_mm(given, truth, everybody) > 10
    assert misplaced_mm(result.cameras, truth, everybody) < 4
    assert result.better
    assert result.held_out[1].median_px < NOISE_PX  # triangulated points follow the noise in part
    assert result.held_out[0].median_px > 1.5 * result.held_out[1].median_px


def test_stated_uncertainty_is_that_of_the_errors():
    truth = ring(4)
    limbs = H36M17.indices(*LIMB_JOINTS)
    joints = walk(1, 60)[:, 0][:, limbs].reshape(-1, 3)
    exact = np.stack([camera.project(joints) for camera in truth])
    view, point = np.indices(exact.shape[:2]).reshape(2, -1)
    rig, poses = Rig.of(truth), np.stack([camera.camera_from_world for camera in truth])
    bodies = np.tile(np.eye(4), (len(joints), 1, 1))
    bodies[:, :3, 3] = joints
    normalised = []
    for seed in range(6):
        noisy = (exact + np.random.default_rng(seed).normal(0, NOISE_PX, exact.shape)).reshape(
            -1, 2
        )
        seen = PixelObservations(
            rig.undistort(noisy, view), view, point, np.zeros((len(view), 3)), np.ones(len(view))
        )
        found, points = adjust(
            poses, rig.focal_px, bodies, seen, 20.0, poses, (0.3, 0.1), rigid=False
        )
        by = steps_between(poses, aligned(found, poses, 3.0, scale=True))
        expected = pose_uncertainty(found, rig.focal_px, points, seen, 3.0)
        normalised.append(np.linalg.norm(by.reshape(-1, 2, 3)[:, ::-1], axis=-1) / expected)
    assert 0.6 < np.sqrt(np.mean(np.square(normalised))) < 1.5


def test_says_which_camera_was_moved(tmp_path):
    truth = ring(4)
    given = disturbed(truth, 0.06, 0.02, which=[2])
    by = steps_between(
        np.stack([c.camera_from_world for c in given]),
        np.stack([c.camera_from_world for c in truth]),
    )
    result = refine(given, NAMES, read(truth, walk(2, 120), tmp_path))
    assert result.moved_mm[2] == pytest.approx(np.linalg.norm(by[2, 3:]) * 1e3, abs=15)
    assert result.turned_deg[2] == pytest.approx(np.degrees(np.linalg.norm(by[2, :3])), abs=0.3)
    assert np.delete(result.moved_mm, 2).max() < 20
    assert np.delete(result.turned_deg, 2).max() < 0.4


def test_a_bone_sets_the_scale(tmp_path):
    truth = ring(4)
    people = walk(1, 100)
    thigh = float(
        np.linalg.norm(people[0, 0, H36M17.index("r_hip")] - people[0, 0, H36M17.index("r_knee")])
    )
    too_small = []
    for camera in truth:
        pose = camera.camera_from_world.copy()
        pose[:3, 3] *= 0.9
        too_small.append(replace(camera, camera_from_world=pose))
    poses = read(truth, people, tmp_path)
    result = refine(too_small, NAMES, poses, ("r_hip", "r_knee", thigh))
    assert result.scale == pytest.approx(1 / 0.9, rel=0.02)
    assert np.linalg.norm(result.cameras[0].position_m) == pytest.approx(
        np.linalg.norm(truth[0].position_m), rel=0.02
    )


def test_a_right_rig_stays(tmp_path):
    truth = ring(4)
    result = refine(truth, NAMES, read(truth, walk(2, 100), tmp_path))
    assert not result.better
    assert difference(result.cameras, truth)[0] < 0.01


def test_what_people_cannot_tell_is_refused(tmp_path):
    truth = ring(4)
    with pytest.raises(ValueError, match="at least two cameras"):
        refine(truth[:1], NAMES[:1], read(truth, walk(1, 40), tmp_path)[np.array([0])])
    with pytest.raises(ValueError, match="people hardly move"):
        refine(truth, NAMES, read(truth, np.repeat(walk(1, 1), 60, 0), tmp_path))
    with pytest.raises(
        ValueError,
        match="frames show somebody whom another camera sees too, expected at least 20",
    ):
        refine(truth, NAMES, read(truth, walk(1, 20), tmp_path))
    poses = read(truth, walk(1, 100), tmp_path)
    apart = poses[(poses.view < 2) == (poses.frame < 50)]
    with pytest.raises(ValueError, match="cameras a b / c d never see the same people"):
        refine(truth, NAMES, apart)
    far = ring(4, radius=18)
    with pytest.raises(ValueError, match="people's places do not tell where cameras are"):
        refine(far, NAMES, read(far, walk(1, 60), tmp_path))
    with pytest.raises(ValueError, match="camera d: 0 frames"):
        refine(truth, NAMES, poses[poses.view < 3])


def test_only_sure_matches_count():
    cameras = ring(3)
    people = standing(np.array([[0.0, 0.0], [1.5, 0.5]]), np.zeros(2))
    limbs = H36M17.indices(*LIMB_JOINTS)
    pixels = np.concatenate([camera.project(people)[:, limbs] for camera in cameras])
    view = np.repeat(np.arange(3), 2)
    rig = Rig.of(cameras)
    poses = Poses2D(rig.undistort(pixels, view), np.ones(pixels.shape[:2]), np.zeros(6, int), view)
    gate_m = np.full((3, 3), 0.5)
    person, usual_m = match_people(rig, poses, gate_m)
    assert person.tolist() == [0, 1, 0, 1, 0, 1]
    assert usual_m[~np.eye(3, dtype=bool)].max() < 1e-6
    doubled = np.array([0, 0, 1, 2, 3, 4, 5])  # the first camera reports one person twice
    person, _ = match_people(rig, poses[doubled], gate_m)
    assert len(set(person[:2]) | {-1}) <= 2  # never both
    alone, usual_m = match_people(
        rig, poses[np.array([0, 3])], gate_m
    )  # two different people, one in each view
    assert alone.tolist() == [-1, -1]
    assert np.isinf(usual_m).all()


@pytest.mark.parametrize(
    ("change", "match_"),
    [
        ({"poses": np.zeros((2, 17))}, r"expected poses \(N, J, 3\)"),
        ({"poses": np.zeros((2, 25, 3))}, "fits body25 and body25b: expected --skeleton"),
        ({"poses": np.zeros((2, 9, 3))}, "has 9 joints, which fits no skeleton"),
        ({"view": np.array([0, 7])}, "has views 0 to 7, but the rig has 4 cameras"),
        (
            {"poses": np.full((2, 26, 3), 1900.0)},
            "camera a is calibrated for 1280x960, but its poses reach x=1900",
        ),
    ],
)
def test_wrong_recordings(change, match_, tmp_path):
    content = {
        "poses": np.zeros((2, 26, 3)),
        "frame": np.array([0, 1]),
        "view": np.array([0, 0]),
    } | change
    np.savez(tmp_path / "poses.npz", **content)
    with pytest.raises(ValueError, match=match_):
        load_poses(tmp_path / "poses.npz", NAMES, ring(4))
    (tmp_path / "poses.npz").write_text("nothing")
    with pytest.raises(ValueError, match="expected an npz file with poses, frame and view"):
        load_poses(tmp_path / "poses.npz", NAMES, ring(4))


def test_command_writes_only_what_is_better(tmp_path, capsys):
    truth = ring(4)
    recorded(truth, walk(1, 100), tmp_path / "poses.npz")
    write_rig(
        tmp_path / "given.yaml",
        RigFile(
            dict(zip(NAMES, disturbed(truth, 0.04, 0.015), strict=True)),
            "map",
            sources={"a": {"namespace": "left"}},
        ),
    )
    write_rig(tmp_path / "right.yaml", RigFile(dict(zip(NAMES, truth, strict=True))))

    def run(rig: str, *options: str) -> tuple[int, str, str]:
        code = main(
            [
                "calibrate",
                "refine",
                str(tmp_path / rig),
                str(tmp_path / "poses.npz"),
                "--skeleton",
                "h36m17",
                "--output",
                str(tmp_path / "refined.yaml"),
                *options,
            ]
        )
        said = capsys.readouterr()
        return code, said.out, said.err

    code, _, error = run("right.yaml")
    assert code == 1
    assert "nothing written" in error
    assert not (tmp_path / "refined.yaml").exists()
    code, said, _ = run("given.yaml")
    assert code == 0
    assert "reprojection on frames held out: median" in said
    assert said.count("moved") == 4
    assert "namespace: left" in (tmp_path / "refined.yaml").read_text()
    assert difference(read_cameras(tmp_path / "refined.yaml").values(), truth)[0] < 0.025
    with pytest.raises(SystemExit):
        run("given.yaml", "--bone", "r_hip-nose=0.4")
    assert "expected two of l_shoulder" in capsys.readouterr().err


KEYPOINTS = [(name, np.float32) for name in ("x", "y", "confidence")] + [
    (name, np.int32) for name in ("person", "joint", "image_width", "image_height")
]


def bag(
    path, cameras: list[Camera], late_s: list[float], size: tuple[int, int] = (1280, 960)
) -> None:
    """Two people who walk for 10 s before cameras at 15 Hz that start ``late_s``."""
    rosbags = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    header_type, time_type = types["std_msgs/msg/Header"], types["builtin_interfaces/msg/Time"]
    cloud_type, field_type = (
        types["sensor_msgs/msg/PointCloud2"],
        types["sensor_msgs/msg/PointField"],
    )
    kinds: np.dtype = np.dtype(KEYPOINTS)
    fields = [
        field_type(name=name, offset=4 * i, datatype=7 if kind is np.float32 else 5, count=1)
        for i, (name, kind) in enumerate(KEYPOINTS)
    ]
    rng = np.random.default_rng(4)
    with rosbags.Writer(path, version=9) as writer:
        for c, camera in enumerate(cameras):
            connection = writer.add_connection(
                f"/pose3d/{NAMES[c]}/keypoints", cloud_type.__msgtype__, typestore=store
            )
            for k in range(150):
                stamp_s = 100 + late_s[c] + k / 15
                pixels = camera.project(walking(2, stamp_s)) + rng.normal(0, NOISE_PX, (2, 17, 2))
                points = np.zeros((2, 17), kinds)
                points["x"], points["y"], points["confidence"] = (
                    pixels[..., 0],
                    pixels[..., 1],
                    0.8,
                )
                points["x"][0, 0] = np.nan
                points["person"], points["image_width"], points["image_height"] = [[7], [3]], *size
                cloud = cloud_type(
                    header=header_type(
                        stamp=time_type(sec=int(stamp_s), nanosec=int(stamp_s % 1 * 1e9)),
                        frame_id="c",
                    ),
                    height=2,
                    width=17,
                    fields=fields,
                    is_bigendian=False,
                    point_step=28,
                    row_step=28 * 17,
                    data=np.frombuffer(points.tobytes(), np.uint8),
                    is_dense=False,
                )
                writer.write(
                    connection,
                    int(stamp_s * 1e9),
                    store.serialize_cdr(cloud, cloud_type.__msgtype__),
                )


def test_refines_from_a_bag_of_cameras_that_are_not_synchronised(tmp_path, capsys):
    truth = ring(4)
    bag(tmp_path / "bag", truth, [0.0, 0.013, 0.031, 0.05])
    write_rig(
        tmp_path / "given.yaml",
        RigFile(dict(zip(NAMES, disturbed(truth, 0.04, 0.015), strict=True))),
    )
    assert (
        main(
            [
                "calibrate",
                "refine",
                str(tmp_path / "given.yaml"),
                str(tmp_path / "bag"),
                "--output",
                str(tmp_path / "refined.yaml"),
            ]
        )
        == 0
    )
    assert difference(read_cameras(tmp_path / "refined.yaml").values(), truth)[0] < 0.025
    other = {name.replace("d", "9"): camera for name, camera in zip(NAMES, truth, strict=True)}
    write_rig(tmp_path / "other.yaml", RigFile(other))
    capsys.readouterr()
    assert (
        main(
            [
                "calibrate",
                "refine",
                str(tmp_path / "other.yaml"),
                str(tmp_path / "bag"),
                "--output",
                str(tmp_path / "x.yaml"),
            ]
        )
        == 1
    )
    assert "expected one topic .../cam_9/keypoints" in capsys.readouterr().err


def test_bags_that_do_not_fit(tmp_path):
    truth = ring(4)
    bag(tmp_path / "apart", truth, [0.0, 0.0, 0.0, 30.0])
    with pytest.raises(ValueError, match="do not overlap in time"):
        load_poses(tmp_path / "apart", NAMES, truth)
    bag(tmp_path / "small", truth, [0.0] * 4, (640, 480))
    with pytest.raises(
        ValueError,
        match="calibrated for 1280x960, but its keypoints are of images of 640x480",
    ):
        load_poses(tmp_path / "small", NAMES, truth)
