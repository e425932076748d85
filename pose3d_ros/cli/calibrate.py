"""Calibrate cameras with a board, find where they stand, and correct that from people who walk."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose3d_ros.calibration import (
    extrinsics,
    from_people,
    from_points,
    intrinsics,
    people_matching,
)
from pose3d_ros.calibration.board_images import Pictures, find_boards
from pose3d_ros.calibration.boards import Board
from pose3d_ros.camera import Camera
from pose3d_ros.geometry import quaternion_from_rotation
from pose3d_ros.io.rig_file import RigFile, read_cameras, read_rig, write_rig

PICTURES = (
    "NAME=PATH of a video, an image, a folder of images, or a quoted pattern like "
    "'cam0_*.jpg'; one per camera"
)
SYNCHRONOUS_PX = 2.0  # corners further off on average were not seen in the same moment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands ``intrinsics``, ``extrinsics`` and ``refine``."""
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    first = steps.add_parser(
        "intrinsics", help="focal length and distortion of each camera, from pictures of a board"
    )
    first.add_argument("pictures", nargs="+", type=_pictures, help=PICTURES)
    _add_board(first, required=True)
    first.add_argument(
        "--fisheye", action="store_true", help="equidistant model, for lenses beyond 120 degrees"
    )
    first.add_argument(
        "--output", type=Path, required=True, help="folder for one camera_info YAML per camera"
    )
    second = steps.add_parser(
        "extrinsics", help="where cameras are, from a board that they see together"
    )
    second.add_argument(
        "pictures", nargs="*", type=_pictures, help=f"{PICTURES}; taken in the same moments"
    )
    _add_board(second, required=False)
    second.add_argument(
        "--points",
        type=Path,
        help="instead of a board: YAML with measured points and their pixels",
    )
    second.add_argument(
        "--intrinsics", required=True, help="folder or file with the cameras' calibration"
    )
    second.add_argument(
        "--world",
        help="frame of the result: a camera's name, 'board' (as it lies in the first "
        "picture, z up from it) or 'board@SECONDS' (of images: 'board@INDEX'); default "
        "board",
    )
    second.add_argument("--frame-id", default="world", help="name of that frame (default world)")
    second.add_argument("--output", type=Path, required=True, help="rig YAML to write")
    third = steps.add_parser(
        "refine", help="correct where cameras are, from 2D poses of people who walk"
    )
    third.add_argument(
        "rig", type=Path, help="rig YAML, or another calibration file with extrinsics"
    )
    third.add_argument(
        "poses",
        type=Path,
        help="npz file with poses (N, J, 3: px, score), frame (N,) and view (N,); "
        "or a rosbag2 with each camera's keypoints topic",
    )
    third.add_argument(
        "--skeleton",
        help="joints of the poses, where their number does not tell (body25, body25b)",
    )
    third.add_argument(
        "--bone",
        type=_bone,
        help="JOINT-JOINT=METRES, like r_hip-r_knee=0.45: sets the scale, "
        "which is otherwise that of the given rig",
    )
    third.add_argument("--output", type=Path, required=True, help="rig YAML to write")


def command(options: argparse.Namespace) -> int:
    """Run a step."""
    return {"intrinsics": _intrinsics, "extrinsics": _extrinsics, "refine": _refine}[options.step](
        options
    )


def _add_board(parser: argparse.ArgumentParser, required: bool) -> None:
    kind = parser.add_mutually_exclusive_group(required=required)
    kind.add_argument(
        "--chessboard", type=_size, metavar="CxR", help="inner corners along the rows and columns"
    )
    kind.add_argument(
        "--charuco", type=_size, metavar="CxR", help="squares along the rows and columns"
    )
    parser.add_argument("--square", type=float, metavar="M", help="side of a square in metres")
    parser.add_argument(
        "--marker", type=float, default=0.0, metavar="M", help="side of a ChArUco marker in metres"
    )
    parser.add_argument(
        "--dictionary", default="DICT_4X4_50", help="the markers' dictionary (default DICT_4X4_50)"
    )


def _pictures(text: str) -> Pictures:
    try:
        return Pictures.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _size(text: str) -> tuple[int, int]:
    columns, x, rows = text.lower().partition("x")
    if not (x and columns.isdigit() and rows.isdigit()):
        raise argparse.ArgumentTypeError(f"expected columns x rows like 9x6, got '{text}'")
    return int(columns), int(rows)


def _bone(text: str) -> tuple[str, str, float]:
    joints, _, length = text.partition("=")
    first, _, second = joints.partition("-")
    if (
        first not in people_matching.LIMB_JOINTS
        or second not in people_matching.LIMB_JOINTS
        or first == second
    ):
        raise argparse.ArgumentTypeError(
            f"expected two of {', '.join(people_matching.LIMB_JOINTS)} as A-B=METRES, got '{text}'"
        )
    try:
        metres = float(length)
    except ValueError:
        metres = 0.0
    if not 0.05 < metres < 2:
        raise argparse.ArgumentTypeError(f"expected a length between 0.05 and 2 m, got '{length}'")
    return first, second, metres


def _board(options: argparse.Namespace) -> Board:
    if not options.square:
        raise ValueError(
            "expected --square, the side of a square in metres: the scale of everything comes "
            "from it"
        )
    if options.charuco:
        if not options.marker:
            raise ValueError("expected --marker, the side of a ChArUco marker in metres")
        columns, rows = options.charuco
        return Board(columns, rows, options.square, options.marker, options.dictionary)
    columns, rows = options.chessboard
    return Board(columns, rows, options.square)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _named(pictures: list[Pictures]) -> None:
    names = [p.name for p in pictures]
    if len(set(names)) < len(names):
        raise ValueError(
            f"expected a name of its own for every camera, got {', '.join(names)}: write NAME=PATH"
        )


def _intrinsics(options: argparse.Namespace) -> int:
    _named(options.pictures)
    board, failed = _board(options), []
    options.output.mkdir(parents=True, exist_ok=True)
    for pictures in options.pictures:
        try:
            views = find_boards(pictures, board)
            result = intrinsics.calibrate(views, board, options.fisheye)
        except ValueError as error:
            failed.append(str(error))
            continue
        path = options.output / f"{pictures.name}.yaml"
        intrinsics.write(path, pictures.name, result.camera)
        k, sigma = result.camera.matrix, result.sigma_px
        _say(
            f"{pictures.name}: fx {k[0, 0]:.1f} ± {sigma[0]:.1f}, fy {k[1, 1]:.1f} ± "
            f"{sigma[1]:.1f}, "
            f"cx {k[0, 2]:.1f} ± {sigma[2]:.1f}, cy {k[1, 2]:.1f} ± {sigma[3]:.1f} px; RMS "
            f"{result.rms_px:.2f} px, "
            f"{result.views} of {len(views.indices)} views with the board in {views.looked} "
            f"pictures, covering "
            f"{result.coverage:.0%}; written to {path}"
        )
        if result.rejected:
            _say(f"  left out, blurred or not fitting: {', '.join(result.rejected)}")
        for warning in result.warnings:
            _say(f"  WARNING: {warning}")
    if failed:
        raise ValueError("; ".join(failed))
    return 0


def _extrinsics(options: argparse.Namespace) -> int:
    known = read_rig(options.intrinsics)
    if options.points:
        cameras, errors = from_points.calibrate(options.points, known.cameras)
    else:
        cameras, errors = _from_board(options, known)
    for name, away in errors.items():
        x, y, z = cameras[name].position_m
        _say(
            f"{name}: at {x:.3f} {y:.3f} {z:.3f} m; {len(away)} points, reprojection median "
            f"{np.median(away):.2f} px, "
            f"90 % below {np.quantile(away, 0.9):.2f} px"
        )
        if np.median(away) > SYNCHRONOUS_PX:
            _say(
                f"  WARNING: {name} does not fit well: are the recordings synchronous, was the "
                f"board moved slowly, "
                f"are the intrinsics those of this camera and its focus?"
            )
    rig = RigFile(cameras, options.frame_id, sources=known.sources)
    write_rig(options.output, rig)
    _say(f"written to {options.output}; for TF:")
    for camera in cameras.values():
        _say(static_transform(options.frame_id, camera))
    return 0


def _from_board(
    options: argparse.Namespace, known: RigFile
) -> tuple[dict[str, Camera], dict[str, np.ndarray]]:
    if not (options.chessboard or options.charuco):
        raise ValueError("expected --chessboard or --charuco with pictures of it, or --points")
    if len(options.pictures) < 2:
        raise ValueError(f"expected pictures of at least two cameras, got {len(options.pictures)}")
    _named(options.pictures)
    board, pictures = _board(options), options.pictures
    missing = [p.name for p in pictures if p.name not in known.cameras]
    if missing:
        raise ValueError(
            f"{options.intrinsics} has no camera {', '.join(missing)}, but "
            f"{', '.join(known.cameras)}: "
            f"write NAME=PATH with these names"
        )
    place = options.world or "board"
    name, _, moment = place.partition("@")
    if place not in [p.name for p in pictures] and (
        name != "board" or moment and not _number(moment)
    ):
        raise ValueError(
            f"--world: expected board, board@SECONDS or one of "
            f"{', '.join(p.name for p in pictures)}, "
            f"got '{place}'"
        )
    indices = extrinsics.common_indices(pictures)
    views = [find_boards(p, board, i) for p, i in zip(pictures, indices, strict=True)]
    cameras = {
        p.name: known.cameras[p.name].at_resolution(*v.size)
        for p, v in zip(pictures, views, strict=True)
    }
    result = extrinsics.calibrate(cameras, board, extrinsics.sightings(views, indices))
    if place in cameras:
        result = result.at_camera(place)
    else:
        wanted = float(moment or 0) * pictures[0].rate_hz
        result = result.at_board(int(np.abs(np.array(indices[0]) - wanted).argmin()))
    _say(
        f"{len(result.moments)} moments with the board"
        + (
            f", {result.dropped} left out because views of them contradict each other"
            if result.dropped
            else ""
        )
    )
    return result.cameras, result.errors_px


def _number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False


def static_transform(frame_id: str, camera: Camera) -> str:
    """The command that tells TF where a camera is."""
    (x, y, z), (qx, qy, qz, qw) = (
        camera.position_m,
        quaternion_from_rotation(camera.camera_from_world[:3, :3].T),
    )
    return (
        f"ros2 run tf2_ros static_transform_publisher --x {x:.6f} --y {y:.6f} --z {z:.6f} --qx "
        f"{qx:.8f} "
        f"--qy {qy:.8f} --qz {qz:.8f} --qw {qw:.8f} --frame-id {frame_id} --child-frame-id "
        f"{camera.frame_id}"
    )


def _refine(options: argparse.Namespace) -> int:
    cameras, rig = read_cameras(options.rig), read_rig(options.rig)
    namespaces = [rig.sources.get(name, {}).get("namespace", name) for name in cameras]
    poses = people_matching.load(
        options.poses, list(cameras), list(cameras.values()), options.skeleton, namespaces
    )
    result = from_people.refine(list(cameras.values()), list(cameras), poses, options.bone)
    _say(f"{result.people} times somebody in {result.frames} frames")
    for what, (before, after) in (("used", result.seen), ("held out", result.unseen)):
        _say(
            f"reprojection on frames {what}: median {before.median_px:.2f} -> "
            f"{after.median_px:.2f} px, 90 % below "
            f"{before.p90_px:.1f} -> {after.p90_px:.1f} px ({before.sightings} -> "
            f"{after.sightings} joints)"
        )
    for c, name in enumerate(cameras):
        _say(
            f"{name}: moved {result.moved_mm[c]:.0f} mm (at least ± {result.doubt_mm[c]:.0f}), "
            f"turned "
            f"{result.turned_deg[c]:.2f} degrees (± {result.doubt_deg[c]:.2f})"
        )
    if options.bone:
        _say(
            f"distances were multiplied by {result.scale:.4f} to fit "
            f"{options.bone[0]}-{options.bone[1]}"
        )
    if not result.better:
        raise ValueError(
            f"nothing written: on frames held out the error went from "
            f"{result.unseen[0].median_px:.2f} to "
            f"{result.unseen[1].median_px:.2f} px, less than {from_people.LEAST_GAIN:.0%} better: "
            f"the given "
            f"extrinsics are as good as these people can tell"
        )
    write_rig(
        options.output, replace(rig, cameras=dict(zip(cameras, result.cameras, strict=True)))
    )
    _say(f"written to {options.output}")
    return 0
