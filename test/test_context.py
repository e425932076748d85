"""Lifters that look at feature maps: their geometry, the node's part, and the training from rendered features."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import CAMERA, STANDING_M, seen
from scipy.spatial.transform import Rotation

pytest.importorskip("torch")

from pose3d_ros import detection, lifting  # noqa: E402
from pose3d_ros.camera import Camera  # noqa: E402
from pose3d_ros.detection import regions  # noqa: E402
from pose3d_ros.evaluation.monocular import frames  # noqa: E402
from pose3d_ros.lifting.context import crop_keypoints, crop_rays, upright  # noqa: E402
from pose3d_ros.lifting.normalise import normalise  # noqa: E402
from pose3d_ros.model_store import ModelError  # noqa: E402
from pose3d_ros.networks.context import BLAZEPOSE  # noqa: E402
from pose3d_ros.pipeline import MonocularPipeline  # noqa: E402
from pose3d_ros.resources import share  # noqa: E402
from pose3d_ros.settings import PipelineSettings, SettingsError  # noqa: E402
from pose3d_ros.skeleton import H36M17  # noqa: E402
from pose3d_ros.training.bodies import mirror, turn  # noqa: E402
from pose3d_ros.training.context import CropView, SeenPeople  # noqa: E402
from pose3d_ros.training.noise import rig_offsets_m, rms_size  # noqa: E402

PLACES_M = np.array([[0.6, 0.2, 4.0], [-0.9, -0.1, 3.0]])
SMALL: dict[str, Any] = {"lifter": "context", "channels": 40, "steps": 4, "batch": 4, "validation": 4}
VALUES = sum(channels * height * width for channels, height, width in BLAZEPOSE)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def with_crops(people, angles, side_px=420.0):
    """People with a crop around each pelvis, turned by ``angles``, and feature maps of noise, the same every time."""
    where = np.zeros((len(people), 4))
    where[:, :2], where[:, 2], where[:, 3] = people.keypoints_px[:, 0], side_px, angles
    rng = np.random.default_rng(3)
    features = tuple(rng.uniform(0, 6, (len(people), *shape)).astype(np.float32) for shape in BLAZEPOSE)
    return replace(people, features=features, crop_from_image=regions.region_from_image(where),
                   ids=np.arange(len(people)))


def turning(angles, body=STANDING_M):
    """The body (A, 17, 3) turned by each angle about the vertical."""
    return turn(np.broadcast_to(body[:, [0, 2, 1]], (len(angles), 17, 3)), angles)[..., [0, 2, 1]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained lifter, as it is exported."""
    import torch

    from pose3d_ros.training.export import export
    from pose3d_ros.training.lifter import TrainSettings, build

    torch.manual_seed(0)
    network = build(TrainSettings(**SMALL)).eval()
    path = tmp_path_factory.mktemp("context") / "context.onnx"
    return export(network, path), network


@pytest.fixture(scope="module")
def lifter(model):
    made = lifting.create(PipelineSettings(lifter_model=str(model[0]), engine="cpu"))
    yield made
    made.close()


# Geometry


def test_the_virtual_camera_is_rolled_like_the_crop():
    """Somebody's crop is upright, somebody else's lies on the side: what is up in the crop is up in the features."""
    people = with_crops(seen(PLACES_M, 1), [0.0, np.pi / 2])
    rays = CAMERA.rays(people.keypoints_px)[:, None]
    features, rotation = upright(*normalise(rays, people.confidence[:, None]), crop_rays(CAMERA, people))
    head = features[:, 0, H36M17.index("head"), :2]
    assert head[0, 1] < -0.8 and abs(head[0, 0]) < 0.2
    # Turned clockwise, the crop's top is at the picture's right, and the upright person's head at the crop's left.
    assert head[1, 0] < -0.8 and abs(head[1, 1]) < 0.2
    np.testing.assert_allclose(rotation @ np.swapaxes(rotation, 1, 2), np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-6)
    # The features are the person's joints, projected by the virtual camera.
    turned = (STANDING_M + PLACES_M[:, None]) @ np.swapaxes(rotation, 1, 2)
    projected = turned[..., :2] / turned[..., 2:]
    scale = features[:, 0, :-1, :2] / projected
    np.testing.assert_allclose(scale, np.broadcast_to(np.median(scale, (1, 2), keepdims=True), scale.shape), rtol=0.02)


def test_crop_keypoints_are_where_the_crop_has_them():
    people = with_crops(seen(PLACES_M, 1), [0.3, -0.5], side_px=400.0)
    people.keypoints_px[0, 5] = np.nan
    points = crop_keypoints(people)
    np.testing.assert_allclose(points[:, 0], 0, atol=1e-5)  # the crop's centre
    np.testing.assert_array_equal(points[0, 5], 0)
    linear = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]) / 200  # half a side is 1
    pixels = people.keypoints_px[1] - people.keypoints_px[1, 0]
    np.testing.assert_allclose(points[1], pixels @ linear.T, atol=1e-5)


@pytest.mark.parametrize("angle", [0.4, -2.0])
def test_a_turned_picture_shows_the_same_people_turned(lifter, angle):
    """A camera rolled about its axis sees the same crops elsewhere, and so the same people in turned axes."""
    roll = Rotation.from_euler("z", angle).as_matrix()
    camera = Camera.from_fov(1280, 1280, 1.2)
    answers = []
    for turned, crop in ((np.eye(3), 0.1), (roll, 0.1 + angle)):
        bodies = (STANDING_M + PLACES_M[:, None]) @ turned.T
        people = seen(PLACES_M, 1, camera)
        people = with_crops(replace(people, keypoints_px=camera.project(bodies, "camera").astype(np.float32)), crop)
        answers.append(lifter(people, camera, PipelineSettings()))
    np.testing.assert_allclose(answers[1].joints_m, answers[0].joints_m @ roll.T, atol=1e-4)
    np.testing.assert_allclose(answers[1].sigma_m, answers[0].sigma_m, rtol=1e-3)


def test_targets_are_in_the_axes_of_the_answer(seen_folder):
    """Whatever the crops' angles: what training asks for is, turned back as the lifter does it, the truth."""
    crops = SeenPeople.load(seen_folder, "train").sample(np.random.default_rng(0), 6)
    (keypoints, _, _), target_m = CropView()(crops)
    again, rotation = upright(*normalise(crops.rays, crops.confidence), crops.crop_rays)
    np.testing.assert_array_equal(keypoints, again[:, 0])
    truth = crops.joints_m[:, 0] - crops.joints_m[:, 0, :1]
    np.testing.assert_allclose(target_m[:, 0] @ rotation, truth, atol=1e-5)


# In the node


def test_people_in_another_order_get_their_own_poses(lifter):
    people = with_crops(seen(PLACES_M, 1), [0.2, -0.3])
    poses = lifter(people, CAMERA, PipelineSettings())
    other = lifter(people[[1, 0]], CAMERA, PipelineSettings())
    np.testing.assert_allclose(other.joints_m, poses.joints_m[::-1], atol=1e-5)
    assert np.abs(poses.joints_m[0] - poses.joints_m[1]).max() > 1e-3
    assert not len(lifter(people[:0], CAMERA, PipelineSettings()).joints_m)


def test_feature_maps_are_looked_at_where_the_joints_are(lifter):
    """A change in the crop far from every joint is not seen; one at the wrist is."""
    people = with_crops(seen(PLACES_M[:1], 1), [0.0])
    expected = lifter(people, CAMERA, PipelineSettings()).joints_m
    row, column = np.rint((crop_keypoints(people)[0, H36M17.index("l_wrist"), ::-1] + 1) / 2 * 63).astype(int)
    for rows, columns, matters in ((slice(0, 4), slice(0, 4), False), (row, column, True)):
        people.features[0][0][:, rows, columns] += 5
        assert (np.abs(lifter(people, CAMERA, PipelineSettings()).joints_m - expected).max() > 1e-6) == matters


def test_people_without_features_are_refused(lifter):
    with pytest.raises(ValueError, match="feature maps, got none"):
        lifter(seen(PLACES_M, 1), CAMERA, PipelineSettings())


def test_other_detectors_are_refused_when_the_pipeline_is_made(model):
    with pytest.raises(SettingsError, match="expected blazepose, .* got 'rtmo'"):
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
    blank = pipeline(np.zeros_like(image), camera, stamp_ns + 1)  # nobody is seen: predicted without features
    pipeline.close()
    assert people.people_2d is not None and len(people.people_2d) == 2 and people.people_2d.features == ()
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
    """Two clips of people who turn before the camera, with feature maps of noise."""
    folder = tmp_path_factory.mktemp("seen")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (folder / split).mkdir()
        for name in ("00000", "00000m"):
            bodies = turning(rng.uniform(0, 6, 4))
            joints_m = (bodies + [0.3, 0.1, 4.0]).astype(np.float32)
            people = replace(seen(np.zeros((4, 3)) + [0, 0, 4], 1), keypoints_px=CAMERA.project(joints_m, "camera"))
            people = with_crops(people, rng.uniform(-1, 1, 4))
            np.save(folder / split / f"{name}.features.npy", rng.uniform(0, 6, (4, VALUES)).astype(np.float16))
            np.savez(folder / split / f"{name}.npz", rays=CAMERA.rays(people.keypoints_px).astype(np.float32),
                     confidence=people.confidence, joints_m=joints_m, crop_keypoints=crop_keypoints(people),
                     crop_rays=crop_rays(CAMERA, people), frame=np.arange(4))
    return folder


def test_each_frame_comes_with_its_own_feature_maps(seen_folder):
    source = SeenPeople.load(seen_folder, "val")
    crops = source.sample(np.random.default_rng(0), 100, varied=False)
    assert len(crops.rays) == 8  # each once
    stored = np.concatenate([np.load(seen_folder / "val" / f"{name}.features.npy") for name in ("00000", "00000m")])
    with np.load(seen_folder / "val" / "00000m.npz") as labels:
        row = np.flatnonzero((crops.crop_keypoints == labels["crop_keypoints"][2]).all((1, 2)))[0]
    np.testing.assert_array_equal(crops.features[row], stored[4 + 2])


@pytest.mark.parametrize("options", [{}, {"context": "sampled"}, {"context": "none"}, {"fusion": False}])
def test_training_resumes_bit_exact(seen_folder, tmp_path, options):
    import torch

    from pose3d_ros.training.lifter import TrainSettings
    from pose3d_ros.training.loop import train

    settings = {**SMALL, "data": str(seen_folder), **options}
    train(TrainSettings(**settings, output=str(tmp_path / "whole")), stop_after=3)
    train(TrainSettings(**settings, output=str(tmp_path / "part")), stop_after=2)
    train(TrainSettings(**settings, output=str(tmp_path / "part"), resume=True), stop_after=3)
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"] for name in ("whole", "part")]
    for name, value in states[0].items():
        assert torch.isfinite(value).all() and torch.equal(value, states[1][name]), name


def test_where_to_sample_is_learnt_at_a_tenth_of_the_rate():
    from pose3d_ros.training.lifter import TrainSettings, build
    from pose3d_ros.training.loop import parameters

    network = build(TrainSettings(**SMALL))
    rates = {id(value): group["lr"] for group in parameters(network, 1e-3) for value in group["params"]}
    assert len(rates) == len(list(network.parameters()))
    for name, value in network.named_parameters():
        assert rates[id(value)] == pytest.approx(1e-4 if "sampling_offsets" in name else 1e-3), name


def test_a_lifter_with_a_base_starts_from_its_answer(seen_folder, tmp_path):
    """Before the first step it says what the base says, and training leaves the base as it was."""
    import torch

    from pose3d_ros.training.lifter import TrainSettings, build, load
    from pose3d_ros.training.loop import parameters, train

    martinez = TrainSettings(lifter="martinez", channels=16)
    torch.manual_seed(2)
    base = build(martinez).eval()
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "settings.json").write_text(json.dumps(asdict(martinez)))
    torch.save({"network": base.state_dict()}, tmp_path / "base" / "checkpoint.pt")
    settings = TrainSettings(**SMALL, data=str(seen_folder), base=str(tmp_path / "base"), output=str(tmp_path / "run"))
    network: Any = build(settings).eval()
    assert not {id(value) for value in network.base.parameters()} & {
        id(value) for group in parameters(network, 1e-3) for value in group["params"]}
    keypoints, points, maps = torch.randn(2, 18, 3), torch.zeros(2, 17, 2), torch.rand(2, VALUES)
    with torch.no_grad():
        expected = base(keypoints[:, None])
        np.testing.assert_array_equal(network(keypoints, points, maps), expected)
    train(settings, stop_after=2)
    learnt: Any = load(tmp_path / "run")[0]
    with torch.no_grad():
        np.testing.assert_array_equal(learnt.base(keypoints[:, None]), expected)
        assert not torch.equal(learnt(keypoints, points, maps), expected)


def test_exported_lifter_answers_as_torch_does(model):
    import torch

    from pose3d_ros import inference

    path, network = model
    torch.manual_seed(1)
    inputs: list[Any] = [torch.randn(3, 18, 3), torch.rand(3, 17, 2) * 2 - 1,
              [6 * torch.rand(3, *shape) for shape in BLAZEPOSE]]
    with torch.no_grad():
        expected = network(*inputs)[:, -1]
        packed = network(*inputs[:2], torch.cat([level.flatten(1) for level in inputs[2]], 1))[:, -1]
    np.testing.assert_allclose(packed, expected, atol=1e-5)
    engine = inference.load(path, "cpu", 1)
    feeds = {"keypoints": inputs[0].numpy(), "crop_keypoints": inputs[1].numpy(),
             **{f"features{level}": values.numpy() for level, values in enumerate(inputs[2])}}
    found = engine(feeds)["joints"]
    engine.close()
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_wrong_data_is_refused(mocap_like, seen_folder):
    from pose3d_ros.training.lifter import TrainSettings, build

    with pytest.raises(ValueError, match="as 'pose3d render features' writes them"):
        SeenPeople.load(mocap_like, "train")
    with pytest.raises(ValueError, match="expected 40 or more for context, got 16"):
        build(TrainSettings(lifter="context", channels=16))


@pytest.fixture
def mocap_like(tmp_path):
    """A folder with npz files that are something else."""
    (tmp_path / "train").mkdir()
    np.savez(tmp_path / "train" / "a.npz", joints_m=np.zeros((3, 17, 3)))
    return tmp_path


def test_joints_of_another_rig_are_brought_to_the_detectors():
    """Elbows that a detector sees 4 cm further forward and hips 3 cm wider apart, of people who turn."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    there = STANDING_M.copy()
    there[H36M17.indices("l_elbow", "r_elbow"), 2] -= 0.04
    there[H36M17.index("l_hip"), 0] += 0.03
    there[H36M17.index("r_hip"), 0] -= 0.03
    rig, detected = (turning(angle, body) + [0.2, 0.0, 4.0] for body in (STANDING_M, there))
    rays, seen_rays = (points[..., :2] / points[..., 2:] for points in (rig, detected))
    offsets = rig_offsets_m(rig, (seen_rays - rays) / rms_size(rays)[:, None, None], np.ones((40, 17)))
    np.testing.assert_allclose(offsets, detected - rig, atol=2e-3)


@pytest.mark.skipif(not (DATA / "makehuman").is_dir(), reason="needs the assets in ../shared/data")
def test_rendered_people_are_seen_as_they_are(tmp_path):
    """One clip and its mirror image: keypoints near the true joints, and the mirror exact."""
    from pose3d_ros.training.synthetic.features import record
    from pose3d_ros.training.synthetic.render import RenderError

    try:
        total = record(DATA / "makehuman", DATA / "cmu_mocap", tmp_path, 1, 2, 1)
    except (RenderError, ModelError) as error:
        pytest.skip(str(error))
    assert total["frames"] == 8 and total["found"] >= 6
    with np.load(tmp_path / "train" / "00000.npz") as straight, np.load(tmp_path / "train" / "00000m.npz") as mirrored:
        rays = straight["joints_m"][..., :2] / straight["joints_m"][..., 2:]
        apart = np.linalg.norm(straight["rays"] - rays, axis=-1) / rms_size(rays)[:, None]
        assert np.median(apart) < 0.2
        np.testing.assert_allclose(mirrored["joints_m"], mirror(straight["joints_m"]), atol=1e-5)
        assert np.load(tmp_path / "train" / "00000.features.npy").shape == (len(rays), VALUES)
    crops = SeenPeople.load(tmp_path, "train").sample(np.random.default_rng(0), 2)
    assert CropView()(crops)[0][2].shape == (2, VALUES)
