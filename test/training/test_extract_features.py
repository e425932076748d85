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

"""Lifters over other detectors' feature maps: HRNet's, from pictures with truth to a pipeline that
lifts with them.

The detector is a toy that finds joints by their colour and has feature maps of HRNet's shapes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import toy_networks as toys
from bodies import CAMERA, STANDING_M, seen

pytest.importorskip("torch")

import torch  # noqa: E402

from pose3d_ros import detection  # noqa: E402
from pose3d_ros.camera import Camera  # noqa: E402
from pose3d_ros.cli.main import main  # noqa: E402
from pose3d_ros.detection import topdown  # noqa: E402
from pose3d_ros.io.videos import frames  # noqa: E402
from pose3d_ros.lifting.feature_maps import crop_keypoints  # noqa: E402
from pose3d_ros.model_store.store import ModelError, locate  # noqa: E402
from pose3d_ros.networks import create  # noqa: E402
from pose3d_ros.networks.context_poseformer import BLAZEPOSE, HRNET32, sample_maps  # noqa: E402
from pose3d_ros.pipeline import MonocularPipeline  # noqa: E402
from pose3d_ros.resources import share  # noqa: E402
from pose3d_ros.settings import PipelineSettings, SettingsError  # noqa: E402
from pose3d_ros.skeleton import COCO17, H36M17  # noqa: E402
from pose3d_ros.training import onnx_weights  # noqa: E402
from pose3d_ros.training.build import build  # noqa: E402
from pose3d_ros.training.data.augmentation import turn  # noqa: E402
from pose3d_ros.training.data.feature_samples import FeatureSamples  # noqa: E402
from pose3d_ros.training.data.recordings import Recording, write  # noqa: E402
from pose3d_ros.training.data.source import lifter_inputs  # noqa: E402
from pose3d_ros.training.data.windows import Clips  # noqa: E402
from pose3d_ros.training.loop import train  # noqa: E402
from pose3d_ros.training.rendering.measure_noise import own_detections  # noqa: E402
from pose3d_ros.training.rig.finetune import finetune_from_rig  # noqa: E402
from pose3d_ros.training.settings import TrainSettings  # noqa: E402

SIZE = (192, 256)
VALUES = sum(channels * height * width for channels, height, width in HRNET32)
LIFTER: dict[str, Any] = {
    "lifter": "context",
    "feature_source": "hrnet-w32",
    "levels": 4,
    "root_relative_depth": False,
    "channels": 40,
    "clip": 1,
}
FACE = {
    "nose": (0, 0.03, -0.1),
    "l_eye": (0.04, 0, -0.09),
    "r_eye": (-0.04, 0, -0.09),
    "l_ear": (0.09, 0, 0),
    "r_ear": (-0.09, 0, 0),
}
LEFT, RIGHT = np.array([-0.9, 0.1, 4.0]), np.array([0.8, -0.1, 4.5])


def walk(place_m, count, first=0.0):
    """Somebody (T, 17, 3) at a place who turns."""
    bodies = np.broadcast_to(STANDING_M[:, [0, 2, 1]], (count, 17, 3))
    return (turn(bodies, first + 0.1 * np.arange(count))[..., [0, 2, 1]] + place_m).astype(
        np.float32
    )


def drawn(*people_m):
    """What ``CAMERA`` sees of people (17, 3): a dot for each of COCO's joints."""
    image = np.zeros((*CAMERA.size[::-1], 3), np.uint8)
    for joints_m in people_m:
        head = joints_m[H36M17.index("head")]
        for joint, colour in zip(COCO17.joints, toys.DOTS, strict=True):
            place = head + FACE[joint] if joint in FACE else joints_m[H36M17.index(joint)]
            x, y = CAMERA.project(place, "camera")
            cv2.circle(
                image,
                (round(x), round(y)),
                4 if joint in FACE else 8,
                (255 * colour[::-1]).tolist(),
                -1,
            )
    return image


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Settings of the detector."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "detector": "heatmap",
        "detector_model": toys.dots(folder / "dots.onnx", SIZE, HRNET32),
        "person_model": toys.halves(folder / "yolox.onnx", (320, 320), half=(30.0, 60.0)),
    }


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two people in one clip to train on, one to validate on, at 20 Hz, whose frames are every
    other one of a video.
    """
    folder = tmp_path_factory.mktemp("recordings")
    for split, clips in (
        ("train", {"both": [walk(LEFT, 12), walk(RIGHT, 12, 2.0)], "one": [walk(RIGHT, 8, 1.0)]}),
        ("val", {"other": [walk(LEFT, 8, 3.0)]}),
    ):
        for name, people in clips.items():
            (folder / "images" / name).mkdir(parents=True)
            for frame in range(len(people[0])):
                picture = drawn(*(joints_m[frame] for joints_m in people))
                cv2.imwrite(str(folder / "images" / name / f"{2 * frame + 5:03d}.png"), picture)
            for number, joints_m in enumerate(people):
                part = slice(4 * number, None)  # the second comes later
                keypoints = CAMERA.project(joints_m[part], "camera")
                write(
                    folder,
                    split,
                    Recording(
                        f"{name}.{number}",
                        joints_m[part],
                        keypoints,
                        np.ones(keypoints.shape[:2]),
                        CAMERA,
                        20.0,
                        "S",
                        "A",
                        images=f"images/{name}/{{frame:03d}}.png",
                        frame=2 * np.arange(len(people[0]))[part] + 5,
                    ),
                )
    return folder


@pytest.fixture(scope="module")
def features(models, recordings, tmp_path_factory):
    """What ``pose3d dataset features`` made of them."""
    out = tmp_path_factory.mktemp("features")
    options = [
        text for name, value in models.items() for text in (f"--{name.replace('_', '-')}", value)
    ]
    assert main(["dataset", "features", str(recordings), str(out), *options]) == 0
    return out


@pytest.fixture(scope="module")
def lifter(features, tmp_path_factory):
    """An ONNX lifter that looks at all of HRNet's maps."""
    return train(
        TrainSettings(
            **LIFTER,
            context="sampled",
            data=str(features),
            steps=40,
            batch=4,
            validation=4,
            output=str(tmp_path_factory.mktemp("trained")),
        )
    )


def test_feature_maps_are_of_the_crop_they_come_with(models):
    """Each person's, at the joints' places, have the joints' colours."""
    detector = detection.create(PipelineSettings(**models, engine="cpu", threads=1), features=True)
    assert detector.maps == HRNET32
    found = detector(drawn(walk(LEFT, 1)[0], walk(RIGHT, 1)[0]), 0)
    followed = detector(drawn(walk(LEFT, 1)[0], walk(RIGHT, 1)[0]), 1)
    left_alone = detector(drawn(walk(RIGHT, 1)[0]), 2)
    detector.close()
    assert [len(people) for people in (found, followed, left_alone)] == [2, 2, 1]
    for people in (found, followed, left_alone):
        assert [level.shape for level in people.features] == [
            (len(people), *shape) for shape in HRNET32
        ]
        assert_colours(people)


def assert_colours(people):
    """Of the joints of the body, at their places in the finest map."""
    body = np.arange(5, 17)
    places = torch.from_numpy(crop_keypoints(people))[:, body, None]
    colours = sample_maps(torch.from_numpy(people.features[0][:, :3]), places, "zeros")[
        :, :, 0
    ].numpy()
    brightest = colours.max(-1, keepdims=True)
    assert brightest.min() > 0.2
    right = (np.abs(colours / brightest - toys.DOTS[body]) < 0.25).all(-1)
    assert right.mean() > 0.8


def test_crop_from_image_is_the_crops_unit_square():
    boxes = np.array([[100.0, 50, 180, 300], [300, 200, 600, 260]])
    for aligned in (False, True):
        origins, steps = topdown.crop_geometry(boxes, SIZE, aligned)
        found = topdown.crop_from_image(origins, steps, SIZE)
        pixels = np.array([[0.0, 0], [191, 255], [96, 12]])  # of the crop
        for row in range(2):
            image_px = origins[row] + pixels * steps[row]
            np.testing.assert_allclose(
                image_px @ found[row, :, :2].T + found[row, :, 2], (pixels + 0.5) / SIZE
            )


def test_feature_maps_are_left_out_where_nobody_asks(models, tmp_path):
    detector: Any = detection.create(PipelineSettings(**models, engine="cpu", threads=1))
    people = detector(drawn(walk(LEFT, 1)[0]), 0)
    assert (
        len(people) == 1
        and people.features == detector.maps == ()
        and people.crop_from_image is None
    )
    assert list(detector._network.engine.outputs) == ["heatmaps"]
    detector.close()
    without = models | {"detector_model": toys.heatmap(tmp_path / "plain.onnx", SIZE)}
    with pytest.raises(
        ModelError, match=r"expected feature maps among the outputs .* got output0"
    ):
        detection.create(PipelineSettings(**without, engine="cpu"), features=True)


@pytest.mark.slow
def test_an_imported_hrnet_is_a_detector_with_feature_maps(models, tmp_path):
    """Narrow, with random weights: what it finds means nothing."""
    torch.manual_seed(0)
    torch.save(
        {"state_dict": create("hrnet-w32", width=4, joints=17).state_dict()},
        tmp_path / "hrnet.pth",
    )
    assert (
        main(
            [
                "models",
                "import",
                str(tmp_path / "hrnet.pth"),
                "--as",
                "hrnet-w32",
                "--option",
                "width=4",
                "--output",
                str(tmp_path / "hrnet.onnx"),
            ]
        )
        == 0
    )
    settings = PipelineSettings(
        **models | {"detector_model": str(tmp_path / "hrnet.onnx")}, engine="cpu", threads=1
    )
    detector = detection.create(settings, features=True)
    assert (
        detector.maps == ((4, 64, 48), (8, 32, 24), (16, 16, 12), (32, 8, 6))
        and detector.skeleton is COCO17
    )
    detector(drawn(walk(LEFT, 1)[0]), 0)
    detector.close()


def test_labelled_people_are_seen_once_a_tenth_of_a_second(features):
    """Both people of a clip, in the pictures in which each is labelled, then the one of the other
    clip.
    """
    (path,) = (features / "train").glob("*.npz")
    assert sorted((features / "train").iterdir()) == [path.with_suffix(".features.npy"), path]
    with np.load(path) as data:
        assert np.bincount(data["clip"]).tolist() == [6, 4, 4]  # of 12, 8 and 8 at 20 Hz
        assert (
            data["frame"].tolist() == [0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 0, 1, 2, 3]
            and not data["root_relative_depth"].any()
        )
        joints_m, maps = data["joints_m"], np.load(path.with_suffix(".features.npy"))
        scale = joints_m[0] / walk(LEFT, 12)[0]
        np.testing.assert_allclose(
            scale, scale[0, 0], rtol=1e-5
        )  # the canonical stature, and nothing else
        np.testing.assert_allclose(
            joints_m[6:10] / walk(RIGHT, 12, 2.0)[4::2], scale[0, 0], rtol=1e-4
        )
        limbs = H36M17.indices("l_wrist", "r_ankle", "l_hip", "r_elbow", "r_shoulder")
        miss = (data["rays"] - joints_m[..., :2] / joints_m[..., 2:])[:, limbs]
        assert np.median(np.linalg.norm(miss, axis=-1)) < 2 / CAMERA.matrix[0, 0]
        assert maps.dtype == np.float16 and maps.shape == (14, VALUES)
        # The maps are the person's own: its colours are at its joints.
        level = torch.from_numpy(
            maps[:, : 32 * 64 * 48].reshape(14, 32, 64, 48)[:, :3].astype(np.float32)
        )
        wrist = torch.from_numpy(data["crop_keypoints"][:, [H36M17.index("l_wrist")], None])
        colour = sample_maps(level, wrist, "zeros")[
            :10, 0, 0
        ].numpy()  # turned further, a hip is before it
        expected = np.broadcast_to(toys.DOTS[COCO17.index("l_wrist")], colour.shape)
        np.testing.assert_allclose(colour / colour.max(-1, keepdims=True), expected, atol=0.1)


def test_from_pictures_with_truth_to_a_pipeline_that_lifts(models, lifter):
    pipeline = MonocularPipeline(**models, lifter_model=str(lifter), engine="cpu", threads=1)
    for frame in range(3):
        people = pipeline(
            drawn(walk(LEFT, 3)[frame], walk(RIGHT, 3)[frame]), CAMERA, (frame + 1) * 100_000_000
        )
    pipeline.close()
    assert onnx_weights.architecture_of(lifter, "context")["feature_source"] == "hrnet-w32"
    onnx_weights.load_weights(
        build(TrainSettings(**LIFTER, context="sampled")), lifter
    )  # the weights are found again
    assert len(people) == 2 and np.isfinite(people.joints_m).all()
    assert people.people_2d is not None and people.people_2d.features == ()
    np.testing.assert_allclose(sorted(people.joints_m[:, 0, 0]), [LEFT[0], RIGHT[0]], atol=0.5)


def test_another_detectors_maps_are_refused_when_the_pipeline_is_made(models, lifter, tmp_path):
    others = models | {
        "detector_model": toys.dots(tmp_path / "others.onnx", SIZE, ((8, 64, 48), *HRNET32[1:]))
    }
    with pytest.raises(
        SettingsError, match=r"features0 32x64x48.*got detector 'heatmap' with features0 8x64x48"
    ):
        MonocularPipeline(**others, lifter_model=str(lifter), engine="cpu")
    with pytest.raises(SettingsError, match="detector: expected blazepose or .*heatmap"):
        MonocularPipeline(detector="rtmo", lifter_model=str(lifter), engine="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"feature_source": "blazepose", "levels": 3},
            rf"3 stored feature maps of blazepose .* people with {VALUES} values",
        ),
        ({"feature_source": "hrnet-w48"}, "4 stored feature maps of hrnet-w48"),
        ({"root_relative_depth": True}, "train with --no-root-relative-depth"),
    ],
)
def test_what_the_data_does_not_have_is_refused(features, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(
            TrainSettings(**{**LIFTER, "data": str(features), "output": str(tmp_path), **options})
        )


def test_more_levels_than_are_stored_are_refused(tmp_path):
    (tmp_path / "train").mkdir()
    count = sum(channels * height * width for channels, height, width in BLAZEPOSE[1:])
    people = seen(np.zeros((3, 3)) + [0, 0, 4], 1)
    np.save(tmp_path / "train" / "a.features.npy", np.zeros((3, count), np.float16))
    np.savez(
        tmp_path / "train" / "a.npz",
        rays=CAMERA.rays(people.keypoints_px),
        confidence=people.confidence,
        joints_m=walk(LEFT, 3),
        crop_keypoints=np.zeros((3, 17, 2)),
        crop_rays=np.zeros((3, 2, 2)),
        root_relative_depth=np.ones((3, 17)),
        clip=np.zeros(3, int),
    )
    settings = TrainSettings(
        lifter="context", levels=4, clip=1, data=str(tmp_path), output=str(tmp_path / "out")
    )
    with pytest.raises(ValueError, match="3 stored feature maps of blazepose .* got 4 levels"):
        train(settings)


def test_motion_capture_is_seen_in_crops_like_the_detectors():
    """Somebody who leans: BlazePose's crop leans too, a top-down detector's does not."""
    leaning = walk(LEFT, 4) @ np.array([[0.9, 0.436, 0], [-0.436, 0.9, 0], [0, 0, 1]], np.float32)
    rays = (leaning[..., :2] / leaning[..., 2:])[None]
    clips = Clips(rays, np.ones((1, 4, 17), np.float32), leaning[None])
    upright, as_it_is = (
        lifter_inputs(TrainSettings(**{**LIFTER, "feature_source": maps}))(clips)[0][0][
            0, :, :17, :2
        ]
        for maps in ("blazepose", "hrnet-w32")
    )
    lean = {
        name: np.abs(np.arctan2(*(points[:, H36M17.index("thorax")] - points[:, 0]).T))
        for name, points in (("blazepose", upright * [1, -1]), ("hrnet-w32", as_it_is * [1, -1]))
    }
    assert lean["blazepose"].max() < 0.01 and lean["hrnet-w32"].min() > 0.2


def test_what_looks_with_the_embedded_detector_is_refused(lifter, tmp_path):
    with pytest.raises(
        ValueError, match=r"of the feature maps of blazepose.* got one of hrnet-w32"
    ):
        finetune_from_rig(
            TrainSettings(lifter="context", init_from=str(lifter)), tmp_path / "rig.yaml", None
        )
    with pytest.raises(ValueError, match=r"expected the feature maps of blazepose.* hrnet-w32"):
        train(
            TrainSettings(**LIFTER, makehuman="anywhere", data=str(tmp_path), output=str(tmp_path))
        )


def test_nothing_is_written_over(models, recordings, features, capsys):
    assert main(["dataset", "features", str(recordings), str(features)]) == 1
    assert "expected an empty folder" in capsys.readouterr().err


def test_nobody_is_two_people():
    """Two people and a stranger, in any order; one who was not found; one of whom only the upper
    half is known.
    """
    joints_px = CAMERA.project(
        np.stack([walk(LEFT, 1)[0], walk(RIGHT, 1)[0], walk([3.0, 0, 6.0], 1)[0]]), "camera"
    )
    joints_px[1, H36M17.indices("l_knee", "r_knee", "l_ankle", "r_ankle")] = np.nan
    found = seen([[0.8, -0.1, 4.5], [-2.5, 0, 4], [-0.85, 0.1, 4]], 1)
    assert own_detections(found, joints_px).tolist() == [2, 0, -1]
    assert own_detections(found[[0, 1]], joints_px).tolist() == [-1, 0, -1]
    assert own_detections(found[[]], joints_px).tolist() == [-1, -1, -1]
    twice = np.stack([joints_px[0], joints_px[0] + 3])
    assert sorted(own_detections(found, twice).tolist()) == [-1, 2]


def test_the_embedded_detector_sees_the_demo_clip(tmp_path):
    """Real pictures, network and truth: one person of the two is labelled."""
    try:
        locate("blazepose-full")
    except ModelError as error:
        pytest.skip(str(error))
    with np.load(share("demo", "truth.npz")) as data:
        joints_m, camera_from_world = data["joints_m"][:13, 0], data["camera_from_world"][0]
    camera = replace(
        Camera.from_yaml(Path(share("demo", "cam0.yaml"))), camera_from_world=camera_from_world
    )
    for frame, (image, _) in zip(range(13), frames(share("demo", "cam0.mp4")), strict=False):
        cv2.imwrite(str(tmp_path / f"{frame}.jpg"), image)
    keypoints = camera.project(joints_m)
    write(
        tmp_path,
        "train",
        Recording(
            "cam0",
            joints_m,
            keypoints,
            np.ones(keypoints.shape[:2]),
            camera,
            30.0,
            "S",
            "A",
            images=str(tmp_path / "{frame}.jpg"),
        ),
    )
    assert main(["dataset", "features", str(tmp_path), str(tmp_path / "out")]) == 0
    source = FeatureSamples.load(tmp_path / "out", "train", frames=1)
    crops = source.sample(np.random.default_rng(0), 9, varied=False)
    assert len(crops.rays) == 5  # a tenth of a second apart
    joints = crops.joints_m[:, 0]
    miss = np.linalg.norm(crops.rays[:, 0] - joints[..., :2] / joints[..., 2:], axis=-1)
    assert np.median(miss) < 15 / camera.matrix[0, 0]
    labels = source.labels
    depth_m = labels["joints_m"][..., 2] - labels["joints_m"][:, :1, 2]
    assert np.corrcoef(depth_m.ravel(), labels["root_relative_depth"].ravel())[0, 1] > 0.6
