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

"""Images of random scenes as cameras deliver them, and the crops that are rendered directly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bodies import STANDING_M
from paths import SHARED

from pose3d_ros.camera import Camera
from pose3d_ros.detection import regions
from pose3d_ros.skeleton import CMU22, H36M17
from pose3d_ros.training.data.recordings import Recording
from pose3d_ros.training.rendering import crops, motions, textures
from pose3d_ros.training.rendering import images as pictures
from pose3d_ros.training.rendering.body import Assets
from pose3d_ros.training.rendering.measure_noise import seen_by_depth
from pose3d_ros.training.rendering.recordings import render
from pose3d_ros.training.rendering.renderer import Renderer, RenderError
from pose3d_ros.training.rendering.retarget import retarget
from pose3d_ros.training.rendering.scene import Cast, Sensor, _seat, random_shot, random_view

DATA = SHARED / "data"
LENSES: dict[str, dict[str, Any]] = {
    "none": {},
    "plumb_bob": {"distortion": np.array([-0.2, 0, 1e-3, -1e-3, 0])},
    "equidistant": {
        "distortion": np.array([0.03, 0.001, 0, 0]),
        "distortion_model": "equidistant",
    },
}
needs_data = pytest.mark.skipif(
    not (DATA / "makehuman").is_dir(), reason="needs the assets in ../shared/data"
)


@pytest.fixture(scope="module")
def cast() -> Cast:
    return Cast(Assets(DATA / "makehuman"))


@pytest.fixture(scope="module")
def captured() -> motions.Motions:
    return motions.Motions.load([DATA / "cmu_mocap"], "train")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return textures.make(3, 24)


def renderer(size: tuple[int, int], images: np.ndarray) -> Renderer:
    try:
        return Renderer(size, images=images)
    except RenderError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("lens", LENSES)
def test_render_behind_a_lens_is_where_the_lens_has_it(lens: str):
    camera = replace(Camera.from_fov(320, 240, 1.2), **LENSES[lens])
    rng = np.random.default_rng(0)
    points_m = np.concatenate([rng.uniform(-1, 1, (500, 2)), rng.uniform(1.5, 4, (500, 1))], 1)
    points_px = camera.project(points_m)
    region = np.array([[150.0, 110.0, 180.0, 0.4]])
    in_region = (
        256 * regions.transform(regions.region_from_image(region), points_px[None])[0] - 0.5
    )
    for where, there in ((None, points_px), (region, in_region)):
        view = pictures.view_of(camera, None if where is None else where[0])
        in_picture = ((points_px > 1) & (points_px < np.array(camera.size) - 2)).all(1)
        seen = in_picture & ((there > 1) & (there < np.array(view.camera.size) - 2)).all(1)
        rendered = view.camera.project(points_m)[seen]
        assert seen.sum() > 50
        if view.where is None:
            np.testing.assert_allclose(rendered, there[seen], atol=1e-6)
        else:
            at: Any = there[seen].astype(np.float32)[None]
            none: Any = None
            found = cv2.remap(view.where, at, none, cv2.INTER_LINEAR)[0]
            np.testing.assert_allclose(found, rendered, atol=0.1)


def test_regions_change_as_they_differ():
    rng = np.random.default_rng(1)
    true = np.column_stack(
        [rng.uniform(100, 500, (20, 2)), rng.uniform(50, 400, 20), rng.uniform(-3, 3, 20)]
    )
    by = rng.normal(0, 0.1, (20, 4))
    np.testing.assert_allclose(crops.difference(crops.changed(true, by), true), by, atol=1e-9)


@needs_data
@pytest.mark.parametrize("lens", LENSES)
def test_crop_is_what_the_detector_takes_of_the_whole_picture(
    lens: str, cast: Cast, captured: motions.Motions, images: np.ndarray
):
    size = (320, 240)
    shot = random_shot(np.random.default_rng(5), cast, captured, 3, images, size=size)
    camera = replace(
        Camera.from_fov(*size, 1.0),
        camera_from_world=shot.camera.camera_from_world,
        **LENSES[lens],
    )
    shot = replace(shot, camera=camera, sensor=Sensor(blur_px=1.0), exposure_frames=0.0)
    joints_px = camera.project(shot.scene.actors[0].posed.joints_m[[1]])
    region = crops.around(joints_px)[0] * [1, 1, 0.9, 1] + [0, 0, 0, 0.3]
    directly, whole = renderer((256, 256), images), renderer(size, images)
    for each in (directly, whole):
        each.load(shot.scene)
    rng = np.random.default_rng(0)
    picture = pictures.whole(rng, whole, shot, 1)[0]
    expected = regions.crop(picture, region[None], 256)[0].astype(int)
    found, _, rendered = pictures.crop(rng, directly, shot, region, 1)
    whole.close()
    directly.close()
    assert expected.std() > 10
    assert np.abs(found - expected).mean() < 2.5
    shifted = np.abs(np.roll(found, 4, 1) - expected).mean()
    assert np.abs(found - expected).mean() < 0.6 * shifted


@needs_data
def test_new_motions_keep_limbs_and_end_on_the_floor(cast: Cast, captured: motions.Motions):
    rng = np.random.default_rng(2)
    original = np.concatenate([clip[::10] for clip in captured.clips.values()])
    body = cast.pick(rng)[1]
    for _ in range(6):
        joints_m = motions.vary(rng, captured, 10)
        for a, b in (
            ("hip", "knee"),
            ("knee", "ankle"),
            ("shoulder", "elbow"),
            ("elbow", "wrist"),
        ):
            i, j = CMU22.indices(f"l_{a}", f"l_{b}")
            lengths = np.linalg.norm(joints_m[:, i] - joints_m[:, j], axis=-1)
            known = np.linalg.norm(original[:, i] - original[:, j], axis=-1)
            assert (
                np.ptp(lengths) < 0.06 and known.min() - 0.02 < lengths.mean() < known.max() + 0.02
            )
        lying = motions.lean(rng, retarget(joints_m, body), lying_share=1.0)
        assert lying.joints_m[..., 2].min() == pytest.approx(0.1, abs=1e-4)
        trunk = lying.joints_m[:, H36M17.index("thorax")] - lying.joints_m[:, 0]
        assert np.isfinite(trunk).all()


@needs_data
def test_somebody_sits(cast: Cast, captured: motions.Motions):
    rng = np.random.default_rng(5)
    walked = np.array(captured.random(rng, 40)[1], float)
    sat = motions.seated(rng, walked)
    for side in "lr":
        hip, knee, ankle, foot = CMU22.indices(
            *(f"{side}_{name}" for name in ("hip", "knee", "ankle", "foot"))
        )
        for start, end in ((hip, knee), (knee, ankle), (ankle, foot)):
            assert np.allclose(
                *(
                    np.linalg.norm(joints[:, end] - joints[:, start], axis=1)
                    for joints in (walked, sat)
                )
            )
        assert (
            (sat[:, hip] - sat[:, knee])[:, 2]
            < 0.8 * np.linalg.norm(sat[:, hip] - sat[:, knee], axis=1)
        ).all()
        assert (sat[:, ankle, 2] < sat[:, knee, 2]).all()
        across = sat[:, CMU22.index("l_hip")] - sat[:, CMU22.index("r_hip")]
        thigh = sat[:, knee] - sat[:, hip]
        # Left of the hips, seen from above, is a quarter turn before where the thighs point.
        assert (thigh[:, 0] * across[:, 1] - thigh[:, 1] * across[:, 0] > 0).all()
    joints_m = retarget(sat, cast.pick(rng)[1]).joints_m
    seat = _seat(joints_m)
    assert seat is not None and seat[0][2] == 0 and 0.15 < seat[1][2] < joints_m[:, 0, 2].min()
    assert _seat(retarget(walked, cast.pick(rng)[1]).joints_m) is None


def test_some_cameras_are_near():
    rng = np.random.default_rng(0)
    standing = STANDING_M[None, :, [2, 0, 1]] * [-1, 1, -1] + [0, 0, 0.9]  # upright, z up
    views = [random_view(rng, standing) for _ in range(200)]
    inside = np.array(
        [
            ((view.project(standing[0]) >= 0) & (view.project(standing[0]) < view.size))
            .all(-1)
            .mean()
            for view in views
        ]
    )
    away_m = np.array([np.linalg.norm(view.position_m[:2] - standing[0, 0, :2]) for view in views])
    assert 0.03 < (away_m < 1.0).mean() < 0.3 and inside.min() > 0.5


def test_joint_is_seen_by_depth():
    surface = np.full((10, 10), np.inf, np.float32)
    surface[2:8, 2:8] = 2.0
    joints_px = np.array([[3, 3], [3, 3], [9, 9], [12, 3], [np.nan, 1]])
    depth_m = np.array([2.1, 2.5, 2.1, 2.1, 2.1])
    # Under the skin; behind something; before the open; outside; behind the camera.
    assert seen_by_depth(joints_px, depth_m, surface).tolist() == [True, False, True, False, False]


def test_textures_repeat_and_vary():
    first, second = textures.make(1, 20), textures.make(2, 20)
    assert first.shape == (20, textures.SIDE, textures.SIDE, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first[: textures.VARIED], second[: textures.VARIED])
    assert all(
        (a != b).any()
        for a, b in zip(first[textures.VARIED :], second[textures.VARIED :], strict=True)
    )
    np.testing.assert_array_equal(first, textures.make(1, 20))


def test_pictures_of_a_folder_are_textures(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((40, 60, 3), (0, 0, 200), np.uint8))
    made = textures.make(1, 20, tmp_path)
    assert (made == [200, 0, 0]).all((1, 2, 3)).any()
    (tmp_path / "red.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="expected a picture"):
        textures.make(1, 20, tmp_path)


def test_sensor_does_what_it_says():
    rng = np.random.default_rng(0)
    grey = np.full((200, 200, 3), 100, np.uint8)
    assert (Sensor()(rng, grey) == grey).all()
    noisy = Sensor(noise=(4.0, 0.0))(rng, grey).astype(float)
    assert noisy.mean() == pytest.approx(100, abs=1.0) and noisy.std() == pytest.approx(
        4 * np.hypot(1, 0.5), rel=0.1
    )
    assert Sensor(noise=(4.0, 0.0))(rng, grey, 2.5).std() < 0.6 * noisy.std()
    np.testing.assert_array_equal(Sensor(balance=(1.2, 1.0, 0.5))(rng, grey)[0, 0], [50, 100, 120])
    edge = np.zeros((50, 50, 3), np.uint8)
    edge[:, 25:] = 200
    assert 0 < Sensor(blur_px=2)(rng, edge)[25, 24, 0] < 100
    assert 0 < Sensor(shake_px=(6.0, 0.0))(rng, edge)[25, 23, 0] < 200


@needs_data
def test_dataset_has_everybody_with_masks(tmp_path: Path):
    try:
        written = render(
            DATA / "makehuman", [DATA / "cmu_mocap"], tmp_path, clips=4, frames=1, seed=3
        )
    except RenderError as error:
        pytest.skip(str(error))
    people = [Recording.load(path) for path in written]
    assert len(people) > 5, "one clip or more shows several people"
    hits = []
    for person in people:
        clip, number = person.name.rsplit("_", 1)
        mask = cv2.imread(str(tmp_path / "masks" / clip / "00000.png"), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        column, row = np.rint(person.keypoints_px[0][person.confidence[0] == 1]).astype(int).T
        hits += (mask[row, column] == int(number) + 1).tolist()
    assert len(hits) > 30 and np.mean(hits) > 0.95
