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

"""Lifters that look at feature maps: their geometry, the node's part, and the training from
rendered features.
"""

import json
from dataclasses import asdict, replace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from bodies import CAMERA, STANDING_M, moved, seen
from paths import SHARED
from scipy.spatial.transform import Rotation

pytest.importorskip("torch")

from pose3d_ros import detection, lifting  # noqa: E402
from pose3d_ros.camera import Camera  # noqa: E402
from pose3d_ros.detection import regions  # noqa: E402
from pose3d_ros.io.videos import frames  # noqa: E402

# noqa: E402
from pose3d_ros.lifting.feature_maps import crop_keypoints, crop_rays, root_relative_depth, upright
from pose3d_ros.lifting.normalise import normalise  # noqa: E402
from pose3d_ros.lifting.recurrent import FrameLifter  # noqa: E402
from pose3d_ros.model_store.store import ModelError  # noqa: E402
from pose3d_ros.networks.context_poseformer import BLAZEPOSE  # noqa: E402
from pose3d_ros.people import People2D  # noqa: E402
from pose3d_ros.pipeline import MonocularPipeline  # noqa: E402
from pose3d_ros.resources import share  # noqa: E402
from pose3d_ros.settings import PipelineSettings, SettingsError  # noqa: E402
from pose3d_ros.skeleton import H36M17  # noqa: E402
from pose3d_ros.training.data.augmentation import turn  # noqa: E402

# noqa: E402
from pose3d_ros.training.data.detector_noise import (
    DepthNoise,
    rig_offsets_m,
    rms_size,
    true_root_relative_depth,
)

# noqa: E402
from pose3d_ros.training.data.feature_samples import FeatureInputs, FeatureSamples, recorded_noise
from pose3d_ros.training.data.mocap import Mocap  # noqa: E402
from pose3d_ros.training.data.windows import Clips  # noqa: E402

PLACES_M = np.array([[0.6, 0.2, 4.0], [-0.9, -0.1, 3.0]])
SMALL: dict[str, Any] = {
    "lifter": "context",
    "channels": 32,
    "levels": 3,
    "clip": 3,
    "steps": 4,
    "batch": 4,
    "validation": 4,
}
LIFTERS: list[dict[str, Any]] = [
    {},
    {"lifter": "context-t"},
    {"lifter": "rpsm-context", "stages": 2},
]
VALUES = sum(channels * height * width for channels, height, width in BLAZEPOSE[1:])
DATA = SHARED / "data"


def with_crops(people, angles, side_px=420.0):
    """People with a crop around each pelvis, turned by ``angles``, and feature maps of noise, the
    same every time.
    """
    where = np.zeros((len(people), 4))
    where[:, :2], where[:, 2], where[:, 3] = people.keypoints_px[:, 0], side_px, angles
    rng = np.random.default_rng(3)
    features = tuple(
        rng.uniform(0, 6, (len(people), *shape)).astype(np.float32) for shape in BLAZEPOSE
    )
    root_relative_depth_px = rng.normal(0, 100, (len(people), 17))
    return replace(
        people,
        features=features,
        crop_from_image=regions.region_from_image(where),
        root_relative_depth_px=root_relative_depth_px,
        ids=np.arange(len(people)),
    )


def anew(lifter, people, camera=CAMERA):
    """What the lifter makes of people whom it never saw before."""
    lifter.forget(np.zeros(0, int))
    return lifter(people, camera, PipelineSettings())


def turning(angles, body=STANDING_M):
    """The body (A, 17, 3) turned by each angle about the vertical."""
    return turn(np.broadcast_to(body[:, [0, 2, 1]], (len(angles), 17, 3)), angles)[..., [0, 2, 1]]


@pytest.fixture(
    scope="module", params=LIFTERS, ids=lambda options: options.get("lifter", "context")
)
def model(tmp_path_factory, request):
    """An untrained lifter, as it is exported."""
    import torch

    from pose3d_ros.training.build import build
    from pose3d_ros.training.export import export
    from pose3d_ros.training.settings import TrainSettings

    torch.manual_seed(0)
    network = build(TrainSettings(**{**SMALL, **request.param})).eval()
    path = tmp_path_factory.mktemp("context") / "context.onnx"
    return export(network, path), network


@pytest.fixture(scope="module")
def lifter(model):
    made = lifting.create(PipelineSettings(lifter_model=str(model[0]), engine="cpu"))
    yield made
    made.close()


# Geometry


def test_the_virtual_camera_is_rolled_like_the_crop():
    """Somebody's crop is upright, somebody else's lies on the side: what is up in the crop is up
    in the features.
    """
    people = with_crops(seen(PLACES_M, 1), [0.0, np.pi / 2])
    rays = CAMERA.rays(people.keypoints_px)[:, None]
    features, rotation = upright(
        *normalise(rays, people.confidence[:, None]), crop_rays(CAMERA, people)
    )
    head = features[:, 0, H36M17.index("head"), :2]
    assert head[0, 1] < -0.8 and abs(head[0, 0]) < 0.2
    # Turned clockwise, the crop's top is at the picture's right, and the upright person's head at
    # the crop's left.
    assert head[1, 0] < -0.8 and abs(head[1, 1]) < 0.2
    np.testing.assert_allclose(
        rotation @ np.swapaxes(rotation, 1, 2), np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-6
    )
    # The features are the person's joints, projected by the virtual camera.
    turned = (STANDING_M + PLACES_M[:, None]) @ np.swapaxes(rotation, 1, 2)
    projected = turned[..., :2] / turned[..., 2:]
    scale = features[:, 0, :-1, :2] / projected
    np.testing.assert_allclose(
        scale, np.broadcast_to(np.median(scale, (1, 2), keepdims=True), scale.shape), rtol=0.02
    )


def test_crop_keypoints_are_where_the_crop_has_them():
    people = with_crops(seen(PLACES_M, 1), [0.3, -0.5], side_px=400.0)
    people = moved(people, np.s_[0, 5], np.nan)
    points = crop_keypoints(people)
    np.testing.assert_allclose(points[:, 0], 0, atol=1e-5)  # the crop's centre
    np.testing.assert_array_equal(points[0, 5], 0)
    linear = (
        np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]) / 200
    )  # half a side is 1
    pixels = people.keypoints_px[1] - people.keypoints_px[1, 0]
    np.testing.assert_allclose(points[1], pixels @ linear.T, atol=1e-5)


@pytest.mark.parametrize("angle", [0.4, -2.0])
def test_a_turned_picture_shows_the_same_people_turned(lifter, angle):
    """A camera rolled about its axis sees the same crops elsewhere, and so the same people in
    turned axes.
    """
    roll = Rotation.from_euler("z", angle).as_matrix()
    camera = Camera.from_fov(1280, 1280, 1.2)
    answers = []
    for turned, crop in ((np.eye(3), 0.1), (roll, 0.1 + angle)):
        bodies = (STANDING_M + PLACES_M[:, None]) @ turned.T
        people = seen(PLACES_M, 1, camera)
        people = with_crops(
            replace(people, keypoints_px=camera.project(bodies, "camera").astype(np.float32)), crop
        )
        answers.append(anew(lifter, people, camera))
    np.testing.assert_allclose(answers[1].joints_m, answers[0].joints_m @ roll.T, atol=1e-4)
    np.testing.assert_allclose(answers[1].sigma_m, answers[0].sigma_m, rtol=1e-3)


def test_targets_are_in_the_axes_of_the_answer(seen_folder):
    """Whatever the crops' angles: what training asks for is, turned back as the lifter does it,
    the truth.
    """
    crops = FeatureSamples.load(seen_folder, "train", frames=3).sample(np.random.default_rng(0), 6)
    (keypoints, *_), target_m = FeatureInputs(3)(crops)
    again, rotation = upright(
        *normalise(crops.rays[:, 1:2], crops.confidence[:, 1:2]), crops.crop_rays[:, 1]
    )
    np.testing.assert_array_equal(keypoints[:, 1], again[:, 0])
    truth = crops.joints_m[:, 1] - crops.joints_m[:, 1, :1]
    np.testing.assert_allclose(target_m[:, 1] @ rotation, truth, atol=1e-5)


# In the node


def test_people_in_another_order_get_their_own_poses(lifter):
    people = with_crops(seen(PLACES_M, 1), [0.2, -0.3])
    poses = anew(lifter, people)
    other = anew(lifter, people[[1, 0]])
    np.testing.assert_allclose(other.joints_m, poses.joints_m[::-1], atol=1e-5)
    assert np.abs(poses.joints_m[0] - poses.joints_m[1]).max() > 1e-3
    assert not len(anew(lifter, people[:0]).joints_m)


def test_feature_maps_are_looked_at_where_the_joints_are(lifter):
    """A change in the crop far from every joint is not seen; one at the wrist is."""
    people = with_crops(seen(PLACES_M[:1], 1), [0.0])
    expected = anew(lifter, people).joints_m
    row, column = np.rint(
        (crop_keypoints(people)[0, H36M17.index("l_wrist"), ::-1] + 1) / 2 * 31
    ).astype(int)
    for rows, columns, matters in ((slice(0, 2), slice(0, 2), False), (row, column, True)):
        people.features[1][0][:, rows, columns] += 5
        assert (np.abs(anew(lifter, people).joints_m - expected).max() > 1e-6) == matters


def test_the_guess_of_depth_is_looked_at_whatever_its_scale(lifter):
    """A person twice as near has twice the pixels, and depth in pixels; another depth is another
    person.
    """
    people = with_crops(seen(PLACES_M[:1], 1), [0.0])
    expected = anew(lifter, people).joints_m
    assert people.root_relative_depth_px is not None
    doubled = root_relative_depth(2 * people.keypoints_px, 2 * people.root_relative_depth_px)
    np.testing.assert_allclose(
        doubled, root_relative_depth(people.keypoints_px, people.root_relative_depth_px), rtol=1e-5
    )
    other = anew(
        lifter, replace(people, root_relative_depth_px=people.root_relative_depth_px + 30)
    )
    assert np.abs(other.joints_m - expected).max() > 1e-6


def test_people_without_features_are_refused(lifter):
    with pytest.raises(ValueError, match="feature maps, got none"):
        anew(lifter, seen(PLACES_M, 1))


def test_other_detectors_are_refused_when_the_pipeline_is_made(model):
    with pytest.raises(
        SettingsError,
        match=r"expected a detector that gives root-relative depth \(blazepose.*\), got 'rtmo'",
    ):
        MonocularPipeline(lifter_model=str(model[0]), detector="rtmo")


def test_pipeline_lifts_with_context(model):
    """Two people of the demo clip; feature maps are asked for, used and not kept."""
    try:
        pipeline = MonocularPipeline(lifter_model=str(model[0]), engine="cpu")
    except ModelError as error:
        pytest.skip(str(error))
    camera = Camera.from_yaml(share("demo", "cam0.yaml"))
    for (image, stamp_ns), _ in zip(frames(share("demo", "cam0.mp4")), range(3), strict=False):
        people = pipeline(image, camera, stamp_ns)
    blank = pipeline(
        np.zeros_like(image), camera, stamp_ns + 1
    )  # nobody is seen: predicted without features
    pipeline.close()
    assert (
        people.people_2d is not None
        and len(people.people_2d) == 2
        and people.people_2d.features == ()
    )
    assert np.isfinite(people.joints_m).all()
    assert blank.people_2d is not None and not len(blank.people_2d)


def test_keypoint_lifters_ask_for_no_features():
    with_shipped = lifting.create(PipelineSettings(lifter="martinez", engine="cpu"))
    assert not with_shipped.reads_features
    with_shipped.close()
    try:
        detector = detection.create(PipelineSettings(engine="cpu"))
    except ModelError as error:
        pytest.skip(str(error))
    image = next(iter(frames(share("demo", "cam0.mp4"))))[0]
    found = detector(image, 1)
    detector.close()
    assert len(found) and found.features == () and found.crop_from_image is None


# Training


@pytest.fixture(scope="module")
def seen_folder(tmp_path_factory):
    """Shards of two clips of people who turn before the camera, with feature maps of noise; each
    last clip is short.
    """
    folder = tmp_path_factory.mktemp("seen")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (folder / split).mkdir()
        for shard, name in enumerate(("00000", "00001")):
            bodies = turning(rng.uniform(0, 6, 5))
            joints_m = (bodies + [0.3, 0.1, 4.0]).astype(np.float32)
            people = replace(
                seen(np.zeros((5, 3)) + [0, 0, 4], 1),
                keypoints_px=CAMERA.project(joints_m, "camera"),
            )
            people = with_crops(people, rng.uniform(-1, 1, 5))
            np.save(
                folder / split / f"{name}.features.npy",
                rng.uniform(0, 6, (5, VALUES)).astype(np.float16),
            )
            np.savez(
                folder / split / f"{name}.npz",
                rays=CAMERA.rays(people.keypoints_px).astype(np.float32),
                confidence=people.confidence,
                joints_m=joints_m,
                crop_keypoints=crop_keypoints(people),
                crop_rays=crop_rays(CAMERA, people),
                frame=np.array([0, 1, 2, 0, 1]),
                clip=2 * shard + np.array([0, 0, 0, 1, 1]),
                root_relative_depth=rng.normal(0, 0.3, (5, 17)),
            )
    return folder


def test_each_frame_comes_with_its_own_feature_maps(seen_folder):
    source = FeatureSamples.load(seen_folder, "val", frames=3, values=100)
    crops = source.sample(np.random.default_rng(0), 100, varied=False)
    assert len(crops.rays) == 4  # each clip once
    stored = np.load(seen_folder / "val" / "00001.features.npy")
    with np.load(seen_folder / "val" / "00001.npz") as labels:
        for rows in (
            [0, 1, 2],
            [3, 3, 4],
        ):  # before the first frame of a short clip stands its copy
            clip = np.flatnonzero(
                (crops.crop_keypoints == labels["crop_keypoints"][rows]).all((1, 2, 3))
            )[0]
            np.testing.assert_array_equal(crops.features[clip], stored[rows][:, -100:])
    assert len(FeatureSamples.load(seen_folder, "val", frames=3, limit=3).rows) == 3


def test_training_and_node_make_the_same_of_the_detectors_depth(seen_folder):
    """In sides of the crop there, in pixels here: 420 of them are a side."""
    samples = FeatureSamples.load(seen_folder, "val", frames=1)
    clips = samples.sample(np.random.default_rng(0), 4, varied=False)
    (_, depth, *_), _ = FeatureInputs(1)(clips)
    for keypoints, found in zip(clips.crop_keypoints[:, 0], depth[:, 0], strict=True):
        row = (samples.labels["crop_keypoints"] == keypoints).all((1, 2)).argmax()
        depth_px = 420 * samples.labels["root_relative_depth"][row]
        np.testing.assert_allclose(
            found, root_relative_depth(210 * keypoints, depth_px), rtol=1e-4
        )


def test_joints_without_a_label_teach_nothing(seen_folder):
    import torch

    from pose3d_ros.training.losses import objective
    from pose3d_ros.training.settings import TrainSettings

    settings = TrainSettings(**SMALL)
    output, target = torch.randn(2, 3, 2, 17, 4, requires_grad=True), torch.randn(2, 3, 17, 3)
    whole = objective(output[:, :2], target[:, :2], settings)
    target[:, 2] = torch.nan
    torch.testing.assert_close(objective(output, target, settings), whole)
    objective(output, target, settings).backward()
    assert (
        output.grad is not None and output.grad.isfinite().all() and (output.grad[:, 2] == 0).all()
    )


@pytest.mark.parametrize(
    "options", [*LIFTERS, {"context": "sampled"}, {"context": "none"}, {"fusion": False}]
)
def test_training_resumes_bit_exact(seen_folder, tmp_path, options):
    import torch

    from pose3d_ros.training.loop import train
    from pose3d_ros.training.settings import TrainSettings

    settings = {**SMALL, "data": str(seen_folder), **options}
    train(TrainSettings(**settings, output=str(tmp_path / "whole")), stop_after=3)
    train(TrainSettings(**settings, output=str(tmp_path / "part")), stop_after=2)
    train(TrainSettings(**settings, output=str(tmp_path / "part"), resume=True), stop_after=3)
    states = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"]
        for name in ("whole", "part")
    ]
    for name, value in states[0].items():
        assert torch.isfinite(value).all() and torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("lifter", ["rpsm", "martinez"])
def test_sigma_is_learnt_of_rendered_people_while_poses_stay(seen_folder, tmp_path, lifter):
    from pose3d_ros import inference
    from pose3d_ros.training.loop import train
    from pose3d_ros.training.settings import TrainSettings

    def model(name, **options):
        return train(
            TrainSettings(
                lifter=lifter,
                data=str(seen_folder),
                output=str(tmp_path / name),
                channels=48,
                clip=2,
                batch=4,
                steps=3,
                validation=4,
                learning_rate=1e-2,
                **options,
            )
        )

    with pytest.raises(ValueError, match="loss: expected init-from with sigma"):
        model("of nothing", loss="sigma")
    before = model("before")
    answers = []
    for path in (before, model("after", loss="sigma", init_from=str(before))):
        engine = inference.load(path, "cpu")
        feeds = {
            name: np.random.default_rng(0)
            .uniform(0, 1, [2, *(length or 1 for length in shape[1:])])
            .astype(np.float32)
            for name, shape in engine.inputs.items()
        }
        answers.append(engine(feeds)["joints"].copy())
        engine.close()
    np.testing.assert_allclose(answers[0][..., :3], answers[1][..., :3], atol=1e-6)
    assert (np.abs(answers[0][..., 3] - answers[1][..., 3]) > 1e-3).all()


def test_where_to_sample_is_learnt_at_a_tenth_of_the_rate():
    from pose3d_ros.training.build import build
    from pose3d_ros.training.loop import parameters
    from pose3d_ros.training.settings import TrainSettings

    network = build(TrainSettings(**SMALL))
    rates = {
        id(value): group["lr"] for group in parameters(network, 1e-3) for value in group["params"]
    }
    assert len(rates) == len(list(network.parameters()))
    for name, value in network.named_parameters():
        assert rates[id(value)] == pytest.approx(1e-4 if "sampling_offsets" in name else 1e-3), (
            name
        )


def test_a_lifter_with_a_base_starts_from_its_answer(seen_folder, tmp_path):
    """Before the first step it says what the base says, and training leaves the base as it was."""
    import torch

    from pose3d_ros.training.build import build
    from pose3d_ros.training.checkpoint import build_with_base, load
    from pose3d_ros.training.loop import parameters, train
    from pose3d_ros.training.settings import TrainSettings

    martinez = TrainSettings(lifter="martinez", channels=16)
    torch.manual_seed(2)
    base = build(martinez).eval()
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "settings.json").write_text(json.dumps(asdict(martinez)))
    torch.save({"network": base.state_dict()}, tmp_path / "base" / "checkpoint.pt")
    settings = TrainSettings(
        **SMALL, data=str(seen_folder), base=str(tmp_path / "base"), output=str(tmp_path / "run")
    )
    network: Any = build_with_base(settings).eval()
    assert network.maps.names == ["features1", "features2", "features3"]
    assert not {id(value) for value in network.base.parameters()} & {
        id(value) for group in parameters(network, 1e-3) for value in group["params"]
    }
    inputs = [
        torch.randn(2, 1, 18, 3),
        torch.randn(2, 1, 17),
        torch.zeros(2, 1, 3),
        torch.zeros(2, 1, 17, 2),
        torch.rand(2, 1, VALUES),
    ]
    with torch.no_grad():
        expected = base(inputs[0])[:, :, None]
        np.testing.assert_array_equal(network(*inputs)[0], expected)
    train(settings, stop_after=2)
    learnt: Any = load(tmp_path / "run")[0]
    with torch.no_grad():
        # Training sets the number of threads, which changes the order of sums.
        torch.testing.assert_close(learnt.base(inputs[0])[:, :, None], expected)
        assert not torch.equal(learnt(*inputs)[0], expected)


def test_an_rpsm_goes_on_learning_with_more_to_look_at(tmp_path):
    """At first it says what the trained one says, whatever it sees besides."""
    import torch

    from pose3d_ros.training.build import build
    from pose3d_ros.training.checkpoint import build_with_base, interpolate_weights
    from pose3d_ros.training.settings import TrainSettings

    options: dict[str, Any] = {"lifter": "rpsm", "channels": 16, "stages": 2, "up": True}
    torch.manual_seed(2)
    base: Any = build(TrainSettings(**options)).eval()
    (tmp_path / "settings.json").write_text(json.dumps(asdict(TrainSettings(**options))))
    torch.save({"network": base.state_dict()}, tmp_path / "checkpoint.pt")
    network: Any = build_with_base(
        TrainSettings(**{**options, "lifter": "rpsm-context", "base": str(tmp_path)})
    ).eval()
    keypoints = torch.randn(2, 4, 18, 3)
    with torch.no_grad():
        expected = base(keypoints)[0]
        found = network(
            keypoints,
            torch.randn(2, 4, 17),
            torch.randn(2, 4, 3),
            torch.rand(2, 4, 17, 2),
            torch.rand(2, 4, VALUES),
        )[0]
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(network(keypoints)[0], expected)
    with torch.no_grad():
        for value in network.parameters():
            value += 1
        half = TrainSettings(
            **{
                **options,
                "lifter": "rpsm-context",
                "base": str(tmp_path),
                "weight_interpolation": 0.5,
            }
        )
        first = network.stages[0].recurrent.pose.bias.clone()
        mean: Any = interpolate_weights(network, half)
        between = mean.stages[0].recurrent.pose.bias
        torch.testing.assert_close(between, first - 0.5)
    with pytest.raises(ValueError, match="expected the folder of an rpsm"):
        (tmp_path / "settings.json").write_text(
            json.dumps(asdict(TrainSettings(lifter="martinez", channels=16)))
        )
        torch.save(
            {"network": build(TrainSettings(lifter="martinez", channels=16)).state_dict()},
            tmp_path / "checkpoint.pt",
        )
        build_with_base(
            TrainSettings(**{**options, "lifter": "rpsm-context", "base": str(tmp_path)})
        )


@pytest.mark.parametrize("options", LIFTERS)
def test_a_clip_and_its_frames_one_by_one_are_the_same(options):
    import torch

    from pose3d_ros.networks.feature_lifters import NewestFrame
    from pose3d_ros.training.build import build
    from pose3d_ros.training.settings import TrainSettings

    torch.manual_seed(3)
    network: Any = build(TrainSettings(**{**SMALL, **options})).eval()
    inputs = [
        torch.randn(2, 5, 18, 3),
        torch.randn(2, 5, 17),
        torch.randn(2, 5, 3),
        torch.rand(2, 5, 17, 2),
        torch.rand(2, 5, VALUES),
    ]
    step = NewestFrame(network)
    with torch.no_grad():
        at_once = network(*inputs)[0][:, :, -1]
        state = network.first_state(2) if step.stateful else None
        for frame in range(5):
            keypoints, depth, up, points, maps = (value[:, frame] for value in inputs)
            levels = maps.split([int(np.prod(shape)) for shape in BLAZEPOSE[1:]], 1)
            features = {
                str(i): level.unflatten(1, shape)
                for i, (level, shape) in enumerate(zip(levels, BLAZEPOSE[1:], strict=True))
            }
            answer = step(keypoints[:, None], depth, up, points, features, state)
            joints, state = answer if step.stateful else (answer, None)
            torch.testing.assert_close(joints, at_once[:, frame], atol=1e-5, rtol=1e-4)


def test_exported_lifter_answers_as_torch_does(model):
    import torch

    from pose3d_ros import inference

    path, network = model
    torch.manual_seed(1)
    feeds: dict[str, Any] = {
        "keypoints": torch.randn(3, 1, 18, 3),
        "root_relative_depth": torch.randn(3, 17),
        "crop_keypoints": torch.rand(3, 17, 2) * 2 - 1,
    }
    maps = {f"features{level}": 6 * torch.rand(3, *BLAZEPOSE[level]) for level in (1, 2, 3)}
    engine = inference.load(path, "cpu", 1)
    shape = engine.inputs.get("state")
    state = (
        {} if shape is None else {"state": torch.randn(3, *[length or 0 for length in shape[1:]])}
    )
    with torch.no_grad():
        expected, after = network(
            feeds["keypoints"],
            feeds["root_relative_depth"][:, None],
            None,
            feeds["crop_keypoints"][:, None],
            [level[:, None] for level in maps.values()],
            *state.values(),
        )
    found = {
        name: value.copy()
        for name, value in engine(
            {name: value.numpy() for name, value in {**feeds, **maps, **state}.items()}
        ).items()
    }
    engine.close()
    np.testing.assert_allclose(found["joints"], expected[:, -1, -1].numpy(), atol=1e-4)
    if state:
        np.testing.assert_allclose(found["next_state"], after.numpy(), atol=1e-4)


def test_wrong_data_is_refused(mocap_like, seen_folder):
    from pose3d_ros.training.build import build
    from pose3d_ros.training.settings import TrainSettings

    with pytest.raises(ValueError, match="as 'pose3d render features' or .* writes them"):
        FeatureSamples.load(mocap_like, "train")
    with pytest.raises(ValueError, match="expected 16 or more for context with 1 levels, got 8"):
        build(TrainSettings(lifter="context", channels=8))


@pytest.fixture
def mocap_like(tmp_path):
    """A folder with npz files that are something else."""
    (tmp_path / "train").mkdir()
    np.savez(tmp_path / "train" / "a.npz", joints_m=np.zeros((3, 17, 3)))
    return tmp_path


def test_joints_of_another_rig_are_brought_to_the_detectors():
    """Elbows that a detector sees 4 cm further forward and hips 3 cm wider apart, of people who
    turn.
    """
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    there = STANDING_M.copy()
    there[H36M17.indices("l_elbow", "r_elbow"), 2] -= 0.04
    there[H36M17.index("l_hip"), 0] += 0.03
    there[H36M17.index("r_hip"), 0] -= 0.03
    rig, detected = (turning(angle, body) + [0.2, 0.0, 4.0] for body in (STANDING_M, there))
    rays, seen_rays = (points[..., :2] / points[..., 2:] for points in (rig, detected))
    offsets = rig_offsets_m(
        rig, (seen_rays - rays) / rms_size(rays)[:, None, None], np.ones((40, 17))
    )
    np.testing.assert_allclose(offsets, detected - rig, atol=2e-3)


def test_guesses_of_depth_follow_the_truth_as_they_were_seen_to():
    """A detector that sees three quarters of the true depth, and ankles too far away by a tenth of
    somebody's size.
    """
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (300, 17))
    bias = np.where(np.isin(np.arange(17), H36M17.indices("l_ankle", "r_ankle")), 0.1, 0.0)
    fitted = DepthNoise.fit(0.75 * truth + bias + rng.normal(0, 0.05, truth.shape), truth)
    np.testing.assert_allclose(fitted.slope, 0.75, atol=0.02)
    np.testing.assert_allclose(fitted.bias, bias, atol=0.02)
    np.testing.assert_allclose(fitted.residual.std(0), 0.05, atol=0.01)
    np.testing.assert_allclose(fitted(truth, fitted.residual), 0.75 * truth + bias, atol=0.3)


def test_true_root_relative_depth_is_depth_along_the_line_of_sight_over_the_persons_size():
    """Wherever somebody stands who faces the camera, it is the same, and nearer joints
    have less of it.
    """
    bodies = turning(np.array([0.3]))
    ahead, aside = (
        true_root_relative_depth(bodies @ Rotation.from_euler("y", angle).as_matrix().T + place)
        for angle, place in ((0.0, [0, 0, 4.0]), (np.arctan2(2, 4), [2.0, 0, 4.0]))
    )
    np.testing.assert_allclose(aside, ahead, atol=1e-6)
    size = rms_size(bodies[..., :2])[0]
    np.testing.assert_allclose(ahead[0], (bodies[0, :, 2] - bodies[0, 0, 2]) / size, atol=1e-6)


def test_motion_capture_comes_with_the_depth_that_such_people_got(seen_folder):
    """Recorded errors are those of somebody who faces the same way; each sample is seen with
    keypoints and root-relative depth.
    """
    detector = recorded_noise(seen_folder, "train")
    assert (
        detector.depth is not None
        and detector.step == 3
        and detector.length.tolist() == [3, 3, 3, 2, 2] * 2
    )
    view = FeatureInputs(3, rolled=False)
    standing = np.broadcast_to(
        STANDING_M[:, [0, 2, 1]] * [1, 1, -1] + [0, 0, 0.9], (60, 17, 3)
    )  # z up
    clips = Mocap(standing, np.arange(20, 60), view.offsets, detector).sample(
        np.random.default_rng(0), 5
    )
    (keypoints, depth, _), target_m = view(clips)
    assert (
        keypoints.shape == (5, 3, 18, 3)
        and depth.shape == (5, 3, 17)
        and target_m.shape == (5, 3, 17, 3)
    )
    assert np.isfinite(depth).all() and np.abs(depth[..., 1:]).max() > 0
    expected, _ = normalise(clips.rays[:, 1:2], clips.confidence[:, 1:2])
    np.testing.assert_array_equal(keypoints[:, 1:2], expected)


def test_up_is_told_in_the_axes_of_the_answer(tmp_path):
    """Wherever somebody is in whichever camera, training and lifter tell the network the same: up
    as it is beside the person. Who is not told gets zeros.
    """
    rng = np.random.default_rng(0)
    standing = np.broadcast_to(STANDING_M[:, [0, 2, 1]] * [1, 1, -1] + [0, 0, 0.9], (60, 17, 3))
    view = FeatureInputs(1, rolled=False)
    clips = Mocap(standing, np.arange(60), view.offsets).sample(rng, 8)
    assert clips.up is not None
    (keypoints, _, up), _ = view(clips)
    np.testing.assert_allclose(np.linalg.norm(up, axis=-1), 1, rtol=1e-5)

    class Engine:
        inputs: ClassVar = {"keypoints": (None, 1, 18, 3), "up": (None, 3)}
        fed: ClassVar[dict[str, np.ndarray]] = {}

        def __call__(self, feeds):
            Engine.fed = feeds
            return {"joints": np.zeros((len(feeds["keypoints"]), 17, 4), np.float32)}

    lifter = FrameLifter(cast(Any, Engine()))
    for row in range(8):
        pixels = CAMERA.project(np.insert(clips.rays[row], 2, 1, axis=-1), "camera")
        people = People2D(H36M17, pixels, clips.confidence[row], 0, CAMERA.size, np.array([0]))
        lifter(people, CAMERA, PipelineSettings(), rays=clips.rays[row], up=clips.up[row])
        np.testing.assert_allclose(Engine.fed["up"], up[row], atol=1e-5)
        np.testing.assert_allclose(Engine.fed["keypoints"][0], keypoints[row], atol=1e-5)
    lifter(people, CAMERA, PipelineSettings())
    np.testing.assert_array_equal(Engine.fed["up"], np.zeros((1, 3)))


def test_up_is_unknown_in_half_of_the_samples_and_a_few_degrees_wrong_in_others():
    up = np.broadcast_to(np.array([0, -1, 0], np.float32), (4000, 3))
    clips = Clips(np.zeros((4000, 1, 17, 2)), np.ones((4000, 1, 17)), np.zeros((4000, 1, 17, 3)))
    told = FeatureInputs(1).varied(np.random.default_rng(0), replace(clips, up=up)).up
    assert told is not None
    known = told.any(1)
    assert 0.45 < known.mean() < 0.55
    tilt = np.degrees(np.arccos(np.clip((told[known] * up[known]).sum(1), -1, 1)))
    assert 2 < np.median(tilt) < 5 and tilt.max() < 20


def test_a_lifter_of_keypoints_and_depth_sees_both_sides(tmp_path):
    """Its flip test: a mirrored person gets the mirrored pose, and no feature maps are asked
    for.
    """
    import torch

    from pose3d_ros import inference
    from pose3d_ros.training.build import build
    from pose3d_ros.training.export import export
    from pose3d_ros.training.settings import TrainSettings

    torch.manual_seed(4)
    network = build(
        TrainSettings(lifter="rpsm-context", channels=16, stages=2, context="none", up=True)
    ).eval()
    path = export(network, tmp_path / "both.onnx")
    lifter = lifting.create(PipelineSettings(lifter_model=str(path), engine="cpu"))
    assert not lifter.reads_features
    lifter.close()
    engine = inference.load(path, "cpu", 1)
    rng = np.random.default_rng(0)
    keypoints, depth = rng.normal(size=(2, 1, 18, 3)), rng.normal(size=(2, 17))
    up = rng.normal(size=(2, 3))
    state = np.zeros((2, 4, 2, 16), np.float32)
    other = keypoints[:, :, [*H36M17.flip, 17]] * np.where(np.arange(18) < 17, -1, 1)[:, None] ** [
        1,
        0,
        0,
    ]
    answers = []
    for k, d, u in ((keypoints, depth, up), (other, depth[:, H36M17.flip], up * [-1, 1, 1])):
        feeds = {
            "keypoints": k.astype(np.float32),
            "root_relative_depth": d.astype(np.float32),
            "up": u.astype(np.float32),
            "state": state,
        }
        answers.append(engine(feeds)["joints"].copy())
    engine.close()
    np.testing.assert_allclose(answers[1], answers[0][:, H36M17.flip] * [-1, 1, 1, 1], atol=1e-5)


def test_of_the_depth_of_sides_a_lean_makes_no_difference():
    """What is added to left and right alike is not looked at; what is between them is."""
    import torch

    from pose3d_ros.networks.feature_lifters import Depth

    depth = torch.randn(3, 17)
    lean = torch.randn(3, 17)
    lean = (lean + lean[:, H36M17.flip.tolist()]) / 2
    of_sides = Depth(of_sides=True)
    torch.testing.assert_close(of_sides(depth + lean), of_sides(depth))
    assert not torch.allclose(of_sides(depth), torch.zeros(3, 17), atol=0.1)
    torch.testing.assert_close(Depth(of_sides=False)(depth), depth)


def test_a_base_can_be_an_exported_model(tmp_path):
    import torch

    from pose3d_ros.training.build import build
    from pose3d_ros.training.checkpoint import build_with_base
    from pose3d_ros.training.export import export
    from pose3d_ros.training.onnx_weights import write_metadata
    from pose3d_ros.training.settings import TrainSettings

    options: dict[str, Any] = {"channels": 48, "stages": 2}
    torch.manual_seed(2)
    settings = TrainSettings(lifter="rpsm", **options)
    base: Any = build(settings).eval()
    path = write_metadata(export(base, tmp_path / "rpsm.onnx"), settings)
    network: Any = build_with_base(
        TrainSettings(lifter="rpsm-context", context="none", base=str(path), **options)
    ).eval()
    keypoints = torch.randn(2, 4, 18, 3)
    with torch.no_grad():
        torch.testing.assert_close(
            network(keypoints, torch.randn(2, 4, 17))[0], base(keypoints)[0]
        )


@pytest.mark.skipif(not (DATA / "makehuman").is_dir(), reason="needs the assets in ../shared/data")
def test_rendered_people_are_seen_as_they_are(tmp_path):
    """A clip of each split: keypoints near the true joints, and what of them the network says of
    depth is true.
    """
    from pose3d_ros.training.rendering.features import record
    from pose3d_ros.training.rendering.renderer import RenderError

    try:
        total = record(DATA / "makehuman", [DATA / "cmu_mocap"], tmp_path, 4, 2, 1)
    except (RenderError, ModelError) as error:
        pytest.skip(str(error))
    assert total["frames"] == 10 and total["found"] >= 6
    with np.load(tmp_path / "train" / "00000.npz") as labels:
        rays = labels["joints_m"][..., :2] / labels["joints_m"][..., 2:]
        apart = np.linalg.norm(labels["rays"] - rays, axis=-1) / rms_size(rays)[:, None]
        assert np.median(apart) < 0.2
        depth = labels["joints_m"][..., 2] - labels["joints_m"][:, :1, 2]
        assert np.corrcoef(depth.ravel(), labels["root_relative_depth"].ravel())[0, 1] > 0.3
        assert (np.diff(labels["clip"]) >= 0).all() and set(labels["frame"]) <= {0, 1}
        assert np.load(tmp_path / "train" / "00000.features.npy").shape == (len(rays), VALUES)
    crops = FeatureSamples.load(tmp_path, "train", values=VALUES).sample(
        np.random.default_rng(0), 2
    )
    features = FeatureInputs()(crops)[0][-1]
    assert (len(features), features.shape[-1]) == (2, VALUES)
