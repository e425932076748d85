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

"""Top-down and one-stage detectors on networks that measure blobs (toy_networks), and against
rtmlib's decoding.
"""

import numpy as np
import pytest
import toy_networks as toys

from pose3d_ros import detection
from pose3d_ros.detection import boxes, onestage, person_boxes, topdown
from pose3d_ros.model_store.store import ModelError
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import COCO17, HALPE26

SECOND = 1_000_000_000
INPUT = (192, 256)
RTMDET = dict(zip(("mean", "std"), person_boxes.NORMALISATION["rtmdet"], strict=True))


def make(detector, model, person_model="", **settings):
    return detection.create(
        PipelineSettings(
            detector=detector,
            detector_model=model,
            person_model=person_model,
            engine="cpu",
            threads=1,
            **settings,
        )
    )


def top_down(detector, folder, joints=17, batch="batch", **settings):
    network = {"simcc": toys.simcc, "heatmap": toys.heatmap}[detector.removesuffix("-udp")]
    more = {"udp": True} if detector.endswith("udp") else {}
    model = network(folder / "pose.onnx", INPUT, joints=joints, batch=batch, **more)
    return make(detector, model, toys.halves(folder / "yolox.onnx", (320, 320)), **settings)


def blobs(x, y, size=50.0):
    """A person: a red, a green and a blue blob about (x, y)."""
    return {(x - size, y - size): ["red"], (x + size, y): ["green"], (x, y + 1.4 * size): ["blue"]}


def joint_places(person_blobs):
    """(17, 2) where the toy joints are: joint j at the blob of colour j mod 3."""
    return np.array([list(person_blobs)[j % 3] for j in range(17)])


# In pixels of the crop: the toy's SimCC vectors peak at whole pixels; DARK finds the middle of a
# Gaussian that is sampled every four pixels to a small fraction of that.
@pytest.mark.parametrize(
    ("detector", "tolerance"), [("simcc", 0.55), ("heatmap", 0.1), ("heatmap-udp", 0.1)]
)
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (320, 240)])
def test_joints_are_where_they_are(tmp_path, detector, tolerance, size):
    detect = top_down(detector, tmp_path)
    crop_pixel = (
        1.25 * 180 / 320 * size[0] / 256
    )  # padding times the toy person's height in its picture of 320
    sigma = 0.022 * size[0]
    each = []
    for stamp, (x, y) in enumerate(
        [(0.2, 0.5), (0.7, 0.31), (0.253, 0.448), (0.81, 0.52), (0.15, 0.3), (0.86, 0.7)]
    ):
        shape = blobs(x * size[0] + 0.3, y * size[1] + 0.7, 0.08 * size[0])
        detect.reset()
        people = detect(toys.picture(size, shape, sigma), stamp * SECOND)
        assert len(people) == 1
        each.append((people.keypoints_px[0] - joint_places(shape)) / crop_pixel)
    errors = np.concatenate(each)
    assert np.abs(errors).max() < tolerance
    assert np.abs(errors.mean(0)).max() < tolerance / 3  # no bias to any side


def test_a_batch_is_the_same_as_one_after_the_other(tmp_path):
    shapes = [blobs(160.0, 200.0), blobs(480.0, 230.0)]
    image = toys.picture((640, 480), shapes[0] | shapes[1])
    together = top_down("heatmap", tmp_path / "dynamic")(image, 0)
    singly = top_down("heatmap", tmp_path / "single", batch=1)(image, 0)
    np.testing.assert_array_equal(together.keypoints_px, singly.keypoints_px)
    order = np.argsort(together.keypoints_px[:, 0, 0])
    for shape, keypoints in zip(shapes, together.keypoints_px[order], strict=True):
        np.testing.assert_allclose(keypoints, joint_places(shape), atol=0.2)


@pytest.mark.parametrize(("joints", "skeleton"), [(17, COCO17), (26, HALPE26)])
def test_skeleton_by_the_number_of_joints(tmp_path, joints, skeleton):
    assert top_down("simcc", tmp_path, joints=joints).skeleton is skeleton


def test_nobody_is_nobody(tmp_path):
    assert len(top_down("simcc", tmp_path)(toys.picture((640, 480), {}), 0)) == 0


def test_people_are_followed_between_searches(tmp_path):
    detect = top_down("heatmap", tmp_path, detect_interval_s=1.0)
    for step in range(14):
        walker, newcomer = blobs(150.0 + 8 * step, 200.0), blobs(520.0, 250.0)
        shown = walker | newcomer if step >= 3 else walker
        people = detect(toys.picture((640, 480), shown), step * SECOND // 10)
        assert len(people) == (2 if step >= 10 else 1)  # searched for at 0 and at 1 s only
        assert np.abs(people.keypoints_px - joint_places(walker)).max((1, 2)).min() < 0.2


def test_a_person_who_leaves_is_dropped(tmp_path):
    detect = top_down("heatmap", tmp_path, detect_interval_s=10.0)
    assert len(detect(toys.picture((640, 480), blobs(150.0, 200.0)), 0)) == 1
    assert len(detect(toys.picture((640, 480), {}), 1)) == 0
    assert len(detect(toys.picture((640, 480), blobs(150.0, 200.0)), 2)) == 1


def test_most_people_is_kept_to(tmp_path):
    image = toys.picture((640, 480), blobs(160.0, 200.0) | blobs(480.0, 230.0))
    assert len(top_down("simcc", tmp_path, max_people=1)(image, 0)) == 1


@pytest.mark.parametrize(("family", "normalisation"), [("yolox", {}), ("rtmdet", RTMDET)])
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (333, 777)])
def test_person_boxes(tmp_path, family, normalisation, size):
    model = toys.boxes(tmp_path / f"{family}_tiny" / "end2end.onnx", (416, 416), **normalisation)
    detector = person_boxes.PersonDetector(
        PipelineSettings(detector="simcc", person_model=model, engine="cpu")
    )
    places = {(0.2 * size[0], 0.3 * size[1]): ["red"], (0.72 * size[0], 0.6 * size[1]): ["blue"]}
    found = detector(toys.picture(size, places, sigma=12.0))
    scale = min(416 / size[0], 416 / size[1])
    assert len(found) == 2
    for place in places:
        error = np.abs((found[:, :2] + found[:, 2:]) / 2 - place).max(1).min()
        assert error < 0.1
    np.testing.assert_allclose(
        found[:, 2:] - found[:, :2], np.tile([40 / scale, 80 / scale], (2, 1)), rtol=0.01
    )


def test_other_classes_are_no_people(tmp_path):
    model = toys.boxes(tmp_path / "yolox.onnx", (416, 416), classes=[56, 0, 0])
    detector = person_boxes.PersonDetector(
        PipelineSettings(detector="simcc", person_model=model, engine="cpu")
    )
    found = detector(
        toys.picture((640, 480), {(100.0, 100.0): ["red"], (400.0, 300.0): ["green"]})
    )
    assert len(found) == 1
    np.testing.assert_allclose((found[0, :2] + found[0, 2:]) / 2, (400, 300), atol=0.1)


@pytest.mark.parametrize(("name", "network"), [("rtmo", toys.rtmo), ("yolo-pose", toys.yolo_pose)])
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (500, 900)])
def test_one_stage(tmp_path, name, network, size):
    detect = make(name, network(tmp_path / "pose.onnx", (640, 640)))
    places = {
        (0.25 * size[0] + 0.3, 0.3 * size[1]): ["red"],
        (0.7 * size[0], 0.61 * size[1] + 0.4): ["blue"],
    }
    people = detect(toys.picture(size, places, sigma=12.0), 7)
    assert (len(people), people.stamp_ns, people.image_size) == (2, 7, size)
    np.testing.assert_allclose(people.confidence, 0.9, atol=1e-6)
    scale = 640 / max(size)
    for place in places:
        assert (
            np.abs(people.keypoints_px - (np.array(place) + toys.OFFSETS / scale))
            .max((1, 2))
            .min()
            < 0.1
        )
    assert len(detect(toys.picture(size, {}), 8)) == 0


def test_most_people_of_one_stage(tmp_path):
    image = toys.picture((640, 480), {(100.0, 100.0): ["red"], (400.0, 300.0): ["green"]})
    assert (
        len(make("rtmo", toys.rtmo(tmp_path / "pose.onnx", (640, 640)), max_people=1)(image, 0))
        == 1
    )


def test_suppression_keeps_the_best_of_each_heap():
    rows = np.array(
        [[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 1, 10, 11], [0, 5, 10, 15]], float
    )
    # 0 and 3 lie on 1; 4 shares a fifth with 0, but 0 is gone
    assert boxes.suppress(rows, np.array([0.8, 0.9, 0.5, 0.7, 0.6]), 0.5).tolist() == [1, 4, 2]
    assert boxes.suppress(rows[:0], np.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize(
    ("detector", "outputs", "expected"),
    [
        (
            "simcc",
            [np.zeros((1, 21, 384)), np.zeros((1, 21, 512))],
            "17 .COCO. or 26 .Halpe. joints, got .1, 21, 384.",
        ),
        ("simcc", [np.zeros((1, 17, 64, 48))], "SimCC vectors"),
        ("heatmap", [np.zeros((1, 17, 384)), np.zeros((1, 17, 512))], "heat maps"),
        ("rtmo", [np.zeros((1, 56, 100))], "RTMO's boxes"),
        ("yolo-pose", [np.zeros((1, 84, 100))], r"YOLO-pose's \[1, 56, N\]"),
    ],
)
def test_a_model_of_another_kind_is_refused_in_one_line(tmp_path, detector, outputs, expected):
    model = toys.constant(tmp_path / "other.onnx", INPUT, *outputs)
    with pytest.raises(ModelError, match=expected) as refusal:
        make(detector, model, toys.halves(tmp_path / "yolox.onnx", (320, 320)))
    assert "other.onnx" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("detector", "missing"), [("rtmo", "detector_model"), ("simcc", "person_model")]
)
def test_a_model_that_is_not_named(tmp_path, detector, missing):
    model = "" if missing == "detector_model" else toys.simcc(tmp_path / "pose.onnx", INPUT)
    with pytest.raises(ModelError, match=f"{missing}: expected the path"):
        make(detector, model)


def test_a_person_model_of_unknown_family(tmp_path):
    with pytest.raises(ModelError, match="expected 'yolox' or 'rtmdet' in the path"):
        make(
            "simcc",
            toys.simcc(tmp_path / "pose.onnx", INPUT),
            toys.boxes(tmp_path / "person.onnx", (320, 320)),
        )


def test_a_person_model_of_another_kind(tmp_path):
    model = toys.constant(tmp_path / "yolox.onnx", (320, 320), np.zeros((1, 100, 85)))
    with pytest.raises(
        ModelError, match=r"YOLOX predictions \[1, 2100, 5 \+ classes\], got \[1, 100, 85\]"
    ):
        make("simcc", toys.simcc(tmp_path / "pose.onnx", INPUT), model)


# rtmlib is the reference; the tensors that both decode are random or random Gaussians.


@pytest.fixture
def reference():
    """Makes an rtmlib tool without loading a model into it."""
    rtmlib = pytest.importorskip("rtmlib")

    def build(name, size, **attributes):
        tool = object.__new__(getattr(rtmlib, name))
        vars(tool).update(model_input_size=size, **attributes)
        return tool

    return build


def gaussians(seed, people=3, joints=17, width=48, height=64, sigma=2.0):
    """Heat maps (P, J, H, W) with maxima 0.2 to 1 away from the border, noise below."""
    random = np.random.default_rng(seed)
    x, y = (random.uniform(6, n - 7, (people, joints, 1, 1)) for n in (width, height))
    rows, columns = np.mgrid[:height, :width]
    peak = random.uniform(0.2, 1, (people, joints, 1, 1))
    maps = peak * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return (maps + random.uniform(0, 0.01, maps.shape)).astype(np.float32)


def test_crops_as_the_reference_makes_them(reference):
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    reference("RTMPose", INPUT)
    from rtmlib.tools.pose_estimation.pre_processings import bbox_xyxy2cs, top_down_affine

    for box in np.array([[100, 50, 220, 400], [300.5, 10, 630.2, 200], [-40, 300, 90, 500]]):
        centre, scale = bbox_xyxy2cs(box, padding=1.25)
        expected, _ = top_down_affine(INPUT, scale, centre, image)
        origins, steps = topdown.crop_geometry(box[None], INPUT, aligned=False)
        ours = topdown.crop(image, origins[0], steps[0], INPUT)
        # both resample the same places, but the reference's matrix is single precision: some
        # values round otherwise
        difference = np.abs(ours.astype(int) - expected)
        assert (difference > 8).mean() < 0.01
        assert difference.mean() < 0.5


def test_simcc_as_the_reference_decodes_it(reference):
    random = np.random.default_rng(1)
    x, y = (
        random.uniform(0, 1, (4, 17, 384)).astype(np.float32),
        random.uniform(0, 1, (4, 17, 512)).astype(np.float32),
    )
    centre, scale = np.array([300.0, 200.0]), np.array([150.0, 200.0])
    expected, expected_scores = reference("RTMPose", INPUT).postprocess((x, y), centre, scale)
    cells, scores = topdown.decode_simcc(x, y)
    origin, step = centre - scale / 2, scale / INPUT
    np.testing.assert_allclose(origin + cells / 2 * step, expected, atol=1e-3)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_heat_maps_as_the_reference_decodes_them(reference):
    maps = gaussians(2)
    centre, scale = np.array([300.0, 200.0]), np.array([150.0, 200.0])
    cells, scores = topdown.decode_heatmaps(maps)
    expected, expected_scores = reference("ViTPose", INPUT).postprocess(
        [maps.copy()], centre, scale
    )
    np.testing.assert_allclose(cells / (47, 63) * scale + centre - scale / 2, expected, atol=2e-3)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_yolox_as_the_reference_decodes_it(reference, tmp_path):
    random = np.random.default_rng(3)
    size, cells = (320, 320), 2100
    raw = np.concatenate(
        [
            random.uniform(-1, 1, (1, cells, 2)),
            random.uniform(0, 2, (1, cells, 2)),
            random.uniform(0, 1, (1, cells, 81)),
        ],
        2,
    ).astype(np.float32)
    model = toys.constant(tmp_path / "yolox.onnx", size, raw)
    image = np.zeros((320, 320, 3), np.uint8)  # of the network's size: no letterbox to differ in
    detector = person_boxes.PersonDetector(
        PipelineSettings(detector="simcc", person_model=model, engine="cpu")
    )
    tool = reference(
        "RTMDet",
        size,
        nms_thr=person_boxes.MOST_OVERLAP,
        score_thr=person_boxes.MIN_SCORE,
        det_mode="human",
    )
    expected = tool.postprocess(
        raw.copy(), 1.0
    )  # the same layout as YOLOX, whose class forgets to filter the people
    ours = detector(image)
    assert len(expected) > 50
    # The reference counts corners as pixels (+ 1) when it measures overlaps, so a few of many
    # boxes differ.
    near = np.abs(ours[:, None] - expected[None]).max(-1) < 1e-2
    assert near.any(1).mean() > 0.9
    assert near.any(0).mean() > 0.9


def test_rtmo_as_the_reference_decodes_it(reference, tmp_path):
    random = np.random.default_rng(4)
    corners = random.uniform(0, 500, (1, 40, 2))
    rows = np.concatenate(
        [corners, corners + random.uniform(50, 120, (1, 40, 2)), random.uniform(0, 1, (1, 40, 1))],
        2,
    )
    poses = np.concatenate(
        [random.uniform(0, 600, (1, 40, 17, 2)), random.uniform(0, 1, (1, 40, 17, 1))], 3
    )
    model = toys.constant(tmp_path / "rtmo.onnx", (640, 640), rows, poses)
    expected, expected_scores = reference("RTMO", (640, 640)).postprocess(
        [rows.copy(), poses], 1.0, onestage.RTMO.most_overlap, onestage.RTMO.min_score
    )
    people = make("rtmo", model, max_people=64)(np.zeros((640, 640, 3), np.uint8), 0)
    np.testing.assert_allclose(people.keypoints_px, expected, atol=1e-3)
    np.testing.assert_allclose(people.confidence, expected_scores, atol=1e-6)
