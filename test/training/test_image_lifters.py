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

"""Training from pictures: clips of crops, the pre-training of RPSM's 2D pose module, and its
export.
"""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from bodies import STANDING_M
from paths import ROOT, SHARED

from pose3d_ros.camera import Camera
from pose3d_ros.lifting.crops import virtual_camera
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.image_clips import ImageFileError, ImageInputs, ImageSamples
from pose3d_ros.training.data.recordings import Recording, write

DATA = SHARED / "data"
CAMERA = Camera(
    np.array([[180, 0, 90], [0, 185, 60], [0, 0, 1.0]]), (180, 120), np.array([-0.2, 0.1, 0, 0, 0])
)
LEFT, RIGHT = H36M17.indices("l_wrist", "r_wrist")
SIDE = 64


def people(folder, rate_hz=30.0, frames=14, camera=CAMERA, name="walk", **changes):
    """Somebody who walks past in pictures that are black but for the left wrist in red and the
    right one in blue.
    """
    joints = np.repeat((STANDING_M + [-0.8, 0.2, 3.5])[None], frames, 0)
    joints[..., 0] += np.arange(frames)[:, None] / 10
    joints[:, LEFT, 0] += 0.3
    keypoints = camera.project(joints)
    pictures = folder / "pictures" / name
    pictures.mkdir(parents=True)
    for number, joint in enumerate(keypoints):
        image = np.zeros((*camera.size[::-1], 3), np.uint8)
        for wrist, colour in ((LEFT, (0, 0, 255)), (RIGHT, (255, 0, 0))):
            where = tuple(int(v) for v in np.rint(joint[wrist] * 16))
            cv2.circle(image, where, camera.size[0] // 60 * 16, colour, -1, cv2.LINE_AA, shift=4)
        cv2.imwrite(str(pictures / f"{number + 5:03d}.png"), image)
    fields = {
        "name": name,
        "joints_m": joints,
        "keypoints_px": keypoints,
        "camera": camera,
        "rate_hz": rate_hz,
        "confidence": np.ones((frames, 17)),
        "subject": "A",
        "action": "Walking",
        "images": f"pictures/{name}/{{frame:03d}}.png",
        "frame": np.arange(frames) + 5,
    }
    for split in ("train", "val"):
        write(folder, split, Recording(**{**fields, **changes}))
    return folder


def centre(image, colour):
    """Where a colour is in a crop (3, S, S), -1 and 1 at its borders; its middle is weighted by
    its strength.
    """
    strength = image[colour].astype(float) - image[2 - colour]
    strength = np.maximum(strength - 0.5 * strength.max(), 0)
    y, x = np.indices(strength.shape)
    return (
        np.array([(x * strength).sum(), (y * strength).sum()]) / strength.sum() + 0.5
    ) * 2 / SIDE - 1


@pytest.mark.parametrize("focal", [1, 6])
@pytest.mark.parametrize("varied", [False, True])
def test_joints_are_in_the_crop_where_they_are_said_to_be(tmp_path, focal, varied):
    """Before a lens with distortion, near the border and in the middle, in pictures that are finer
    than the crop.
    """
    camera = replace(
        CAMERA, matrix=np.diag([focal, focal, 1]) @ CAMERA.matrix, size=(180 * focal, 120 * focal)
    )
    clips = ImageSamples.load(
        people(tmp_path, camera=camera), "train", np.array([-3, 0]), SIDE
    ).sample(np.random.default_rng(0), 11, varied)
    assert clips.images.shape == (11, 2, 3, SIDE, SIDE) and clips.images.dtype == np.uint8
    mirrored = 0
    for images, points in zip(clips.images, clips.rays, strict=True):
        turned = images[0, 2].max(0).argmax() < images[0, 0].max(0).argmax()  # red is left of blue
        mirrored += turned
        for image, point in zip(images, points, strict=True):
            red, blue = (RIGHT, LEFT) if turned else (LEFT, RIGHT)
            np.testing.assert_allclose(centre(image, 2), point[red], atol=0.02)
            np.testing.assert_allclose(centre(image, 0), point[blue], atol=0.02)
            assert point[LEFT, 0] > point[RIGHT, 0]  # facing the camera, after the exchange too
    assert mirrored == 0 if not varied else 2 < mirrored < 9


@pytest.mark.parametrize("varied", [False, True])
def test_targets_are_in_the_axes_of_the_crop(tmp_path, varied):
    clips = ImageSamples.load(people(tmp_path), "train", np.array([0]), SIDE).sample(
        np.random.default_rng(0), 14, varied
    )
    images, target_m = ImageInputs(1)(clips)
    assert images is clips.images and (target_m[..., 0, :] == 0).all()
    _, points = ImageInputs(1, points=True)(clips)
    directions = clips.joints_m[..., :2] / clips.joints_m[..., 2:]
    tangent = (directions * points).sum((-1, -2)) / (points**2).sum((-1, -2))
    np.testing.assert_allclose(directions, points * tangent[..., None, None], atol=1e-5)
    torso = points[:, 0, H36M17.indices("l_hip", "r_hip", "l_shoulder", "r_shoulder")].mean(1)
    assert np.abs(torso).max() < (0.25 if varied else 0.01) and (np.abs(points) < 1).all()
    assert len(np.unique(tangent.round(4))) > 10 or not varied


def test_crops_are_as_large_as_the_person(tmp_path):
    """A person at twice the distance fills the same part of a crop."""
    rays = STANDING_M[None, :, :2] / np.array([3.0, 6.0])[:, None, None]
    _, tangent = virtual_camera(rays, np.ones((2, 17)))
    assert tangent[0] / tangent[1] == pytest.approx(2, rel=0.01)
    assert 0.4 < np.ptp(rays[0, :, 1]) / (2 * tangent[0]) < 0.75


@pytest.mark.parametrize(
    ("rate_hz", "offsets", "frames"),
    [
        (30.0, (-6, -3, 0), [0, 3, 6]),
        (50.0, (-6, -3, 0), [0, 5, 10]),
        (10.0, (-6, -3, 0), [0, 1, 2]),
        (2.0, (-3, 0), [0, 1]),
        (25.0, (0,), [0]),
    ],
)
def test_clips_have_the_nearest_frames(tmp_path, rate_hz, offsets, frames):
    pictures = ImageSamples.load(people(tmp_path, rate_hz), "train", np.array(offsets), SIDE)
    assert pictures.recordings[0].clips[0].tolist() == frames
    assert pictures.recordings[0].path(frames[0]).name == "005.png"


def test_frames_without_truth_or_person_are_left_out(tmp_path):
    confidence = np.ones((14, 17))
    confidence[9, 5:] = 0  # five joints do not tell where somebody is
    pictures = ImageSamples.load(
        people(tmp_path, valid=np.arange(14) != 2, confidence=confidence),
        "train",
        np.array([-3, 0]),
        SIDE,
    )
    assert (
        not np.isin(pictures.recordings[0].clips, (2, 9)).any()
        and len(pictures.recordings[0].clips) == 8
    )
    again = pictures.sample(np.random.default_rng(0), 100, varied=False)
    assert len(again.images) == 8  # each once


def _missing(folder):
    (folder / "pictures/walk/009.png").unlink()


def _small(folder):
    cv2.imwrite(str(folder / "pictures/walk/005.png"), np.zeros((60, 90, 3), np.uint8))


def _garbage(folder):
    (folder / "pictures/walk/005.png").write_bytes(b"no picture")


def _empty(folder):
    (folder / "pictures/walk/005.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_missing, "009.png: expected an image there, as the recording walk says"),
        (_small, "005.png: expected an image of 180x120 as its recording says, got 90x60"),
        (_garbage, "005.png: expected an image that OpenCV can read"),
        (_empty, "005.png: expected an image, got an empty file"),
    ],
)
def test_bad_pictures_are_named(tmp_path, spoil, message):
    people(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ImageFileError, match=message):
        ImageSamples.load(tmp_path, "train", np.array([0]), SIDE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ""}, "recording walk has no images: expected its entry images"),
        (
            {"images": "{number}.png"},
            r"expected images to be a path with \{frame\} in it, got '\{number\}.png'",
        ),
        ({"confidence": np.zeros((14, 17))}, "in which the person was found, got none"),
    ],
)
def test_recordings_without_usable_pictures_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        ImageSamples.load(people(tmp_path, **changes), "train", np.array([0]), SIDE)


TINY: dict[str, Any] = {
    "lifter": "rpsm-images",
    "size": 32,
    "width": 1 / 16,
    "channels": 16,
    "stages": 2,
    "clip": 2,
    "batch": 4,
    "validation": 8,
    "pretrain_steps": 2,
    "steps": 3,
}


def _settings(folder, output, **changes):
    from pose3d_ros.training.settings import TrainSettings

    return TrainSettings(data=str(folder), output=str(output), **{**TINY, **changes})


def test_a_picture_that_breaks_in_training_is_told_in_one_line(tmp_path):
    from pose3d_ros.training.loop import train

    people(tmp_path)
    for path in sorted((tmp_path / "pictures/walk").iterdir())[1:]:
        path.write_bytes(b"no picture")
    write(
        tmp_path,
        "val",
        replace(Recording.load(tmp_path / "val/walk.npz"), valid=np.arange(14) == 0),
    )
    with pytest.raises(ImageFileError) as raised:
        train(_settings(tmp_path, tmp_path / "out", clip=1))
    text = str(raised.value)
    assert "\n" not in text and text.startswith(str(tmp_path)) and "OpenCV can read" in text


def test_only_pictures_are_pretrained_on(tmp_path):
    from pose3d_ros.training.loop import train

    with pytest.raises(
        ValueError, match="pretrain_steps: expected 0 for martinez, which takes no images"
    ):
        train(_settings(tmp_path, tmp_path, lifter="martinez"))


@pytest.mark.parametrize(
    ("stop", "options"), [(1, {}), (2, {"amp": True, "size": 48}), (3, {"accumulate": 2})]
)
def test_training_from_pictures_resumes_bit_exact(tmp_path, stop, options):
    """In the pre-training, just after it, and in 3D.

    With bfloat16 not at 32 px, where a 5x5 convolution has maps of one cell: on CPUs with AMX
    oneDNN's gradient of its weights is then made of memory that nobody has written to.
    """
    import torch

    from pose3d_ros.training.checkpoint import load
    from pose3d_ros.training.loop import train

    people(tmp_path)
    whole, part = tmp_path / "whole", tmp_path / "part"
    train(_settings(tmp_path, whole, **options), stop_after=4)
    train(_settings(tmp_path, part, **options), stop_after=stop)
    train(_settings(tmp_path, part, **options, resume=True), stop_after=4)
    for folder in ("", "pretraining"):
        states = [
            torch.load(path / folder / "checkpoint.pt", weights_only=True)["network"]
            for path in (whole, part)
        ]
        for name, value in states[0].items():
            assert torch.equal(value, states[1][name]), name
    assert not any("heatmap_head" in name for name in load(whole)[0].state_dict())


@pytest.mark.parametrize("pretraining", ["heatmaps", "integral"])
def test_pretraining_finds_joints_before_the_3d_training(tmp_path, pretraining):
    from pose3d_ros.training.loop import train

    people(tmp_path)
    path = train(
        _settings(
            tmp_path,
            tmp_path / "out",
            pretraining=pretraining,
            pretrain_steps=60,
            steps=2,
            learning_rate=3e-3,
            batch=8,
        ),
        stop_after=None if pretraining == "heatmaps" else 60,
    )
    lines = [
        json.loads(line)
        for line in (tmp_path / "out/pretraining/curve.jsonl").read_text().splitlines()
    ]
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]
    assert lines[-1]["error_2d_percent"] < 0.6 * max(
        line["error_2d_percent"] for line in lines[:3]
    )
    last = "rpsm-images.onnx" if pretraining == "heatmaps" else "pretraining/checkpoint.pt"
    assert path == tmp_path / "out" / last and path.is_file()


@pytest.mark.parametrize(("flip", "people_"), [(True, None), (False, 3)])
def test_exported_network_answers_as_torch_does(tmp_path, flip, people_):
    import torch

    from pose3d_ros import inference
    from pose3d_ros.training.build import build
    from pose3d_ros.training.export import RecurrentFlipTest, export

    torch.manual_seed(0)
    network: Any = build(_settings("", "")).eval()
    export(network, tmp_path / "rpsm.onnx", flip, people_)
    wrapped = RecurrentFlipTest(network, flip)
    bytes_ = torch.randint(0, 256, (3, 1, 3, 32, 32), dtype=torch.uint8)
    state = torch.randn(3, *wrapped.first_state(1).shape[1:])
    with torch.no_grad():
        joints, after = wrapped(bytes_, state)
    engine = inference.load(tmp_path / "rpsm.onnx", "cpu", 1)
    assert engine.inputs["images"] == (people_, 1, 3, 32, 32)
    found = engine(
        {"images": bytes_.numpy().astype(np.float32) / 256 - 0.5, "state": state.numpy()}
    )
    engine.close()
    np.testing.assert_allclose(found["joints"], joints.numpy(), atol=1e-4)
    np.testing.assert_allclose(found["next_state"], after.numpy(), atol=1e-4)
    assert joints.shape == (3, 17, 4) and (after - state).abs().max() > 0.1


@pytest.fixture(scope="module")
def small_lifter(tmp_path_factory):
    """An untrained RPSM of pictures of 32 px."""
    import torch

    from pose3d_ros.training.build import build
    from pose3d_ros.training.export import export

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("pictures") / "rpsm.onnx"
    export(build(_settings("", "")).eval(), path, False, None)
    return path


def test_the_pipelines_lifter_sees_what_was_trained_on(tmp_path, small_lifter):
    from pose3d_ros import inference, lifting
    from pose3d_ros.people import People2D
    from pose3d_ros.settings import PipelineSettings

    pictures = ImageSamples.load(people(tmp_path), "train", np.array([0]), 32)
    seen, settings = pictures.recordings[0], PipelineSettings(lifter_model=str(small_lifter))
    clips = pictures.sample(np.random.default_rng(0), 14, varied=False)
    lifter, engine = lifting.create(settings), inference.load(small_lifter, "cpu", 1)
    states = np.zeros([1, *(length or 0 for length in engine.inputs["state"][1:])], np.float32)
    found = []
    for row, keypoints in enumerate(seen.recording.keypoints_px):
        person = People2D(
            H36M17,
            keypoints[None],
            np.ones((1, 17)),
            (row + 1) * 1_000_000_000,
            CAMERA.size,
            np.array([3]),
        )
        with pytest.raises(ValueError, match="expected the image"):
            lifter(person, CAMERA, settings)
        image = cv2.imread(str(seen.path(row)))
        found.append(lifter(person, CAMERA, settings, image).joints_m[0] @ seen.rotation[row].T)
    lifter.close()
    for images in clips.images:
        joints = engine({"images": images[None].astype(np.float32) / 256 - 0.5, "state": states})[
            "joints"
        ][0, :, :3]
        assert min(np.abs(joints - joints[0] - one).max() for one in found) < 1e-5
    engine.close()


def test_evaluation_gives_lifters_of_pictures_the_pictures(tmp_path, small_lifter):
    from pose3d_ros.evaluation.lifters import evaluate
    from pose3d_ros.settings import PipelineSettings
    from pose3d_ros.training.data.recordings import read

    folder = people(tmp_path)
    report: Any = evaluate(str(small_lifter), read(folder, "val"), PipelineSettings(), folder)
    assert report["average"]["frames"] == 14 and report["average"]["mpjpe_mm"] > 100


def test_pipeline_lifts_from_pictures(small_lifter):
    from pose3d_ros.io.videos import frames
    from pose3d_ros.pipeline import MonocularPipeline

    demo = ROOT / "demo"
    pipeline = MonocularPipeline(lifter_model=str(small_lifter))
    for (image, stamp_ns), _ in zip(frames(demo / "cam0.mp4"), range(3), strict=False):
        found = pipeline(image, Camera.from_fov(image.shape[1], image.shape[0], 1.15), stamp_ns)
    pipeline.close()
    assert len(found) == 2 and np.isfinite(found.joints_m).all()


def test_flip_test_of_a_mirrored_picture_is_the_mirrored_answer():
    import torch

    from pose3d_ros.training.build import build
    from pose3d_ros.training.export import flip_test

    torch.manual_seed(0)
    tested = flip_test(build(_settings("", "")).eval())
    images = torch.rand(2, 2, 3, 32, 32)
    with torch.no_grad():
        straight, mirrored = tested(images).numpy(), tested(images.flip(-1)).numpy()
    np.testing.assert_allclose(straight[:, H36M17.flip] * [-1, 1, 1, 1], mirrored, atol=1e-5)


@pytest.mark.slow
def test_several_processes_train_one_network_from_pictures(tmp_path):
    people(tmp_path)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "pose3d_ros.cli",
        "train",
        "--data",
        str(tmp_path),
        "--output",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "rpsm-images.onnx").is_file()
    assert len((tmp_path / "out/pretraining/curve.jsonl").read_text().splitlines()) == 2


@pytest.mark.skipif(not (DATA / "makehuman").is_dir(), reason="needs the assets in ../shared/data")
def test_rendered_dataset_is_trained_on(tmp_path):
    from pose3d_ros.training.rendering.recordings import render
    from pose3d_ros.training.rendering.renderer import RenderError

    try:
        written = render(
            DATA / "makehuman", [DATA / "cmu_mocap"], tmp_path, clips=2, frames=2, seed=1
        )
    except RenderError as error:
        pytest.skip(str(error))
    # A recording for each person; other people than the first are there by chance.
    first = [path.stem for path in written if path.stem.endswith("_0")]
    assert first == ["train_00000_0", "train_00001_0", "val_00000_0"]
    recording = Recording.load(written[0])
    assert recording.camera.camera_from_world[2, 3] != 0 and set(
        np.unique(recording.confidence)
    ) <= {0, 0.5, 1}
    height_m = recording.joints_m[0, H36M17.index("head"), 2] - recording.joints_m[0, 3, 2]
    assert height_m > 0.3  # z is up in the world
    clips = ImageSamples.load(tmp_path, "val", np.array([0]), SIDE).sample(
        np.random.default_rng(0), 2, varied=False
    )
    assert clips.images.std() > 10
