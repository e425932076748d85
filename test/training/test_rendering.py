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

"""Bodies, retargeting and renders against what is known of them; the assets are not part of the
package.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from paths import ROOT, SHARED

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import look_at
from pose3d_ros.skeleton import BODY30, CMU22, H36M17
from pose3d_ros.training.rendering.body import (
    AssetError,
    Assets,
    Body,
    Material,
    Posed,
    Shape,
    Wardrobe,
    _ranges,
)
from pose3d_ros.training.rendering.clip import demo_scene
from pose3d_ros.training.rendering.extra_points import body30_m
from pose3d_ros.training.rendering.measure_noise import visible_joints
from pose3d_ros.training.rendering.motions import Motions, place
from pose3d_ros.training.rendering.renderer import Actor, Renderer, RenderError, Room, Scene
from pose3d_ros.training.rendering.retarget import retarget

DATA = SHARED / "data"
MAN, WOMAN = Shape(male=1, muscle=0.7, weight=0.7), Shape(male=0, old=0.5, weight=0.3, scale=0.95)
# Walking, arm gestures, jumping jacks and squats, climbing, of four different capture skeletons.
CLIPS = ("06_01", "131_01", "seq_train_directing_traffic_4", "13_29", "01_06")

needs_data = pytest.mark.skipif(
    not (DATA / "makehuman").is_dir(), reason="needs the assets in ../shared/data"
)


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets(DATA / "makehuman")


@pytest.fixture(scope="module")
def motions() -> Motions:
    return Motions.load([DATA / "cmu_mocap"], "train")


@pytest.fixture(scope="module")
def man(assets: Assets) -> Body:
    return assets.build(MAN, Wardrobe(("male_casualsuit02", "shoes03"), "short02"))


@pytest.fixture
def renderer():
    try:
        renderer = Renderer((320, 240))
    except RenderError as error:
        pytest.skip(str(error))
    yield renderer
    renderer.close()


def angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(cosine.clip(-1, 1)))


def at_rest(body: Body) -> Posed:
    rig = body.rig
    return Posed(rig, np.tile(np.eye(3), (1, len(rig.names), 1, 1)), rig.heads[None])


def test_shares_of_a_shape_add_up():
    for shape in (MAN, WOMAN, Shape(0.3, 0.2, 0.9, 0.1, (0.2, 0.5, 0.3))):
        weights = dict(shape.targets())
        assert sum(
            w for name, w in weights.items() if name.startswith("universal")
        ) == pytest.approx(1)
        assert sum(
            w for name, w in weights.items() if not name.startswith("universal")
        ) == pytest.approx(1)


def test_vertex_ranges():
    assert _ranges(["3", "7", "-", "9", "12"]) == [3, 7, 8, 9, 12]


def test_missing_assets_are_named(tmp_path: Path):
    with pytest.raises(AssetError, match=r"base\.obj.*expected MakeHuman's CC0 assets"):
        Assets(tmp_path)


@needs_data
def test_face_hands_and_feet_at_rest(man: Body):
    """Of a body that faces -y: its left is +x."""
    at = dict(zip(BODY30.joints, body30_m(at_rest(man), man)[0], strict=True))
    assert at["nose"][1] < at["l_eye"][1] < at["l_ear"][1], "noses are ahead of ears"
    assert at["l_eye"][2] > at["nose"][2] > at["neck"][2]
    for side, sign in (("l", 1), ("r", -1)):
        heel, foot, ankle = (at[f"{side}_{joint}"] for joint in ("heel", "foot", "ankle"))
        assert foot[1] < ankle[1] < heel[1] and max(foot[2], heel[2]) < ankle[2] - 0.02
        index, pinky, wrist = (at[f"{side}_{joint}"] for joint in ("index", "pinky", "wrist"))
        assert 0.05 < np.linalg.norm(index - pinky) < 0.1
        assert 0.07 < np.linalg.norm(index - wrist) < 0.13
        assert all(
            sign * at[f"{side}_{joint}"][0] > 0 for joint in ("eye", "ear", "foot", "index")
        )


@needs_data
def test_the_demos_truth_has_the_face_hands_and_feet_of_its_bodies():
    frames = 3
    scene = demo_scene(DATA / "makehuman", [DATA / "cmu_mocap"], 240)
    with np.load(ROOT / "demo/truth.npz") as truth:
        stored = np.concatenate([truth["joints_m"], truth["extra_joints_m"]], 2)[:frames]
    made = np.stack([body30_m(actor.posed, actor.body)[:frames] for actor in scene.actors], 1)
    np.testing.assert_allclose(made, stored, atol=1e-5)


@needs_data
def test_rest_pose_skins_to_itself(man: Body):
    mesh = man.mesh
    skinned = at_rest(man).skin(0, mesh.vertices, mesh.bones, mesh.weights)
    np.testing.assert_allclose(skinned, mesh.vertices, atol=1e-6)


@needs_data
def test_anatomy_at_rest(man: Body):
    joints = dict(zip(H36M17.joints, at_rest(man).joints_m[0], strict=True))
    crown = man.mesh.vertices[:, 2].max()
    assert 1.6 < crown < 1.9 and man.mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-9)
    for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
        left, right = joints[f"l_{joint}"], joints[f"r_{joint}"]
        assert left[0] > 0.05  # +x is left when facing -y
        np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-3)
    # Drillis and Contini's shares of stature: ankle 0.04, knee 0.29, hip 0.53, shoulder 0.82.
    for joint, share in (
        ("l_ankle", 0.04),
        ("l_knee", 0.285),
        ("l_hip", 0.53),
        ("l_shoulder", 0.818),
    ):
        assert joints[joint][2] / crown == pytest.approx(share, abs=0.03)
    assert joints["thorax"][2] < joints["neck"][2] < joints["head"][2] < crown


@needs_data
def test_clothes_cover_a_body_of_any_build(assets: Assets):
    for shape, clothes in ((MAN, "male_casualsuit03"), (WOMAN, "female_casualsuit01")):
        body = assets.build(shape, Wardrobe((clothes, "shoes03"), "bob02"))
        counts = np.bincount(body.mesh.material, minlength=len(Material))
        assert (counts > 50).all(), "every material is there"
        naked = assets.build(shape)
        assert counts[Material.SKIN] < 0.8 * len(naked.mesh.vertices), (
            "skin under clothes is left out"
        )
        fronts = []
        for mesh, material in ((naked.mesh, Material.SKIN), (body.mesh, Material.TOP)):
            x, y, z = mesh.vertices.T
            fronts.append(
                y[
                    (mesh.material == material)
                    & (abs(z - 1.05 * shape.scale) < 0.05)
                    & (abs(x) < 0.05)
                ].min()
            )
        assert -0.005 < fronts[0] - fronts[1] < 0.05, "cloth is just before the belly"


@needs_data
@pytest.mark.parametrize("clip", CLIPS)
def test_limbs_point_as_captured(clip: str, man: Body, motions: Motions):
    captured = motions.clips[clip][:300]
    posed = retarget(captured, man).joints_m
    for parent, child in H36M17.limbs:
        if parent[:2] in ("l_", "r_"):
            true, ours = (
                joints[:, skeleton.index(child)] - joints[:, skeleton.index(parent)]
                for joints, skeleton in ((captured, CMU22), (posed, H36M17))
            )
            assert angle_deg(true, ours).max() < 3, f"{parent} to {child}"
    middle = [
        captured[:, CMU22.indices(f"l_{joint}", f"r_{joint}")].mean(1)
        for joint in ("hip", "shoulder")
    ]
    trunk = posed[:, H36M17.index("thorax")] - posed[:, H36M17.index("pelvis")]
    assert np.median(angle_deg(middle[1] - middle[0], trunk)) < 6


@needs_data
@pytest.mark.parametrize("clip", CLIPS)
def test_joints_bend_as_bodies_do(clip: str, man: Body, motions: Motions):
    posed = retarget(motions.clips[clip][:300], man)
    rig = man.rig
    for side in "LR":
        bones = [
            rig.index[f"{bone}.{side}"]
            for bone in ("upperleg01", "upperleg02", "lowerleg01", "foot")
        ]
        _, thigh, shin, foot = posed.rotations[:, bones].transpose(1, 0, 2, 3)
        hip, _, knee, ankle = posed.heads[:, bones].transpose(1, 0, 2)
        normal = np.cross(knee - hip, ankle - knee)
        normal /= (np.linalg.norm(knee - hip, axis=1) * np.linalg.norm(ankle - knee, axis=1))[
            :, None
        ]
        assert (normal * thigh[:, :, 0]).sum(-1).min() > -0.05, "a knee does not bend forwards"
        assert np.percentile(angle_deg(shin[:, :, 0], foot[:, :, 0]), 95) < 50, (
            "a foot does not twist off its shin"
        )
        toes = foot @ [0, -1, 0]
        ahead = (toes * (posed.rotations[:, rig.index["root"]] @ [0, -1, 0])).sum(-1)
        assert np.median(ahead) > 0.5, "toes point where the pelvis faces"


@needs_data
def test_body_keeps_its_own_proportions(man: Body, motions: Motions):
    rest = at_rest(man).joints_m[0]
    posed = retarget(motions.clips["13_29"][:200], man).joints_m
    for parent, child in (
        ("l_hip", "l_knee"),
        ("l_knee", "l_ankle"),
        ("r_elbow", "r_wrist"),
        ("l_hip", "r_hip"),
    ):
        i, j = H36M17.indices(parent, child)
        length = np.linalg.norm(posed[:, i] - posed[:, j], axis=-1)
        np.testing.assert_allclose(length, np.linalg.norm(rest[i] - rest[j]), rtol=0.02)


@needs_data
@pytest.mark.parametrize("clip", ("06_01", "seq_train_walking_extra_50", "13_29"))
def test_feet_stand_on_the_floor(clip: str, man: Body, motions: Motions):
    posed = retarget(motions.clips[clip][:200], man)
    mesh = man.mesh
    shoes = mesh.material == Material.SHOES
    lowest = np.array(
        [
            posed.skin(t, mesh.vertices[shoes], mesh.bones[shoes], mesh.weights[shoes])[:, 2].min()
            for t in range(0, 200 if len(posed.heads) >= 200 else len(posed.heads), 5)
        ]
    )
    assert lowest.min() > -0.03, "sunken"
    assert np.median(lowest) < 0.02, "floating"


@needs_data
def test_placed_motion_keeps_its_shape(motions: Motions):
    joints = motions.clips["06_01"]
    moved = place(joints, (1.0, -2.0), np.pi / 2)
    step, turned = joints[-1, 0] - joints[0, 0], moved[-1, 0] - moved[0, 0]
    np.testing.assert_allclose(turned, [-step[1], step[0], step[2]], atol=1e-5)
    np.testing.assert_allclose(
        (moved[:, 0, :2].min(0) + moved[:, 0, :2].max(0)) / 2, (1, -2), atol=1e-5
    )


@needs_data
def test_pictures_agree_with_labels(renderer: Renderer, man: Body, motions: Motions):
    """The GPU's skinning and projection against numpy's: the silhouette's box to a pixel, and
    every joint inside.
    """
    posed = retarget(
        place(motions.clips["seq_train_directing_traffic_4"][:60], (0.0, 0.0), 0.5), man
    )
    camera = replace(
        Camera.from_fov(320, 240, 0.9),
        camera_from_world=look_at([2.5, -2, 1.2], posed.joints_m[30, 0], roll_rad=0.1),
    )
    boxes = np.zeros((0, 2, 3))
    renderer.load(Scene((Actor(man, posed),), Room(boxes=boxes)))
    picture = renderer.picture(camera, 30)
    person, depth_m = renderer.labels(camera, 30)

    mesh = man.mesh
    points = camera.project(posed.skin(30, mesh.vertices, mesh.bones, mesh.weights))
    rows, columns = np.nonzero(person == 0)
    np.testing.assert_allclose(
        [columns.min(), rows.min(), columns.max(), rows.max()],
        [*points.min(0), *points.max(0)],
        atol=1.0,
    )
    joints_px = camera.project(posed.joints_m[30])
    column, row = np.rint(joints_px).astype(int).T
    assert (person[row, column] == 0).all()
    distance = (posed.joints_m[30] @ camera.camera_from_world[2, :3]) + camera.camera_from_world[
        2, 3
    ]
    assert (depth_m[row, column] < distance).all(), "skin lies before the joint"
    assert visible_joints(joints_px, distance, person, depth_m).sum() >= 8

    renderer.load(Scene((), Room(boxes=boxes)))
    empty = renderer.picture(camera, 0)
    changed = (cv2.absdiff(picture, empty).max(-1) > 8)[person == 0]
    assert changed.mean() > 0.9, "the person is drawn where the labels say"


def test_visibility_by_depth():
    person = np.full((10, 10), -1)
    surface = np.full((10, 10), np.inf, np.float32)
    person[2:8, 2:8], surface[2:8, 2:8] = 0, 2.0
    person[2:8, 6:8], surface[2:8, 6:8] = 1, 1.0
    joints_px = np.array([[3, 3], [3, 3], [7, 3], [0, 0], [12, 3], [np.nan, 1]])
    depth_m = np.array([2.1, 2.5, 2.1, 2.1, 2.1, 2.1])
    # Just under the skin; behind one's own trunk; behind somebody else; beside the body; outside;
    # behind the camera.
    assert visible_joints(joints_px, depth_m, person, surface).tolist() == [
        True,
        False,
        False,
        False,
        False,
        False,
    ]


DEMO = ROOT / "demo"


@pytest.mark.parametrize("view", (0, 1))
def test_demo_clip_agrees_with_its_truth(view: int):
    """The walker moves: joints of the truth lie on pixels that differ from the median picture,
    shifted ones do not.
    """
    with np.load(DEMO / "truth.npz") as truth:
        joints_m, camera_from_world = truth["joints_m"], truth["camera_from_world"]
    calibrated = Camera.from_yaml(DEMO / f"cam{view}.yaml")
    camera = Camera(calibrated.matrix, calibrated.size, camera_from_world=camera_from_world[view])
    video = cv2.VideoCapture(str(DEMO / f"cam{view}.mp4"))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert (len(frames), video.get(cv2.CAP_PROP_FPS)) == (len(joints_m), 30)
    assert frames[0].shape[1::-1] == camera.size == (1280, 720)

    background = np.median(frames[::20], axis=0).astype(np.uint8)
    on_body: list[np.ndarray] = []
    beside: list[np.ndarray] = []
    for frame in range(5, len(frames), 15):
        moved = cv2.absdiff(frames[frame], background).max(-1) > 15
        moved = cv2.morphologyEx(moved.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9)))
        joints_px = np.rint(camera.project(joints_m[frame, 0])).astype(int)
        for shift, hits in ((0, on_body), (70, beside)):
            column = (joints_px[:, 0] + shift).clip(0, 1279)
            hits.append(moved[joints_px[:, 1].clip(0, 719), column])
    assert np.mean(on_body) > 0.9
    assert np.mean(beside) < 0.4


def test_demo_clip_is_small_and_people_are_whole():
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 5e6
    with np.load(DEMO / "truth.npz") as truth:
        joints_m, camera_from_world = truth["joints_m"], truth["camera_from_world"]
    assert joints_m.shape[1:] == (2, 17, 3) and np.isfinite(joints_m).all()
    for view, pose in enumerate(camera_from_world):
        calibrated = Camera.from_yaml(DEMO / f"cam{view}.yaml")
        pixels = Camera(calibrated.matrix, calibrated.size, camera_from_world=pose).project(
            joints_m
        )
        inside = ((pixels > 0) & (pixels < calibrated.size)).all((-1, -2))
        assert inside.mean() > 0.95
