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

"""Intrinsics and extrinsics from boards: drawn boards through known cameras come back as these
cameras.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from boards import drawn, photographed, placed
from rigs import ring

from pose3d_ros.calibration import extrinsics, from_points
from pose3d_ros.calibration.board_images import BoardDetections, BoardImages, detect_boards
from pose3d_ros.calibration.boards import Board, BoardFinder, Corners
from pose3d_ros.calibration.bundle_adjustment import aligned, steps_between
from pose3d_ros.calibration.extrinsics import BoardObservation, calibrate
from pose3d_ros.calibration.intrinsics import calibrate as calibrate_intrinsics
from pose3d_ros.camera import Camera
from pose3d_ros.cli.main import main
from pose3d_ros.io.rig_file import RigFile, read_cameras, write_rig

CHESSBOARD = Board(8, 5, 0.03)
CHARUCO = Board(6, 5, 0.1, 0.075, "DICT_4X4_50")
CAMERA = Camera(
    np.array([[560.0, 0, 322], [0, 565.0, 236], [0, 0, 1]]),
    (640, 480),
    np.array([-0.2, 0.06, 0, 0, 0.0]),
)
FACING = np.diag([1.0, -1, -1, 1])  # camera_from_board of a board that faces the camera


def facing(board: Board, *pose: float) -> np.ndarray:
    return FACING @ placed(board, *pose)


VARIED = [
    facing(CHESSBOARD, x, y, -z, a, b, c)
    for x, y, z, a, b, c in [
        (0, 0, 0.35, 0, 0, 0),
        (-0.1, 0.05, 0.4, 0.6, 0.1, 0.1),
        (0.1, -0.05, 0.4, -0.6, 0.2, 0),
        (0.1, 0.08, 0.45, 0, 0.7, 0.2),
        (-0.1, -0.08, 0.45, 0.1, -0.7, 0),
        (0, 0, 0.5, 0.5, 0.5, 1.5),
        (-0.12, 0.1, 0.5, -0.5, 0.4, 0.4),
        (0.12, -0.1, 0.5, 0.4, -0.5, 3.0),
        (0.15, 0.1, 0.55, -0.3, -0.3, 0.1),
        (-0.16, -0.1, 0.55, 0.5, 0, 0.2),
    ]
]


@pytest.mark.parametrize("board", [CHESSBOARD, CHARUCO, Board(7, 6, 0.1, 0.07, "DICT_5X5_50")])
@pytest.mark.parametrize("turn", [0.0, 1.5, 3.1])
def test_corners_are_where_the_board_has_them(board, turn):
    pose = facing(board, 0, 0, -10 * board.square_m, 0.4, -0.3, turn)
    found = BoardFinder(board).find(photographed(CAMERA, board, pose))
    assert found is not None
    assert len(found.ids) == len(board.points_m)
    expected = CAMERA.project(board.points_m[found.ids] @ pose[:3, :3].T + pose[:3, 3])
    assert np.abs(found.pixels - expected).max() < 0.5


@pytest.mark.parametrize(
    "make", [lambda board: 255 - drawn(board), lambda board: drawn(board, legacy=True)]
)
def test_charuco_layouts_are_told_apart(make):
    board = Board(
        5, 6, 0.1, 0.075, "DICT_4X4_50"
    )  # an even number of rows, where OpenCV's layouts differ
    pose = facing(board, 0, 0, -1, 0.3, 0.2, 0.1)
    found = BoardFinder(board).find(photographed(CAMERA, board, pose, make(board)))
    assert found is not None
    expected = CAMERA.project(board.points_m[found.ids] @ pose[:3, :3].T + pose[:3, 3])
    assert np.abs(found.pixels - expected).max() < 0.5


def test_partly_hidden_charuco_and_nothing():
    pose = facing(CHARUCO, 0.3, 0, -1.0, 0.2, 0, 0)
    picture = photographed(CAMERA, CHARUCO, pose)
    picture[:, 520:] = 90
    found = BoardFinder(CHARUCO).find(picture)
    assert found is not None
    assert 6 <= len(found.ids) < len(CHARUCO.points_m)
    for board in (CHARUCO, CHESSBOARD):
        assert BoardFinder(board).find(np.full((480, 640), 90, np.uint8)) is None


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with pictures of the chessboard from varied sides."""
    folder = tmp_path_factory.mktemp("photos")
    for i, pose in enumerate(VARIED):
        cv2.imwrite(str(folder / f"{i:02d}.png"), photographed(CAMERA, CHESSBOARD, pose))
    return folder


BOARD_OPTIONS = ["--chessboard", "8x5", "--square", "0.03"]


def test_intrinsics_come_back(photos, tmp_path, capsys):
    blurred = tmp_path / "photos"
    blurred.mkdir()
    for path in photos.iterdir():
        image = cv2.imread(str(path))
        assert image is not None
        cv2.imwrite(
            str(blurred / path.name),
            cv2.GaussianBlur(image, (0, 0), 5) if path.stem == "05" else image,
        )
    out = tmp_path / "calibration"
    assert (
        main(
            [
                "calibrate",
                "intrinsics",
                f"left={blurred}",
                f"right={photos}",
                *BOARD_OPTIONS,
                "--output",
                str(out),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    for name in ("left", "right"):
        camera = Camera.from_yaml(out / f"{name}.yaml")
        np.testing.assert_allclose(camera.matrix[[0, 1], [0, 1]], [560, 565], rtol=0.005)
        np.testing.assert_allclose(camera.matrix[:2, 2], [322, 236], atol=3)
        # what counts is where pixels look
        pixels = np.array([[60.0, 60], [320, 240], [580, 400]])
        assert np.abs(camera.rays(pixels) - CAMERA.rays(pixels)).max() * 560 < 4
    assert "10 of 10 views" in said
    assert "WARNING" not in said.partition("right:")[2]
    assert "05.png" in said or "9 of 9 views" in said  # the blurred one was not used


def test_views_that_cannot_tell_the_focal_length(tmp_path, capsys):
    for i, (x, y) in enumerate([(0, 0), (0.02, 0), (0, 0.02), (-0.02, 0), (0, -0.02)]):
        pose = facing(CHESSBOARD, x, y, -0.5, 0.01 * i, -0.01 * i, 0)
        cv2.imwrite(str(tmp_path / f"{i}.png"), photographed(CAMERA, CHESSBOARD, pose))
    code = main(
        [
            "calibrate",
            "intrinsics",
            f"cam={tmp_path}",
            *BOARD_OPTIONS,
            "--output",
            str(tmp_path / "out"),
        ]
    )
    said = capsys.readouterr()
    assert ("WARNING: the focal length is only known to" in said.out) or (
        code == 1 and "do not determine" in said.err
    )
    if code == 0:
        assert "distortion elsewhere is a guess" in said.out


@pytest.mark.slow
def test_wrong_pictures_say_what_to_do(photos, tmp_path, capsys):
    def fails(*arguments: str) -> str:
        assert (
            main(["calibrate", "intrinsics", *arguments, "--output", str(tmp_path / "out")]) == 1
        )
        return capsys.readouterr().err

    few = f"cam={photos}/0[0-1].png"
    assert "but one of 8x5 in" in fails(few, "--chessboard", "9x6", "--square", "0.03")
    assert "is it in view" in fails(
        f"cam={photos}/00.png", "--charuco", "6x5", "--square", "0.1", "--marker", "0.07"
    )
    assert "--square" in fails(f"cam={photos}", "--chessboard", "8x5")
    assert "a name of its own" in fails(f"cam={photos}", f"cam={photos}", *BOARD_OPTIONS)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    cv2.imwrite(str(mixed / "a.png"), np.zeros((480, 640), np.uint8))
    cv2.imwrite(str(mixed / "b.png"), np.zeros((240, 320), np.uint8))
    assert "b.png is 320x240, the pictures before 640x480" in fails(f"cam={mixed}", *BOARD_OPTIONS)
    charuco = tmp_path / "charuco"
    charuco.mkdir()
    cv2.imwrite(
        str(charuco / "a.png"), photographed(CAMERA, CHARUCO, facing(CHARUCO, 0, 0, -1, 0.2, 0, 0))
    )
    assert "markers of DICT_4X4" in fails(
        f"cam={charuco}",
        "--charuco",
        "6x5",
        "--square",
        "0.1",
        "--marker",
        "0.07",
        "--dictionary",
        "DICT_6X6_250",
    )
    assert "check columns x rows" in fails(
        f"cam={charuco}", "--charuco", "12x9", "--square", "0.1", "--marker", "0.07"
    )
    assert "1 usable views" in fails(
        f"cam={charuco}", "--charuco", "6x5", "--square", "0.1", "--marker", "0.075"
    )
    with pytest.raises(SystemExit):
        main(
            ["calibrate", "intrinsics", str(tmp_path / "nothing"), *BOARD_OPTIONS, "--output", "x"]
        )


def exact_views(camera: Camera, noise_px: float = 0.05) -> BoardDetections:
    """Corners as a perfect detector finds them in pictures from varied sides."""
    rng = np.random.default_rng(0)
    ids = np.arange(len(CHESSBOARD.points_m))
    seen = [camera.project(CHESSBOARD.points_m @ pose[:3, :3].T + pose[:3, 3]) for pose in VARIED]
    corners = tuple(
        Corners(ids, pixels + rng.normal(0, noise_px, pixels.shape)) for pixels in seen
    )
    pictures = BoardImages(
        "cam",
        tuple(Path(f"{i}.png") for i in range(len(VARIED))),
        False,
        np.arange(len(VARIED), dtype=np.float64),
    )
    return BoardDetections(
        pictures,
        camera.size,
        len(VARIED),
        tuple(range(len(VARIED))),
        corners,
        np.ones(len(VARIED)),
    )


def test_sigma_counts_a_board_that_is_not_flat():
    bent_m = CHESSBOARD.points_m.copy()
    across = bent_m[:, 0] - bent_m[:, 0].mean()
    bent_m[:, 2] += 5e-4 * (across / across.max()) ** 2  # half a millimetre at its ends
    views = exact_views(CAMERA)
    corners = tuple(
        Corners(seen.ids, CAMERA.project(bent_m @ pose[:3, :3].T + pose[:3, 3]))
        for seen, pose in zip(views.corners, VARIED, strict=True)
    )
    result = calibrate_intrinsics(replace(views, corners=corners), CHESSBOARD)
    off = np.abs(result.camera.matrix - CAMERA.matrix)[[0, 1, 0, 1], [0, 1, 2, 2]]
    assert off.max() > 3  # pixels: it does harm
    assert (off < 2 * result.sigma_px).all()


def test_fisheye():
    truth = Camera(
        np.array([[310.0, 0, 322], [0, 312.0, 236], [0, 0, 1]]),
        (640, 480),
        np.array([0.02, -0.01, 0.004, 0]),
        "equidistant",
    )
    result = calibrate_intrinsics(exact_views(truth), CHESSBOARD, fisheye=True)
    assert result.camera.distortion_model == "equidistant"
    assert np.abs(result.camera.matrix - truth.matrix).max() < 5 * result.sigma_px.max()
    assert result.sigma_px.max() < 1
    assert result.rms_px < 0.1


def test_a_view_that_does_not_fit_is_rejected():
    views = exact_views(CAMERA)
    bent = views.corners[3].pixels + np.random.default_rng(1).normal(
        0, 2, views.corners[3].pixels.shape
    )
    corners = (*views.corners[:3], Corners(views.corners[3].ids, bent), *views.corners[4:])
    result = calibrate_intrinsics(replace(views, corners=corners), CHESSBOARD)
    assert result.rejected == ("3.png",)
    assert np.abs(result.camera.matrix - CAMERA.matrix).max() < 5 * result.sigma_px.max()
    assert result.sigma_px.max() < 2
    assert result.camera.distortion[2:].tolist() == [
        0,
        0,
        0,
    ]  # there is none, so it is not invented


def test_a_picture_of_each_camera_is_enough():
    truth = ring(3, radius=2.5, height=1.8)
    result = calibrate(
        {f"cam{i}": camera for i, camera in enumerate(truth)},
        CHARUCO,
        seen_exactly(truth, moments(1)),
    )
    millimetres, degrees = difference(list(result.cameras.values()), truth)
    assert millimetres < 1e-3
    assert degrees < 1e-4


def moments(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    first = placed(CHARUCO, 0, 0, 0, 0, 0, 0.3)  # on the floor
    low, high = [-0.3, -0.3, 0.6, -0.4, -0.4, 0], [0.3, 0.3, 1.2, 0.4, 0.4, 6]
    return [first, *(placed(CHARUCO, *rng.uniform(low, high)) for _ in range(count - 1))]


def seen_exactly(
    cameras: list[Camera], boards: list[np.ndarray], noise_px: float = 0.0
) -> list[BoardObservation]:
    rng = np.random.default_rng(1)
    ids = np.arange(len(CHARUCO.points_m))
    return [
        BoardObservation(
            c,
            m,
            Corners(
                ids,
                camera.project(CHARUCO.points_m @ pose[:3, :3].T + pose[:3, 3])
                + rng.normal(0, noise_px, (len(ids), 2)),
            ),
        )
        for c, camera in enumerate(cameras)
        for m, pose in enumerate(boards)
    ]


def difference(cameras: list[Camera], truth: list[Camera]) -> tuple[float, float]:
    """Largest distance in millimetres and angle in degrees, whatever the world's frame."""
    a, b = (np.stack([c.camera_from_world for c in some]) for some in (cameras, truth))
    by = steps_between(b, aligned(a, b, 1.0, scale=False))
    return np.linalg.norm(by[:, 3:], axis=1).max() * 1e3, np.degrees(
        np.linalg.norm(by[:, :3], axis=1).max()
    )


def test_exact_corners_give_exact_cameras():
    truth = ring(4, radius=2.5, height=1.8, distortion=(-0.1, 0.02, 0, 0))
    boards = moments(6)
    unknown = {
        f"cam{i}": replace(camera, camera_from_world=np.eye(4)) for i, camera in enumerate(truth)
    }
    result = calibrate(unknown, CHARUCO, seen_exactly(truth, boards))
    millimetres, degrees = difference(list(result.cameras.values()), truth)
    assert millimetres < 1e-3
    assert degrees < 1e-4
    at_board = result.at_board(0)
    for name, camera in at_board.cameras.items():  # the first board lies on the floor: z is up
        assert camera.position_m[2] == pytest.approx(truth[int(name[3])].position_m[2], abs=1e-6)
    np.testing.assert_allclose(
        result.at_camera("cam2").cameras["cam2"].camera_from_world, np.eye(4), atol=1e-9
    )


def test_a_moment_in_which_the_board_moved_is_left_out():
    truth = ring(3, radius=2.5, height=1.8)
    seen = seen_exactly(truth, moments(8), noise_px=0.3)
    late = [
        replace(s, corners=replace(s.corners, pixels=s.corners.pixels + 40))
        if (s.camera, s.moment) == (1, 4)
        else s
        for s in seen
    ]
    result = calibrate({f"cam{i}": camera for i, camera in enumerate(truth)}, CHARUCO, late)
    assert result.dropped == 1
    assert 4 not in result.moments
    millimetres, degrees = difference(list(result.cameras.values()), truth)
    assert millimetres < 5
    assert degrees < 0.1


def test_cameras_without_a_common_view():
    truth = ring(4, radius=2.5, height=1.8)
    seen = [s for s in seen_exactly(truth, moments(6)) if (s.camera < 2) == (s.moment < 3)]
    names = dict(zip("abcd", truth, strict=True))
    with pytest.raises(
        ValueError, match="cameras a b / c d never see the board in the same moment"
    ):
        calibrate(names, CHARUCO, seen)
    with pytest.raises(ValueError, match="looks the same upside down"):
        calibrate(names, Board(7, 5, 0.1), seen)


@pytest.mark.slow
def test_extrinsics_from_pictures(tmp_path, capsys):
    truth = [camera.at_resolution(960, 720) for camera in ring(3, radius=2.2, height=1.8)]
    for m, pose in enumerate(moments(4)):
        for c, camera in enumerate(truth):
            folder = tmp_path / f"cam{c}"
            folder.mkdir(exist_ok=True)
            cv2.imwrite(str(folder / f"{m}.png"), photographed(camera, CHARUCO, pose))
    write_rig(
        tmp_path / "intrinsics.yaml",
        RigFile({f"cam{c}": camera for c, camera in enumerate(truth)}, posed=False),
    )
    options = [
        "--charuco",
        "6x5",
        "--square",
        "0.1",
        "--marker",
        "0.075",
        "--intrinsics",
        str(tmp_path / "intrinsics.yaml"),
        "--output",
        str(tmp_path / "rig.yaml"),
    ]
    folders = [str(tmp_path / f"cam{c}") for c in range(3)]
    assert main(["calibrate", "extrinsics", *folders, *options, "--frame-id", "map"]) == 0
    said = capsys.readouterr().out
    assert said.count("static_transform_publisher") == 3
    assert "--frame-id map --child-frame-id cam2" in said
    cameras = list(read_cameras(tmp_path / "rig.yaml").values())
    millimetres, degrees = difference(cameras, truth)
    assert millimetres < 15  # squares are 20 px wide
    assert degrees < 0.3
    assert cameras[0].position_m[2] == pytest.approx(1.8, abs=0.02)

    def fails(*arguments: str) -> str:
        assert main(["calibrate", "extrinsics", *arguments]) == 1
        return capsys.readouterr().err

    assert "--world: expected board" in fails(*folders, *options, "--world", "floor")
    assert "at least two cameras" in fails(folders[0], *options)
    assert "has no camera other" in fails(f"other={folders[0]}", folders[1], *options)
    (tmp_path / "cam2" / "3.png").unlink()
    assert "as many images of every camera" in fails(*folders, *options)


def test_extrinsics_from_measured_points(tmp_path, capsys):
    truth = ring(3, distortion=(-0.1, 0.02, 0, 0))
    places = np.array(
        [[0, 0, 0], [1, 0, 0], [0, 1.5, 0], [1, 1, 0.5], [-1, 0.5, 1.2], [0.3, -0.8, 2.0]]
    )
    write_rig(
        tmp_path / "intrinsics.yaml",
        RigFile({f"cam{c}": camera for c, camera in enumerate(truth)}, posed=False),
    )

    def text(count: int) -> str:
        points = ", ".join(f"p{i}: {place.tolist()}" for i, place in enumerate(places))
        rows = [
            f"  cam{c}: {{"
            + ", ".join(
                f"p{i}: {p.tolist()}" for i, p in enumerate(camera.project(places)[:count])
            )
            + "}"
            for c, camera in enumerate(truth)
        ]
        return f"points: {{{points}}}\npixels:\n" + "\n".join(rows)

    path = tmp_path / "scene.yaml"
    arguments = [
        "calibrate",
        "extrinsics",
        "--points",
        str(path),
        "--intrinsics",
        str(tmp_path / "intrinsics.yaml"),
        "--output",
        str(tmp_path / "rig.yaml"),
    ]
    path.write_text(text(6))
    assert main(arguments) == 0
    for camera, expected in zip(read_cameras(tmp_path / "rig.yaml").values(), truth, strict=True):
        np.testing.assert_allclose(camera.camera_from_world, expected.camera_from_world, atol=1e-5)
    path.write_text(text(3))
    assert main(arguments) == 1
    assert "camera cam0 shows 3 points, expected at least 4" in capsys.readouterr().err
    path.write_text("points: 1")
    assert main(arguments) == 1
    assert "expected points: {NAME: [x, y, z]}" in capsys.readouterr().err


def test_video_is_read_at_the_wanted_frames(tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / "cam.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480)
    )
    for i in range(12):
        image = (
            np.zeros((480, 640), np.uint8)
            if i % 3
            else photographed(CAMERA, CHESSBOARD, VARIED[i // 3])
        )
        writer.write(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    writer.release()
    views = detect_boards(BoardImages.of(str(tmp_path / "cam.avi")), CHESSBOARD)
    assert views.indices == (0, 3, 6, 9)
    assert views.pictures.name == "cam"


def test_what_a_lens_model_does_not_show_takes_no_part(tmp_path):
    """A corner beyond the fold is left out; a measured point there is an error."""
    camera = ring(1, distortion=(-0.3, 0, 0, 0))[0]  # reaches 632 px from the middle
    pixels = np.array([[640.0 + 20 * i, 480.0 + 15 * (i % 3)] for i in range(8)] + [[5.0, 5.0]])
    seen = BoardObservation(0, 0, Corners(np.arange(9), pixels))
    assert extrinsics._within_lens(camera, seen).corners.ids.tolist() == list(range(8))
    with pytest.raises(ValueError, match="a board lies where the lens model .* shows nothing"):
        extrinsics._within_lens(camera, replace(seen, corners=Corners(np.arange(1), pixels[-1:])))
    path = tmp_path / "scene.yaml"
    places = (
        "a: [0, 0, 0], b: [1, 0, 0], c: [0, 1, 0], d: [1, 1, 0.5], e: [0, 0.5, 1], f: [1, 0, 2]"
    )
    marks = "a: [600, 500], b: [700, 400], c: [650, 420], d: [5, 5], e: [640, 300], f: [500, 333]"
    path.write_text(f"points: {{{places}}}\npixels:\n  cam0: {{{marks}}}\n")
    with pytest.raises(
        ValueError, match="d of camera cam0 lie where its lens model shows nothing"
    ):
        from_points.calibrate(path, {"cam0": camera})
