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

"""Several calibrated cameras label people for each other, and a lifter that exists goes on
learning from them.
"""

from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rigs import detected, ring, standing

pytest.importorskip("torch", reason="needs torch")
from pose3d_ros.io.image_encodings import ImageError
from pose3d_ros.io.rig_file import read_rig, write_rig
from pose3d_ros.resources import share
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training import onnx_weights
from pose3d_ros.training.build import build
from pose3d_ros.training.checkpoint import build_with_base, load
from pose3d_ros.training.data.augmentation import scale_of_person, stature
from pose3d_ros.training.data.recordings import Recordings, read, write
from pose3d_ros.training.rig.finetune import collect, finetune_from_rig, finetune_settings
from pose3d_ros.training.rig.labels import label
from pose3d_ros.training.rig.observations import usable, video
from pose3d_ros.training.rig.samples import FeatureMapFile, labelled_features, recordings
from pose3d_ros.training.settings import TrainSettings

STEP_NS = 40_000_000
START_NS = 1_700_000_000_000_000_000
WRIST, ELBOW = H36M17.indices("l_wrist", "l_elbow")
LIFTERS = {
    "martinez": 512,
    "videopose3d": 384,
    "rpsm": 256,
    "rpsm-context": 256,
    "context": 96,
    "context-t": 96,
}


def walking(frame, offset_s=0.0):
    seconds = frame * STEP_NS * 1e-9 + offset_s
    return standing(
        np.array([[-0.9, 0.3 * seconds], [0.9, -0.3 * seconds]]), np.zeros(2), 4 * seconds
    )


def hidden(people, joint):
    confidence = people.confidence.copy()
    confidence[:, joint] = 0
    return replace(people, confidence=confidence)


@pytest.fixture(scope="module")
def watched():
    """Two people for three seconds before three cameras 9 ms apart; the left wrist is seen by the
    first alone.
    """
    rng, cameras = np.random.default_rng(0), ring(3)
    pictures = [
        [
            detected(camera, walking(frame, 0.009 * c), frame * STEP_NS + c * 9_000_000, rng)
            for frame in range(75)
        ]
        for c, camera in enumerate(cameras)
    ]
    pictures = [pictures[0], *([hidden(people, WRIST) for people in own] for own in pictures[1:])]
    return cameras, pictures, label(cameras, pictures)


def test_labels_are_where_people_are(watched):
    cameras, pictures, labels = watched
    errors, people = [], set()
    for one in labels:
        transform = cameras[one.camera].camera_from_world
        truth = walking(one.image, 0.009 * one.camera) @ transform[:3, :3].T + transform[:3, 3]
        for row, person, joints_m in zip(one.rows, one.person, one.joints_m, strict=True):
            people.add(int(person))
            distance = np.linalg.norm(joints_m - truth, axis=-1)
            own = np.nanmean(distance, 1).argmin()
            errors.append(distance[own])
            shown = np.linalg.norm(
                pictures[one.camera][one.image].keypoints_px[row]
                - cameras[one.camera].project(truth[own], "camera"),
                axis=-1,
            )
            assert np.nanmedian(shown) < 6  # the row is of the person
    error = np.array(errors)
    assert len(error) > 0.8 * 2 * 3 * 75 and len(people) == 2
    assert np.nanmean(error) < 0.02
    assert np.isnan(error[:, WRIST]).all()  # one camera does not tell how far away it is
    assert np.isfinite(np.delete(error, WRIST, 1)).mean() > 0.95


def test_a_camera_that_stands_elsewhere_labels_nobody(watched):
    cameras, pictures, _ = watched
    pushed = cameras[1].camera_from_world.copy()
    pushed[:3, 3] += [0.6, 0.2, 0]
    elsewhere = [cameras[0], replace(cameras[1], camera_from_world=pushed), cameras[2]]
    labels = label(elsewhere, pictures)
    assert sum(len(one.rows) for one in labels if one.camera == 1) < 5
    transform = cameras[0].camera_from_world
    errors = [
        np.linalg.norm(
            walking(one.image) @ transform[:3, :3].T + transform[:3, 3] - joints_m, axis=-1
        ).min(0)
        for one in labels
        if one.camera == 0
        for joints_m in one.joints_m
    ]
    assert len(errors) > 100 and np.nanmean(errors) < 0.03


def test_recordings_end_where_a_person_is_lost(watched):
    cameras, pictures, labels = watched
    labels = [one for one in labels if one.camera == 0]
    gone = [one for one in labels if not 30 <= one.image < 33]
    found = recordings("left", cameras[0], pictures[0], gone)
    assert sorted(len(recording) for recording in found)[-2:] == [41, 41] and len(
        {r.name for r in found}
    ) == len(found)
    for recording in found:
        assert not set(recording.frame.tolist()) & {
            30,
            31,
            32,
        } and recording.rate_hz == pytest.approx(25)
        known = np.isfinite(recording.joints_m).all(-1) & (recording.confidence > 0)
        miss = np.linalg.norm(
            recording.camera.project(recording.joints_m) - recording.keypoints_px, axis=-1
        )
        assert np.median(miss[known]) < 5


def test_a_person_without_legs_gets_the_canonical_stature_by_the_arms():
    body = standing(np.zeros((1, 2)), np.zeros(1)) * 1.2
    whole = scale_of_person(body)
    assert stature(body * whole) == pytest.approx(1.7, abs=1e-3)
    body[:, H36M17.indices("l_knee", "l_ankle", "r_knee", "r_ankle")] = np.nan
    upper = scale_of_person(body)
    arm = np.linalg.norm(
        np.diff(body[0, H36M17.indices("l_shoulder", "l_elbow", "l_wrist")], axis=0), axis=-1
    ).sum()
    assert upper * arm == pytest.approx(1.7 * (0.160 + 0.153), rel=0.02)  # de Leva's arm
    assert np.isnan(scale_of_person(np.full((2, 17, 3), np.nan)))


def test_feature_maps_are_kept_of_a_picture_each_tenth_of_a_second(watched, tmp_path):
    cameras, pictures, everybody = watched
    maps = FeatureMapFile(tmp_path, "blazepose")
    rich = []
    for number, people in enumerate(pictures[0]):
        levels = tuple(np.full((len(people), c, 2, 2), number, np.float32) for c in (3, 2, 1))
        crop = np.tile(np.array([[0.001, 0, 0], [0, 0.001, 0]]), (len(people), 1, 1))
        seen = replace(
            people,
            features=levels,
            crop_from_image=crop,
            root_relative_depth_px=np.full((len(people), 17), 50.0),
        )
        maps.add(number, seen)
        rich.append(replace(seen, features=()))
    own = [one for one in everybody if one.camera == 0]
    labels, features = labelled_features(cameras[0], rich, own, maps, first_clip=7)
    maps.close()
    assert list(tmp_path.iterdir()) == []
    assert (
        features.dtype == np.float16 and features.shape[1] == (2 + 1) * 4
    )  # without the finest map
    assert sorted(set(labels["clip"].tolist())) == [7, 8]
    numbers = features[labels["clip"] == 7, 0].astype(int)
    assert (np.diff(numbers) <= 3).all() and np.diff(numbers).mean() == pytest.approx(
        2.5, abs=0.1
    )  # of 25 a second
    np.testing.assert_array_equal(labels["frame"][labels["clip"] == 7], np.round(numbers * 0.4))
    np.testing.assert_allclose(labels["root_relative_depth"], 0.05)  # in sides of the crop
    known = labels["visible"]
    assert not known[:, WRIST].any() and known[:, ELBOW].mean() > 0.9
    rays = labels["joints_m"][..., :2] / labels["joints_m"][..., 2:]
    assert np.median(np.abs(rays - labels["rays"])[known]) < 0.005


def dataset(watched, folder):
    """What the first camera saw, to train and to measure on."""
    cameras, pictures, labels = watched
    for recording in recordings(
        "left", cameras[0], pictures[0], [one for one in labels if one.camera == 0]
    ):
        for split in ("train", "val"):
            write(folder, split, recording)
    return folder


def test_nobody_is_left_out_for_an_unknown_wrist(watched, tmp_path):
    samples = Recordings.load(dataset(watched, tmp_path), "train", (-3, 0))
    clips = samples.sample(np.random.default_rng(0), 64, varied=False)
    known = np.isfinite(clips.joints_m).all(-1)
    assert not known[..., WRIST].any() and np.delete(known, WRIST, -1).mean() > 0.95


@pytest.mark.parametrize("lifter", LIFTERS)
def test_shipped_lifters_go_on_where_they_are(lifter):
    path = share("models", f"lifter-{lifter}.onnx")
    form = onnx_weights.architecture_of(path, lifter)
    assert form["channels"] == LIFTERS[lifter]
    network = build_with_base(TrainSettings(**{**form, "lifter": lifter, "init_from": str(path)}))
    assert onnx_weights.difference_m(network, path) > 0.1
    onnx_weights.load_weights(network, path)
    assert onnx_weights.difference_m(network, path) < 1e-5


def test_other_networks_are_refused(tmp_path):
    path = share("models", "lifter-martinez.onnx")
    with pytest.raises(
        ValueError, match="expected an ONNX file of this network.*without expand_conv.weight"
    ):
        onnx_weights.load_weights(build(TrainSettings(lifter="martinez", channels=64)), path)
    settings = TrainSettings(lifter="martinez", channels=LIFTERS["martinez"])
    changed = onnx.load(path)
    for value in changed.graph.initializer:
        if value.name.endswith("shrink.bias"):
            value.CopyFrom(
                numpy_helper.from_array(np.zeros(list(value.dims), np.float32), value.name)
            )
    changed.graph.node.append(onnx.helper.make_node("Identity", ["joints"], ["same"]))
    onnx.save(changed, tmp_path / "lifter.onnx")
    network = build(settings)
    onnx_weights.load_weights(
        network, tmp_path / "lifter.onnx"
    )  # other weights of the same form are as good
    onnx_weights.write_metadata(tmp_path / "lifter.onnx", replace(settings, channels=40))
    assert onnx_weights.architecture_of(tmp_path / "lifter.onnx", "martinez")["channels"] == 40
    with pytest.raises(ValueError, match="expected a lifter 'rpsm', got .* which is 'martinez'"):
        onnx_weights.architecture_of(tmp_path / "lifter.onnx", "rpsm")


def test_what_is_not_asked_for_suits_a_short_training():
    path = share("models", "lifter-rpsm.onnx")
    settings = finetune_settings(TrainSettings(lifter="rpsm", steps=77), path)
    assert (settings.steps, settings.learning_rate, settings.weight_interpolation) == (
        77,
        1e-4,
        0.5,
    )
    assert (settings.channels, settings.stages, settings.init_from) == (256, 3, str(path))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The first second of the demo clip's two cameras, and the rig file beside them."""
    folder = tmp_path_factory.mktemp("demo")
    rig = read_rig(share("demo", "rig.yaml"))
    for sources in rig.sources.values():
        clip = cv2.VideoCapture(str(share("demo", sources["video"])))
        out = cv2.VideoWriter(
            str(folder / sources["video"]), cv2.VideoWriter.fourcc(*"mp4v"), 30, (1280, 720)
        )
        for _ in range(30):
            out.write(clip.read()[1])
        out.release()
        clip.release()
    write_rig(folder / "rig.yaml", rig)
    return folder


@pytest.mark.parametrize("sighted", [False, True])
def test_the_demo_clip_labels_itself(demo, tmp_path, sighted):
    assert "2 cameras, 60 images, 1 s" in collect(demo / "rig.yaml", None, tmp_path, sighted)
    with np.load(share("demo", "truth.npz")) as data:
        truth_m = data["joints_m"]
    cameras = list(read_rig(demo / "rig.yaml").cameras.values())
    assert len(list((tmp_path / "train").glob("*.npz"))) >= 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["train", "val"]
    if sighted:
        with np.load(tmp_path / "train" / "cam0.npz") as data:
            maps = np.load(tmp_path / "train" / "cam0.features.npy")
            assert maps.shape == (len(data["rays"]), 48 * 32 * 32 + 48 * 16 * 16 + 144 * 8 * 8)
            assert np.isfinite(data["rays"]).all() and np.nanmedian(data["joints_m"][..., 2]) > 1
        return
    for recording in read(tmp_path, "train"):
        camera = cameras[int(recording.name[3])].camera_from_world
        true = truth_m[recording.frame] @ camera[:3, :3].T + camera[:3, 3]
        distance = np.nanmean(np.linalg.norm(true - recording.joints_m[:, None], axis=-1), (0, 2))
        assert (
            distance.min() < 0.09 and distance.max() > 0.5
        )  # one of the two, as the detector sees a rendered person


@pytest.fixture(scope="module")
def recorded(demo):
    """The same in a bag, half as large: JPEGs of one camera, one of them broken, and raw pictures
    of the other.
    """
    pytest.importorskip("rosbags", reason="needs rosbags")
    from image_bags import compressed, jpeg, raw, write_bag

    small = [
        [
            (cv2.resize(image, (640, 360), interpolation=cv2.INTER_AREA), START_NS + stamp_ns)
            for image, stamp_ns in video(demo / f"cam{camera}.mp4")
        ]
        for camera in range(2)
    ]
    left = [jpeg(*picture) for picture in small[0]]
    left.insert(7, compressed(np.zeros(100, np.uint8), START_NS + 210_000_000))
    return write_bag(
        demo / "bag",
        {
            "/hall/cam0/image_raw/compressed": left,
            "/hall/cam1/image_raw": [raw(*picture) for picture in small[1]],
        },
    )


def test_pictures_in_a_bag_teach_what_videos_teach(demo, recorded, tmp_path, capsys):
    words = collect(recorded, demo / "rig.yaml", tmp_path / "bag", True)
    assert "2 cameras, 60 images, 1 s" in words
    said = capsys.readouterr().out
    assert (
        "camera cam0: 1 of 31 images left out; the first: expected a JPEG or PNG, got 100 bytes"
        in said
    )
    collect(demo / "rig.yaml", None, tmp_path / "video", True)
    for camera in ("cam0", "cam1"):
        poses = []
        for folder in ("bag", "video"):
            with np.load(tmp_path / folder / "train" / f"{camera}.npz") as data:
                poses.append((data["frame"], data["joints_m"] - data["joints_m"][:, :1]))
            maps = np.load(tmp_path / folder / "train" / f"{camera}.features.npy")
            assert len(maps) == len(poses[-1][0]) and maps.astype(np.float32).std() > 0.1
        assert abs(len(poses[0][0]) - len(poses[1][0])) <= 3
        apart = [
            np.nanmean(np.linalg.norm(pose - poses[1][1][poses[1][0] == frame], axis=-1), 1).min()
            for frame, pose in zip(*poses[0], strict=True)
            if frame in poses[1][0]
        ]
        assert len(apart) > 5 and np.median(apart) < 0.04  # of the same person


def test_taught_by_a_bag_of_pictures(demo, recorded, tmp_path, capsys):
    settings = TrainSettings(
        lifter="rpsm-context", output=str(tmp_path), steps=3, batch=4, validation=4
    )
    path = finetune_from_rig(settings, recorded, demo / "rig.yaml")
    assert "labelled people to train on" in capsys.readouterr().out
    taught = build(replace(settings, **onnx_weights.architecture_of(path, "rpsm-context")))
    onnx_weights.load_weights(taught, path)
    assert (
        1e-5 < onnx_weights.difference_m(taught, share("models", "lifter-rpsm-context.onnx")) < 0.2
    )  # learnt a little


@pytest.mark.parametrize("lifter", ["context", "context-t"])
def test_context_lifters_are_taught_as_well(demo, tmp_path, lifter):
    """What looks at pictures and corrects a base goes on from its file, the base as it was."""
    shipped = share("models", f"lifter-{lifter}.onnx")
    settings = TrainSettings(lifter=lifter, output=str(tmp_path), steps=3, batch=4, validation=4)
    path = finetune_from_rig(settings, demo / "rig.yaml", None)
    before, after = onnx_weights.weights(shipped), onnx_weights.weights(path)
    assert before.keys() == after.keys()
    bases = [name for name in before if ".base." in name]
    assert len(bases) > 20 and all(np.array_equal(before[name], after[name]) for name in bases)
    assert any(
        np.abs(before[name] - after[name]).max() > 1e-4 for name in before if ".head." in name
    )
    network, noted = load(
        tmp_path
    )  # of the checkpoint, which is not a mixture with the shipped one
    assert noted.init_from == str(shipped) and onnx_weights.difference_m(network, path) < 0.2


def test_cameras_that_are_not_in_the_bag(demo, recorded, tmp_path, capsys):
    rig = read_rig(demo / "rig.yaml")
    roof = replace(
        rig.cameras["cam0"], frame_id="roof", camera_from_world=ring(1)[0].camera_from_world
    )
    write_rig(tmp_path / "three.yaml", replace(rig, cameras={**rig.cameras, "roof": roof}))
    collect(recorded, tmp_path / "three.yaml", tmp_path / "own", False)
    said = capsys.readouterr().out
    assert (
        "camera roof: expected images on roof/image_raw or roof/image, perhaps with "
        "/compressed, or 2D poses on "
        "roof/keypoints; got none among /hall/cam0/image_raw/compressed, /hall/cam1/image_raw"
        in said
    )
    write_rig(
        tmp_path / "two.yaml", replace(rig, cameras={"cam0": rig.cameras["cam0"], "roof": roof})
    )
    with pytest.raises(
        ValueError,
        match=r"bag: camera roof: expected images .* the rig file may say 'image: TOPIC'",
    ):
        collect(recorded, tmp_path / "two.yaml", tmp_path / "own", False)


def test_pictures_that_cannot_be_used():
    picture = np.zeros((2, 2, 3), np.uint8)
    assert [
        stamp
        for _, stamp in usable("left", [(picture, 5), (picture, 5), (picture, 4), (picture, 6)])
    ] == [5, 6]
    with pytest.raises(
        ValueError, match="left: none of 2 images can be used: expected stamps that rise, got 0"
    ):
        list(usable("left", [(picture, 0), (picture, 0)]))
    with pytest.raises(ValueError, match="none of 1 images can be used: expected an encoding"):
        list(usable("left", [(ImageError("expected an encoding among bgr8"), 1)]))


def test_taught_by_the_demo_clip(demo, tmp_path, watched, capsys):
    others = dataset(watched, tmp_path / "others")
    settings = TrainSettings(
        lifter="martinez",
        data=str(others),
        output=str(tmp_path / "out"),
        steps=4,
        batch=8,
        validation=16,
    )
    path = finetune_from_rig(settings, demo / "rig.yaml", None)
    said = capsys.readouterr().out
    assert (
        "labelled people to train on" in said
        and "own people: MPJPE" in said
        and f"{others}: MPJPE" in said
    )
    assert onnx_weights.architecture_of(path, "martinez")["channels"] == LIFTERS["martinez"]
    taught = build(TrainSettings(lifter="martinez", channels=LIFTERS["martinez"]))
    onnx_weights.load_weights(taught, path)
    assert (
        1e-4 < onnx_weights.difference_m(taught, share("models", "lifter-martinez.onnx")) < 0.2
    )  # learnt a little


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rig: replace(rig, sources={}),
            "expected the file of a video in the entries of two cameras or more, got",
        ),
        (
            lambda rig: replace(rig, posed=False),
            "expected where the cameras are, got intrinsics only",
        ),
    ],
)
def test_what_a_rig_lacks_is_told(demo, tmp_path, change, message):
    write_rig(tmp_path / "rig.yaml", change(read_rig(demo / "rig.yaml")))
    with pytest.raises(ValueError, match=message):
        collect(tmp_path / "rig.yaml", None, tmp_path / "out", False)
