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

"""People in space in a web browser: skeletons on a floor, cameras with their pictures, and the
course of one joint.
"""

from __future__ import annotations

import io
import socket
from collections import deque
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.camera import Camera
from pose3d_ros.drawing import colour, limb_colours
from pose3d_ros.errors import Pose3dError
from pose3d_ros.geometry import inverse_transform, quaternion_from_rotation
from pose3d_ros.people import People3D, TrackState, guessed
from pose3d_ros.skeleton import H36M17, Skeleton

Floats = npt.NDArray[np.floating[Any]]
LIMB_M, UNSEEN_LIMB_M, TRAIL_M, JOINT_M = 0.035, 0.012, 0.01, 0.05  # thickness of what is drawn
PALE = 0.5  # share of their colour that people keep who are predicted
ANKLE_ABOVE_FLOOR_M, ABOVE_HEAD_M = 0.08, 0.2
TRAIL_S, PLOT_S, PLOT_PERIOD_S = 5.0, 10.0, 0.2
FRUSTUM_M, PICTURE_PX = 0.4, 480
SEEN_AT_M = 4.0  # how far from a rig's cameras people are thought to be
BACKGROUND, CELL, SECTION, FRUSTUM = (24, 26, 30), (58, 63, 70), (96, 104, 114), (200, 200, 200)
PLOT_COLOURS = ("#e66767", "#6cc66c", "#6a9cff")
NOBODY = "nobody"
UPRIGHT_FROM_OPTICAL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)  # REP-103


class BrowserViewError(Pose3dError, RuntimeError):
    """A view that cannot be served."""


@dataclass
class _Course:
    """Where a person's pelvis and the plotted joint have been: (s, metres (3,)), oldest first."""

    pelvis: deque[tuple[float, Floats]] = field(default_factory=deque)
    joint: deque[tuple[float, Floats]] = field(default_factory=deque)

    def forget(self, now_s: float) -> None:
        """Drop what is too old to be shown, and what is of the future: time has jumped back."""
        for course, kept_s in ((self.pelvis, TRAIL_S), (self.joint, PLOT_S)):
            while course and not 0 <= now_s - course[0][0] <= kept_s:
                course.popleft()


class BrowserView:
    """A web page on which people move, for any number of browsers.

    ``optical``: whether people come in a camera's optical frame (x right, y down, z forward); else
    z is up. ``port`` 0 takes any that is free, and the next free one is taken where it is not.
    Whoever reaches the address may look: localhost is this machine alone. Raises
    ``BrowserViewError`` without viser, and for an address that is not this machine's.
    """

    def __init__(
        self,
        address: str = "localhost",
        port: int = 8080,
        optical: bool = True,
        skeleton: Skeleton = H36M17,
    ) -> None:
        try:
            import viser
        except ImportError as error:
            raise BrowserViewError(
                f"the browser view needs viser, which cannot be imported ({error}): "
                f"python3 -m pip install viser"
            ) from None
        try:
            with socket.create_server((address, 0)):  # viser waits for ever where this fails
                pass
            with redirect_stdout(io.StringIO()):  # it prints a banner
                self._server = viser.ViserServer(address, port, "pose3d", verbose=False)
        except OSError as error:
            raise BrowserViewError(
                f"expected an address of this machine, such as localhost or 0.0.0.0, got "
                f"{address}: {error}"
            ) from None
        self.url = f"http://{address}:{self._server.get_port()}"
        self._skeleton = skeleton
        self._courses: dict[int, _Course] = {}
        self._labels: dict[int, Any] = {}
        self._frusta: dict[str, Any] = {}
        self._places: list[tuple[Floats, Floats]] = []  # of the cameras, and where they look
        self._ankles_m: deque[float] = deque(maxlen=300)
        self._followed_m: Floats | None = None
        self._plotted_s = 0.0
        self._build_scene()
        self._build_controls()
        self.set_optical(optical)

    def _build_scene(self) -> None:
        scene, nothing = self._server.scene, np.zeros((0, 2, 3), np.float32)
        scene.set_background_image(np.full((1, 1, 3), BACKGROUND, np.uint8))
        self._grid = scene.add_grid(
            "/floor", 12.0, 12.0, cell_color=CELL, section_color=SECTION, shadow_opacity=0.0
        )
        self._frame = scene.add_frame("/frame", axes_length=0.3, axes_radius=0.008)
        self._limbs, self._unseen, self._trails = (
            scene.add_line_segments(f"/frame/{name}", nothing, nothing, thickness=thickness)
            for name, thickness in (
                ("limbs", LIMB_M),
                ("unseen", UNSEEN_LIMB_M),
                ("trails", TRAIL_M),
            )
        )
        self._joints = scene.add_point_cloud(
            "/frame/joints", nothing[:, 0], nothing[:, 0], point_size=JOINT_M, point_shape="circle"
        )

    def _build_controls(self) -> None:
        gui: Any = self._server.gui
        # its share button would send everything through a public server
        gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        self._status = gui.add_markdown("waiting for people")
        self._paused = gui.add_checkbox("pause", False)
        self._person = gui.add_dropdown("person", (NOBODY,))
        self._follows = gui.add_checkbox("follow", False, hint="the camera goes with the person")
        self._joint = gui.add_dropdown("joint", self._skeleton.joints, initial_value="pelvis")
        self._joint.on_update(lambda _: self._forget_joint())
        self._plot = gui.add_uplot(
            (np.zeros(1),) * 4,
            (
                {"label": "s"},
                *(
                    {"label": f"{axis} m", "stroke": stroke, "width": 2}
                    for axis, stroke in zip("xyz", PLOT_COLOURS, strict=True)
                ),
            ),
            scales={"x": {"time": False, "auto": False, "range": (0.0, PLOT_S)}},
            height=200,
        )
        self._hidden: set[str] = set()
        with gui.add_folder("show"):
            for name in ("ids", "trails", "unseen", "cameras", "floor"):
                box = gui.add_checkbox(name, True)
                box.on_update(partial(self._show_or_hide, name))

    def _show_or_hide(self, name: str, event: Any) -> None:
        shown = event.target.value
        (self._hidden.discard if shown else self._hidden.add)(name)
        drawn = {
            "ids": [*self._labels.values()],
            "trails": [self._trails],
            "unseen": [self._unseen],
            "cameras": [*self._frusta.values()],
            "floor": [self._grid],
        }
        for handle in drawn[name]:
            handle.visible = shown

    def set_optical(self, optical: bool) -> None:
        """Take the people's frame for a camera's optical one, or for one with z up."""
        upright = UPRIGHT_FROM_OPTICAL if optical else np.eye(3)
        self._upright_from_frame, self.optical = upright, optical
        self._frame.wxyz = _wxyz(upright)
        start = self._server.initial_camera
        start.look_at = (0.0, 3.0, 0.0) if optical else (0.0, 0.0, 0.8)
        start.position = (2.5, -1.0, 1.5) if optical else (3.0, -3.0, 2.0)

    @property
    def watched(self) -> bool:
        """Whether any browser has the page open."""
        return bool(self._server.get_clients())

    def show(self, people: People3D) -> None:
        """Show people who have the view's joints at least, unless somebody has paused it."""
        if self._paused.value:
            return
        now_s = people.stamp_ns * 1e-9
        self._remember(people, now_s)
        with self._server.atomic():
            self._draw_limbs(people)
            self._draw_trails()
            self._draw_ids(people)
            self._draw_floor(people)
        count = f"{len(people)} {'person' if len(people) == 1 else 'people'}"
        self._status.content = f"{count} in `{people.frame_id}` at {now_s:.2f} s"
        self._offer(people)
        self._follow()
        if abs(now_s - self._plotted_s) > PLOT_PERIOD_S:
            self._plotted_s = now_s
            self._plot_joint()

    def show_camera(
        self, name: str, camera: Camera, picture_bgr: npt.NDArray[np.uint8] | None = None
    ) -> None:
        """Show a camera where ``camera_from_world`` has it, in the people's frame, and what it
        sees: (H, W, 3).
        """
        picture = None
        if picture_bgr is not None:
            step = max(1, picture_bgr.shape[1] // PICTURE_PX)
            picture = np.ascontiguousarray(picture_bgr[::step, ::step, ::-1])
        if (frustum := self._frusta.get(name)) is not None:
            if picture is not None and not self._paused.value:
                frustum.image = picture
            return
        width, height = camera.size
        place = inverse_transform(camera.camera_from_world)
        self._frusta[name] = self._server.scene.add_camera_frustum(
            f"/frame/cameras/{name}",
            fov=2 * float(np.arctan2(height / 2, camera.matrix[1, 1])),
            aspect=width / height,
            scale=FRUSTUM_M,
            thickness=0.008,
            color=FRUSTUM,
            image=picture,
            format="jpeg",
            jpeg_quality=70,
            wxyz=_wxyz(place[:3, :3]),
            position=place[:3, 3],
            visible="cameras" not in self._hidden,
        )
        self._places.append((place[:3, 3], place[:3, 2]))
        if not self.optical:
            self._start_before_cameras()

    def _start_before_cameras(self) -> None:
        """Let browsers look from above at what a rig's cameras look at, from the side where they
        are not, so that no camera's picture hides anybody.
        """
        places, directions = np.mean(self._places, axis=0)
        looked_at = places + SEEN_AT_M * directions
        aside = (looked_at - places)[:2]
        aside = aside / max(np.linalg.norm(aside), 1.0)  # short where cameras stand all around
        clients = self._server.get_clients().values()
        starts: list[Any] = [self._server.initial_camera, *(client.camera for client in clients)]
        for start in starts:
            start.position = (*(looked_at[:2] + 2.0 * aside + (1.5, -1.5)), 4.0)
            start.look_at = (*looked_at[:2], 0.8)

    def close(self) -> None:
        """Close the page and its address."""
        with redirect_stdout(io.StringIO()):
            self._server.stop()

    def _remember(self, people: People3D, now_s: float) -> None:
        pelvis, joint = people.joint("pelvis"), people.joint(self._joint.value)
        for row, person in enumerate(people.ids.tolist()):
            course = self._courses.setdefault(person, _Course())
            course.pelvis.append((now_s, pelvis[row]))
            course.joint.append((now_s, joint[row]))
        for course in self._courses.values():
            course.forget(now_s)
        self._courses = {person: c for person, c in self._courses.items() if c.joint}

    def _draw_limbs(self, people: People3D) -> None:
        """Limbs that are seen thick, those that are guessed thin; predicted people pale."""
        limbs, joints = people.skeleton.limb_indices, people.joints_m
        ends, known = joints[:, limbs], np.isfinite(joints).all(-1)
        seen = ~guessed(people.confidence, people.sigma_m, people.states)
        drawn, thick = known[:, limbs].all(-1), seen[:, limbs].all(-1)
        rgb = np.zeros((len(people), len(limbs), 3))
        for row, person in enumerate(people.ids.tolist()):
            rgb[row] = limb_colours(people.skeleton, person)
        rgb[people.states == TrackState.OCCLUDED] *= PALE
        for handle, which in ((self._limbs, drawn & thick), (self._unseen, drawn & ~thick)):
            handle.points = ends[which].astype(np.float32)
            handle.colors = _bytes(np.repeat(rgb[which][:, None], 2, axis=1))
        shown = known & seen
        self._joints.points = joints[shown].astype(np.float32)
        self._joints.colors = np.full((shown.sum(), 3), 255, np.uint8)

    def _draw_trails(self) -> None:
        ends, rgb = [np.zeros((0, 2, 3))], [np.zeros((0, 3))]
        for person, course in self._courses.items():
            places = np.array([place for _, place in course.pelvis]).reshape(-1, 3)
            steps = np.stack([places[:-1], places[1:]], axis=1)
            ends.append(steps[np.isfinite(steps).all((1, 2))])
            rgb.append(np.tile(colour(person), (len(ends[-1]), 1)))
        self._trails.points = np.concatenate(ends).astype(np.float32)
        self._trails.colors = _bytes(np.repeat(np.concatenate(rgb)[:, None], 2, axis=1))

    def _draw_ids(self, people: People3D) -> None:
        """Id, speed and uncertainty of each person above the highest joint."""
        for gone in set(self._labels) - set(people.ids.tolist()):
            self._labels.pop(gone).remove()
        up, known = self._upright_from_frame[2], np.isfinite(people.joints_m).all(-1)
        pelvis = people.skeleton.index("pelvis")
        for row, person in enumerate(people.ids.tolist()):
            joints = people.joints_m[row][known[row]]
            if not len(joints):
                continue
            speed = np.linalg.norm(people.velocity_mps[row, pelvis])
            sigma_cm = 100 * np.median(people.sigma_m[row][known[row]])
            text = f"{person}  {_number(speed, 'm/s', 1)}  ±{_number(sigma_cm, 'cm', 0)}"
            place = joints[(joints @ up).argmax()] + ABOVE_HEAD_M * up
            if (label := self._labels.get(person)) is None:
                self._labels[person] = self._server.scene.add_label(
                    f"/frame/ids/{person}",
                    text,
                    position=place,
                    anchor="bottom-center",
                    visible="ids" not in self._hidden,
                )
            else:
                label.text, label.position = text, place

    def _draw_floor(self, people: People3D) -> None:
        """In an optical frame the floor is where most feet have been; else z is 0 there."""
        if not self.optical:
            return
        heights = people.to(H36M17).joints_m @ self._upright_from_frame[2]
        lowest = np.nanmin(heights, axis=1, initial=np.inf)
        self._ankles_m.extend(lowest[np.isfinite(lowest)].tolist())
        if self._ankles_m:
            floor = float(np.median(self._ankles_m)) - ANKLE_ABOVE_FLOOR_M
            self._grid.position = (0.0, 0.0, floor)

    def _offer(self, people: People3D) -> None:
        """Offer the people who are there; the first one is chosen where nobody was."""
        there = tuple(str(person) for person in sorted(self._courses)) or (NOBODY,)
        if there != tuple(self._person.options):
            chosen = self._person.value
            self._person.options = there
            self._person.value = chosen if chosen in there else there[0]

    def _follow(self) -> None:
        """Let the cameras of all browsers go with the chosen person."""
        course = self._chosen()
        place = course.pelvis[-1][1] if course and course.pelvis else None
        if place is None or not np.isfinite(place).all() or not self._follows.value:
            self._followed_m = None
            return
        upright = self._upright_from_frame @ place
        for client in self._server.get_clients().values():
            if self._followed_m is None:
                client.camera.look_at = upright
            else:
                client.camera.position = client.camera.position + upright - self._followed_m
                client.camera.look_at = upright
        self._followed_m = upright

    def _plot_joint(self) -> None:
        if (course := self._chosen()) is not None and course.joint:
            times = np.array([time for time, _ in course.joint])
            places = np.array([place for _, place in course.joint], float)
            self._plot.data = (PLOT_S + times - times[-1], *places.T)

    def _forget_joint(self) -> None:
        for course in self._courses.values():
            course.joint.clear()

    def _chosen(self) -> _Course | None:
        chosen = self._person.value
        return None if chosen == NOBODY else self._courses.get(int(chosen))


def _wxyz(rotation: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.roll(quaternion_from_rotation(rotation), 1)


def _bytes(rgb: Floats) -> npt.NDArray[np.uint8]:
    return (255 * rgb).round().astype(np.uint8)


def _number(value: Any, unit: str, digits: int) -> str:
    return f"{value:.{digits}f} {unit}" if np.isfinite(value) else f"? {unit}"
