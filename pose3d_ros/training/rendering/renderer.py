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

"""Images and labels of posed bodies, by OpenGL without a window (EGL: a GPU, or Mesa in
software).

Needs the ``moderngl`` package and a system with libEGL (Debian: libegl1, libegl-mesa0,
libgl1-mesa-dri).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.errors import Pose3dError
from pose3d_ros.geometry import camera_pose, look_along
from pose3d_ros.training.rendering import shaders, textures
from pose3d_ros.training.rendering.body import Body, Posed

_NEAR_M, _FAR_M = 0.05, 40.0
_MOST_BONES = 192
_SHADOW_TEXELS = 512
_SHADOW_RADIUS_M = 2.5

Colour = tuple[float, float, float]  # sRGB, 0..1


class RenderError(Pose3dError, RuntimeError):
    """OpenGL is not available, or the scene is more than the renderer can draw."""


@dataclass(frozen=True)
class Surface:
    """Two colours, the texture (``textures``) that mixes them, its repetitions per metre, and
    gloss.
    """

    first: Colour = (0.5, 0.5, 0.5)
    second: Colour = (0.3, 0.3, 0.3)
    texture: int = textures.PLAIN
    scale: float = 1.0
    gloss: float = 0.02


@dataclass(frozen=True)
class Appearance:
    """The surfaces of a person, by ``Material``, and how deep the folds of the clothes are."""

    surfaces: tuple[Surface, ...] = (
        Surface((0.85, 0.66, 0.55), (0.80, 0.62, 0.52), textures.GRAIN, 6, 0.1),
        Surface(gloss=0.5),
        Surface((0.2, 0.14, 0.1), (0.35, 0.25, 0.18), textures.GRAIN, 20, 0.08),
        Surface((0.2, 0.35, 0.6)),
        Surface((0.15, 0.15, 0.2)),
        Surface((0.3, 0.2, 0.15), gloss=0.1),
    )
    folds: float = 0.6


@dataclass(frozen=True)
class Actor:
    """Somebody in the scene: ``posed`` is the motion of ``body``."""

    body: Body
    posed: Posed
    look: Appearance = field(default_factory=Appearance)


FLOOR, WALL, CEILING, OBJECT = range(4)
MOST_SURFACES = 8


@dataclass(frozen=True)
class Room:
    """A square room around the world's origin, with a light and boxes as furniture.

    ``surfaces``: of floor, walls, ceiling and up to five more for the boxes (N, 2, 3): lower and
    upper corners in metres, whose surfaces are ``box_surfaces`` (N,), the fourth if empty.
    ``shell``: which of floor, walls and ceiling there are; ``half_m`` from the middle to a wall
    and ``height_m``. ``to_light``: direction of the light.
    """

    surfaces: tuple[Surface, ...] = (
        Surface((0.42, 0.32, 0.22), (0.65, 0.50, 0.36), textures.PLANKS, 1.0, 0.1),
        Surface((0.75, 0.75, 0.70)),
        Surface((0.9, 0.9, 0.9)),
        Surface((0.4, 0.3, 0.25), (0.5, 0.4, 0.3), textures.GRAIN, 0.5),
    )
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 3)))
    box_surfaces: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    shell: tuple[bool, bool, bool] = (True, True, True)
    half_m: float = 6.0
    height_m: float = 3.0
    to_light: tuple[float, float, float] = (0.4, -0.5, 0.8)
    light_colour: Colour = (0.75, 0.72, 0.66)
    sky: Colour = (0.45, 0.47, 0.50)
    ground: Colour = (0.22, 0.20, 0.18)


@dataclass(frozen=True)
class Scene:
    """People in a room, seen for T frames."""

    actors: tuple[Actor, ...]
    room: Room = field(default_factory=Room)


class Renderer:
    """Draws pictures of ``size`` (width, height); lens distortion is not drawn. ``close`` frees
    the context.

    ``images``: the textures (``textures.make``) that surfaces name; without them, the fixed ones.

    Raises ``RenderError`` where no OpenGL can be had.
    """

    def __init__(
        self, size: tuple[int, int], samples: int = 4, images: np.ndarray | None = None
    ) -> None:
        try:
            import moderngl
        except ImportError:
            raise RenderError(
                "rendering needs the 'moderngl' package: pip install moderngl"
            ) from None
        try:
            options: dict[str, Any] = {"backend": "egl"}
            self._gl: Any = moderngl.create_context(standalone=True, **options)
        except Exception as error:  # moderngl passes on whatever EGL says as a bare Exception
            raise RenderError(
                f"no OpenGL context through EGL ({error}); on Debian install libegl1, "
                "libegl-mesa0 and libgl1-mesa-dri"
            ) from None
        gl, self.size = self._gl, size
        gl.enable(moderngl.DEPTH_TEST)
        self._cull_face = moderngl.CULL_FACE
        gl.front_face = "cw"  # pictures are drawn upside down
        self.name: str = gl.info["GL_RENDERER"]
        samples = min(samples, gl.max_samples)
        self._picture = gl.framebuffer([gl.renderbuffer(size, 4)], gl.depth_renderbuffer(size))
        self._sampled = gl.framebuffer(
            [gl.renderbuffer(size, 4, samples=samples)],
            gl.depth_renderbuffer(size, samples=samples),
        )
        images = textures.make(0, textures.VARIED) if images is None else images
        self._textures: Any = None
        self._labels = gl.framebuffer(
            [gl.renderbuffer(size, 2, dtype="f4")], gl.depth_renderbuffer(size)
        )
        self._shadow_map = gl.depth_texture((_SHADOW_TEXELS,) * 2)
        self._shadow_map.compare_func = "<="
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadows = gl.framebuffer(depth_attachment=self._shadow_map)
        self._programs = {
            (what, output): gl.program(vertex, fragment)
            for what, vertex, colours in (
                ("person", shaders.PERSON_VERTEX, shaders.PERSON_FRAGMENT),
                ("room", shaders.ROOM_VERTEX, shaders.ROOM_FRAGMENT),
            )
            for output, fragment in (
                ("picture", colours),
                ("shadow", shaders.SHADOW_FRAGMENT),
                ("label", shaders.LABEL_FRAGMENT),
            )
        }
        self._bones = gl.buffer(reserve=3 * _MOST_BONES * 16)
        self._bones.bind_to_uniform_block(0)
        for what in ("person", "room"):
            _set(self._programs[what, "picture"], shadow=0, textures=1)
        self._scene: Scene | None = None
        self._buffers: list[Any] = []
        self.use(images)

    def close(self) -> None:
        """Free the OpenGL context."""
        self._gl.release()

    def use(self, images: np.ndarray) -> None:
        """Take other textures."""
        import moderngl

        with self._gl:
            if self._textures is not None:
                self._textures.release()
            self._textures = self._gl.texture_array(
                (textures.SIDE, textures.SIDE, len(images)), 3, images.tobytes()
            )
            self._textures.build_mipmaps()
            self._textures.filter = moderngl.LINEAR_MIPMAP_NEAREST, moderngl.LINEAR

    def load(self, scene: Scene) -> None:
        """Bring a scene's meshes to the GPU in place of the last one's."""
        with self._gl:
            self._load(scene)

    def _load(self, scene: Scene) -> None:
        for buffer in self._buffers:
            buffer.release()
        self._buffers = []
        self._people = [
            self._arrays(
                "person", _PERSON_LAYOUT, _person_table(actor.body), actor.body.mesh.triangles
            )
            for actor in scene.actors
        ]
        walls, self._shell_size = _room_table(scene.room)
        self._room_size = len(walls)
        self._room = self._arrays("room", _ROOM_LAYOUT, walls, np.arange(len(walls)))
        self._scene = scene

    def _arrays(
        self, what: str, layout: tuple[str, ...], table: np.ndarray, indices: np.ndarray
    ) -> dict[str, Any]:
        vertices, elements = (
            self._gl.buffer(table.tobytes()),
            self._gl.buffer(indices.astype("u4").tobytes()),
        )
        arrays = {
            output: self._gl.vertex_array(
                self._programs[what, output], [(vertices, *layout)], elements, skip_errors=True
            )
            for output in ("picture", "shadow", "label")
        }
        self._buffers += [vertices, elements, *arrays.values()]
        return arrays

    def picture(self, camera: Camera, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR of the loaded scene; black where there is nothing."""
        return self.layers(camera, frame)[0][..., :3]

    def layers(self, camera: Camera, frame: float) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 4) uint8 BGR and how much of each pixel is covered, and (H, W) float32 metres
        along the optical axis to what is there, infinite where nothing is. ``frame`` may lie
        between two frames.
        """
        with self._gl:
            return self._layers(self._loaded(camera), camera, frame)

    def _layers(self, scene: Scene, camera: Camera, frame: float) -> tuple[np.ndarray, np.ndarray]:
        room = scene.room
        to_light = np.array(room.to_light) / np.linalg.norm(room.to_light)
        light = _light_matrix(
            to_light, scene.actors[0].posed.heads[int(frame), 0] if scene.actors else np.zeros(3)
        )
        self._draw(self._shadows, "shadow", frame, clip_from_world=light.T)

        self._shadow_map.use(0)
        self._textures.use(1)
        self._draw(
            self._sampled,
            "picture",
            frame,
            clip_from_world=_clip_matrix(camera).T,
            light_from_world=light.T,
            eye=camera.position_m,
            to_light=to_light,
            light_colour=room.light_colour,
            sky=room.sky,
            ground=room.ground,
        )
        self._gl.copy_framebuffer(self._picture, self._sampled)
        pixels = np.frombuffer(self._picture.read(components=4), np.uint8)
        depth = np.frombuffer(self._picture.read(components=1, attachment=-1, dtype="f4"), "f4")
        depth_m = _FAR_M * _NEAR_M / (_FAR_M - depth.astype(np.float32) * (_FAR_M - _NEAR_M))
        pixels = pixels.reshape(*self.size[::-1], 4)[..., [2, 1, 0, 3]]
        return pixels, np.where(depth < 1, depth_m, np.inf).reshape(self.size[::-1])

    def labels(self, camera: Camera, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Person (H, W) int and depth (H, W) float32 in metres along the optical axis: -1 and inf
        where nobody is.

        People are numbered as in ``scene.actors``; furniture in front of them hides them.
        """
        self._loaded(camera)
        with self._gl:
            self._draw(
                self._labels,
                "label",
                frame,
                clip_from_world=_clip_matrix(camera).T,
                depth_from_world=camera.camera_from_world[2],
            )
            values = np.frombuffer(self._labels.read(components=2, dtype="f4"), "f4").reshape(
                *self.size[::-1], 2
            )
        person = values[..., 0].astype(int) - 1
        return person, np.where(person >= 0, values[..., 1], np.inf).astype(np.float32)

    def _loaded(self, camera: Camera) -> Scene:
        if self._scene is None:
            raise RenderError("no scene: call load(scene) first")
        if camera.size != self.size:
            raise RenderError(f"expected a camera of {self.size} pixels, got {camera.size}")
        return self._scene

    def _draw(self, target: Any, output: str, frame: float, **uniforms: Any) -> None:
        assert self._scene is not None
        target.use()
        target.clear()
        people, room = self._programs["person", output], self._programs["room", output]
        if (
            output != "shadow"
        ):  # a mesh of triangles smaller than pixels: half of them is half of the time
            self._gl.enable(self._cull_face)
        _set(people, **uniforms)
        for number, (actor, arrays) in enumerate(
            zip(self._scene.actors, self._people, strict=True), 1
        ):
            matrices, share = actor.posed.matrices[int(frame) : int(frame) + 2], frame % 1
            blended = (1 - share) * matrices[0] + share * matrices[-1]
            self._bones.write(blended.astype("f4").tobytes())
            look = actor.look
            _set(people, person=float(number), folds=look.folds, **_surfaces(look.surfaces))
            arrays[output].render()
        self._gl.disable(self._cull_face)
        _set(room, person=0.0, **_surfaces(self._scene.room.surfaces), **uniforms)
        # The walls would throw the whole room into shadow.
        first = self._shell_size if output == "shadow" else 0
        if self._room_size > first:
            self._room[output].render(first=first, vertices=self._room_size - first)


_PERSON_LAYOUT = (
    "3f 3f 3f 1f 4u 4f",
    "position",
    "normal",
    "canonical",
    "material",
    "bones",
    "weights",
)
_ROOM_LAYOUT = ("3f 3f 1f", "position", "normal", "surface")


def _person_table(body: Body) -> np.ndarray:
    mesh = body.mesh
    if len(body.rig.names) > _MOST_BONES:
        raise RenderError(f"expected at most {_MOST_BONES} bones, got {len(body.rig.names)}")
    table = np.zeros(
        len(mesh.vertices), [("floats", "f4", 10), ("bones", "u4", 4), ("weights", "f4", 4)]
    )
    table["floats"] = np.concatenate(
        [mesh.vertices, mesh.normals, mesh.canonical, mesh.material[:, None]], 1
    )
    table["bones"], table["weights"] = mesh.bones, mesh.weights
    return table


def _surfaces(surfaces: tuple[Surface, ...]) -> dict[str, np.ndarray]:
    """Uniforms of the surfaces; the shaders take squares of colours for light and roots of light
    for colours.
    """
    if len(surfaces) > MOST_SURFACES:
        raise RenderError(f"expected at most {MOST_SURFACES} surfaces, got {len(surfaces)}")
    filled = surfaces + (Surface(),) * (MOST_SURFACES - len(surfaces))
    return {
        "first": np.array([s.first for s in filled]) ** 2,
        "second": np.array([s.second for s in filled]) ** 2,
        "layer": np.array([float(s.texture) for s in filled]),
        "scale": np.array([s.scale for s in filled], float),
        "gloss": np.array([s.gloss for s in filled]),
    }


def _room_table(room: Room) -> tuple[np.ndarray, int]:
    """(V, 7) float32 position, normal and surface, and how many are the room's shell; then comes
    the furniture.
    """
    half = room.half_m
    inside = _box_faces(np.array([[[-half, -half, 0], [half, half, room.height_m]]]))
    inside[:, 3:] *= -1
    kind = np.select([inside[:, 5] > 0.5, inside[:, 5] < -0.5], [FLOOR, CEILING], WALL)
    shell = np.column_stack([inside, kind])[np.array(room.shell)[kind]]
    boxes = _box_faces(room.boxes)
    surfaces = room.box_surfaces if len(room.box_surfaces) else np.full(len(room.boxes), OBJECT)
    furniture = np.column_stack([boxes, np.repeat(surfaces, 36)])
    # A buffer cannot be empty.
    nothing = np.zeros((0 if len(shell) + len(furniture) else 3, 7))
    return np.concatenate([shell, furniture, nothing]).astype("f4"), len(shell)


def _box_faces(boxes: np.ndarray) -> np.ndarray:
    """(N * 36, 6) position and outward normal of the triangles of boxes (N, 2, 3)."""
    rows = []
    for low, high in boxes:
        for axis in range(3):
            others = [other for other in range(3) if other != axis]
            for sign, at in ((-1, low), (1, high)):
                corners = np.tile(np.asarray(at, float), (4, 1))
                corners[:, others[0]] = np.array([low, high, high, low])[:, others[0]]
                corners[:, others[1]] = np.array([low, low, high, high])[:, others[1]]
                normal = np.zeros((6, 3))
                normal[:, axis] = sign
                rows.append(np.concatenate([corners[[0, 1, 2, 0, 2, 3]], normal], 1))
    return np.concatenate(rows) if rows else np.zeros((0, 6))


def _set(program: Any, **uniforms: Any) -> None:
    """Write the uniforms that the program has; a compiler drops those that it does not use."""
    for name, value in uniforms.items():
        if name in program:
            member = program[name]
            data = np.asarray(value)
            member.write(
                np.ascontiguousarray(data, "i4" if data.dtype.kind in "iu" else "f4").tobytes()
            )


def _clip_matrix(camera: Camera) -> np.ndarray:
    """(4, 4) clip coordinates from the world, upside down: the first row that OpenGL returns is
    the picture's top.
    """
    width, height = camera.size
    k = camera.matrix
    depth = (_FAR_M + _NEAR_M) / (_FAR_M - _NEAR_M), -2 * _FAR_M * _NEAR_M / (_FAR_M - _NEAR_M)
    # Half a pixel: OpenGL counts from a pixel's corner, the camera from its centre.
    clip_from_camera = np.array(
        [
            [2 * k[0, 0] / width, 2 * k[0, 1] / width, (2 * k[0, 2] + 1) / width - 1, 0],
            [0, 2 * k[1, 1] / height, (2 * k[1, 2] + 1) / height - 1, 0],
            [0, 0, *depth],
            [0, 0, 1, 0],
        ]
    )
    return clip_from_camera @ camera.camera_from_world


def _light_matrix(to_light: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(4, 4) orthographic view from the light of what is near ``centre``."""
    down = (0.0, 0.0, -1.0) if abs(to_light[2]) < 0.99 else (0.0, -1.0, 0.0)
    rotation = look_along(-to_light, down) * [[1], [-1], [1]]  # OpenGL's y points up
    return camera_pose(rotation / _SHADOW_RADIUS_M, centre)
