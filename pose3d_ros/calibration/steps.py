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

"""Steps of ``pose3d calibrate``: each reads what its options name, writes a calibration and
prints the result.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from pose3d_ros.calibration import (
    extrinsics,
    from_people,
    from_points,
    intrinsics,
    people_matching,
    printed_board,
    recorded_keypoints,
    time_offsets,
)
from pose3d_ros.calibration.board_images import BoardImages, detect_boards
from pose3d_ros.calibration.boards import Board
from pose3d_ros.calibration.progress import counted
from pose3d_ros.camera import Camera
from pose3d_ros.errors import CalibrationError
from pose3d_ros.geometry import quaternion_from_rotation
from pose3d_ros.io.image_sources import check_exists, is_device
from pose3d_ros.io.rig_file import RigFile, namespace_of, read_cameras, read_rig, write_rig
from pose3d_ros.io.rig_formats import SOURCES
from pose3d_ros.io.rig_time import has_film, stamp_offset_ns
from pose3d_ros.people import People2D
from pose3d_ros.text_files import local_path

DEFAULT_SQUARES, DEFAULT_SQUARE_M, DEFAULT_MARKER = (7, 5), 0.035, 0.75  # fits on A4
SYNCHRONOUS_PX = 2.0  # corners further off on average were not seen in the same moment


def _board(options: argparse.Namespace) -> Board:
    if not options.square:
        raise CalibrationError(
            "expected --square, the side of a square in metres: the scale of everything comes "
            "from it"
        )
    if options.charuco:
        if not options.marker:
            raise CalibrationError("expected --marker, the side of a ChArUco marker in metres")
        columns, rows = options.charuco
        return Board(columns, rows, options.square, options.marker, options.dictionary)
    columns, rows = options.chessboard
    return Board(columns, rows, options.square)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _named(pictures: list[BoardImages]) -> None:
    names = [p.name for p in pictures]
    if len(set(names)) < len(names):
        raise CalibrationError(
            f"expected a name of its own for every camera, got {', '.join(names)}: write NAME=PATH"
        )


def print_board(options: argparse.Namespace) -> int:
    """A board as a PDF in true size, by default one that fits on A4, and the options that name
    it to the other steps.
    """
    if not (options.chessboard or options.charuco):
        options.charuco = DEFAULT_SQUARES
        options.square = options.square or DEFAULT_SQUARE_M
        options.marker = options.marker or DEFAULT_MARKER * options.square
    board = _board(options)
    sheet = printed_board.write_pdf(options.output, board)
    kind = "charuco" if board.charuco else "chessboard"
    named = f"--{kind} {board.columns}x{board.rows} --square {board.square_m:g}"
    if board.charuco:
        named += f" --marker {board.marker_m:g} --dictionary {board.dictionary}"
    _say(
        f"written to {options.output}: print it on {sheet} in actual size (100 %), measure the "
        f"line, fix it flat on something stiff; then give the other steps {named}"
    )
    return 0


def calibrate_intrinsics(options: argparse.Namespace) -> int:
    """Focal length and distortion of each camera, from pictures of a board."""
    _named(options.pictures)
    board, failed = _board(options), []
    options.output.mkdir(parents=True, exist_ok=True)
    for pictures in options.pictures:
        try:
            views = detect_boards(pictures, board)
            result = intrinsics.calibrate(views, board, options.fisheye)
        except ValueError as error:
            failed.append(str(error))
            continue
        path = options.output / f"{pictures.name}.yaml"
        intrinsics.write(path, pictures.name, result.camera)
        k, sigma = result.camera.matrix, result.sigma_px
        _say(
            f"{pictures.name}: fx {k[0, 0]:.1f} ± {sigma[0]:.1f}, fy {k[1, 1]:.1f} ± "
            f"{sigma[1]:.1f}, cx {k[0, 2]:.1f} ± {sigma[2]:.1f}, cy {k[1, 2]:.1f} ± "
            f"{sigma[3]:.1f} px; RMS {result.rms_px:.2f} px, {result.views} of "
            f"{len(views.indices)} views with the board in {views.searched} pictures, covering "
            f"{result.coverage:.0%}; written to {path}"
        )
        if result.rejected:
            _say(f"  left out, blurred or not fitting: {', '.join(result.rejected)}")
        for warning in result.warnings:
            _say(f"  WARNING: {warning}")
    if failed:
        raise CalibrationError("; ".join(failed))
    return 0


def calibrate_extrinsics(options: argparse.Namespace) -> int:
    """Poses of the cameras, from a board or from measured points."""
    known = read_rig(options.intrinsics)
    if options.points:
        cameras, errors = from_points.calibrate(options.points, known.cameras)
    else:
        cameras, errors = _from_board(options, known)
    for name, away in errors.items():
        x, y, z = cameras[name].position_m
        _say(
            f"{name}: at {x:.3f} {y:.3f} {z:.3f} m; {len(away)} points, reprojection median "
            f"{np.median(away):.2f} px, 90 % below {np.quantile(away, 0.9):.2f} px"
        )
        if np.median(away) > SYNCHRONOUS_PX:
            _say(
                f"  WARNING: {name} does not fit well: are the recordings synchronous, was the "
                "board moved slowly, are the intrinsics those of this camera and its focus?"
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
        raise CalibrationError(
            "expected --chessboard or --charuco with pictures of it, or --points"
        )
    if len(options.pictures) < 2:
        raise CalibrationError(
            f"expected pictures of at least two cameras, got {len(options.pictures)}"
        )
    _named(options.pictures)
    board, pictures = _board(options), options.pictures
    missing = [p.name for p in pictures if p.name not in known.cameras]
    if missing:
        raise CalibrationError(
            f"{options.intrinsics} has no camera {', '.join(missing)}, but "
            f"{', '.join(known.cameras)}: write NAME=PATH with these names"
        )
    place = options.world or "board"
    name, _, moment = place.partition("@")
    if place not in [p.name for p in pictures] and (
        name != "board" or moment and not _number(moment)
    ):
        raise CalibrationError(
            "--world: expected board, board@SECONDS or one of "
            f"{', '.join(p.name for p in pictures)}, got '{place}'"
        )
    indices = extrinsics.common_indices(pictures)
    views = [detect_boards(p, board, i) for p, i in zip(pictures, indices, strict=True)]
    cameras = {
        p.name: known.cameras[p.name].at_resolution(*v.size)
        for p, v in zip(pictures, views, strict=True)
    }
    result = extrinsics.calibrate(cameras, board, extrinsics.board_observations(views, indices))
    if place in cameras:
        result = result.at_camera(place)
    else:
        apart_s = np.abs(pictures[0].times_s[indices[0]] - float(moment or 0))
        result = result.at_board(int(apart_s.argmin()))
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
        f"{qx:.8f} --qy {qy:.8f} --qz {qz:.8f} --qw {qw:.8f} --frame-id {frame_id} "
        f"--child-frame-id {camera.frame_id}"
    )


def refine(options: argparse.Namespace) -> int:
    """Poses of the cameras corrected from people; ``CalibrationError`` where that is no better."""
    cameras, rig = read_cameras(options.rig), read_rig(options.rig)
    in_bag = options.poses.suffix != ".npz"
    poses = people_matching.load_poses(
        options.poses,
        list(cameras),
        list(cameras.values()),
        options.skeleton,
        _namespaces(rig) if in_bag else None,
        [stamp_offset_ns(rig, name) for name in cameras],
    )
    result = from_people.refine(list(cameras.values()), list(cameras), poses, options.bone, _say)
    _say(f"{result.people} times somebody in {result.frames} frames")
    for what, (before, after) in (("used", result.used), ("held out", result.held_out)):
        _say(
            f"reprojection on frames {what}: median {before.median_px:.2f} -> "
            f"{after.median_px:.2f} px, 90 % below {before.p90_px:.1f} -> {after.p90_px:.1f} px "
            f"({before.observations} -> {after.observations} joints)"
        )
    for c, name in enumerate(cameras):
        _say(
            f"{name}: moved {result.moved_mm[c]:.0f} mm (at least ± {result.sigma_mm[c]:.0f}), "
            f"turned {result.turned_deg[c]:.2f} degrees (± {result.sigma_deg[c]:.2f})"
        )
    if options.bone:
        _say(
            f"distances were multiplied by {result.scale:.4f} to fit "
            f"{options.bone[0]}-{options.bone[1]}"
        )
    if not result.better:
        raise CalibrationError(
            "nothing written: on frames held out the error went from "
            f"{result.held_out[0].median_px:.2f} to {result.held_out[1].median_px:.2f} px, less "
            f"than {from_people.MIN_GAIN:.0%} better: the given extrinsics are as good as these "
            "people can tell"
        )
    write_rig(
        options.output, replace(rig, cameras=dict(zip(cameras, result.cameras, strict=True)))
    )
    _say(f"written to {options.output}")
    return 0


def calibrate_time(
    options: argparse.Namespace, seen_by: Callable[[RigFile, str], Iterable[People2D]]
) -> int:
    """Offsets between the cameras' times, from people's motion in a bag, or in the films that
    the rig file names, whose 2D people ``seen_by`` gives for a camera.
    """
    cameras, rig = read_cameras(options.rig), read_rig(options.rig)
    names = list(cameras)
    if options.poses is not None:
        filmed = [name for name in names if has_film(rig, name)]
        if filmed:
            raise CalibrationError(
                f"camera {filmed[0]} has a film in {options.rig}, whose offset is not that of the "
                f"stamps in {options.poses}: leave the bag out, or the film's line in the rig file"
            )
        seen = recorded_keypoints.read_people(options.poses, _namespaces(rig))
    else:
        seen = [list(counted(seen_by(rig, name), name)) for name in names]
    result = time_offsets.estimate(list(cameras.values()), names, seen, _say)
    for name, offset_s, sigma_s in zip(names, result.offset_s, result.sigma_s, strict=True):
        known = f" ± {1e3 * sigma_s:.1f} ms" if name != names[0] else ", whose time is the rig's"
        _say(f"{name}: {1e3 * offset_s:+.1f} ms{known}")
    _say(
        f"distance between the rays of one joint, median: {result.before_mrad:.1f} -> "
        f"{result.after_mrad:.1f} mrad"
    )
    offsets_s = dict(zip(names, np.round(result.offset_s, 6).tolist(), strict=True))
    write_rig(options.output, _beside(replace(rig, time_offsets_s=offsets_s), options))
    _say(f"written to {options.output}")
    return 0


def _namespaces(rig: RigFile) -> list[str]:
    """Of each camera's topics, as the nodes have them."""
    return [namespace_of(name, rig.sources.get(name, {})) for name in rig.cameras]


def _beside(rig: RigFile, options: argparse.Namespace) -> RigFile:
    """The rig with films that are relative to the folder of ``options.output``."""
    folder = local_path(options.rig[0] if isinstance(options.rig, list) else options.rig).parent
    sources = {name: dict(entry) for name, entry in rig.sources.items()}
    for entry in sources.values():
        if (folder / (video := entry.get("video", ""))).is_file():
            entry["video"] = os.path.relpath(folder / video, options.output.parent)
    return replace(rig, sources=sources)


def convert(options: argparse.Namespace) -> int:
    """Another program's calibration as rig YAML."""
    rig = read_rig(options.rig, options.scale)
    rig = _beside(rig, options)
    for name, video in options.video:
        if name not in rig.cameras:
            raise CalibrationError(
                f"--video: expected one of {', '.join(rig.cameras)}, got '{name}'"
            )
        if not is_device(video):
            check_exists(video)
            video = os.path.relpath(video, options.output.parent)
        rig.sources.setdefault(name, {})["video"] = video
    write_rig(options.output, rig)
    for name, camera in rig.cameras.items():
        x, y, z = camera.position_m
        place = f" at {x:.3f} {y:.3f} {z:.3f} m" if rig.posed else ""
        _say(f"{name}: {camera.size[0]}x{camera.size[1]}{place}")
    _say(
        f"written to {options.output}; a camera's entry can have {', '.join(SOURCES)}, which say "
        f"where its images come from"
    )
    return 0
