"""Pictures and labels of posed bodies, by OpenGL without a window (EGL: a GPU, or Mesa in software).

Needs the ``moderngl`` package and a system with libEGL (Debian: libegl1, libegl-mesa0, libgl1-mesa-dri).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.training.synthetic import shaders
from pose3d_ros.training.synthetic.body import Body, Material, Posed

_NEAR_M, _FAR_M = 0.05, 40.0
_MOST_BONES = 192
_HALF_ROOM_M = 6.0
_SHADOW_TEXELS = 1024
_SHADOW_RADIUS_M = 4.5

Colour = tuple[float, float, float]  # sRGB, 0..1


class RenderError(RuntimeError):
    """OpenGL is not available, or the scene is more than the renderer can draw."""


@dataclass(frozen=True)
class Look:
    """Colours and cloth of a person, indexed by ``Material``.

    ``pattern``: 0 plain, 1 horizontal stripes, 2 vertical stripes, 3 checks, 4 blotches, 5 a print on the chest.
    ``scale``: periods per metre.
    """

    colours: tuple[Colour, ...] = ((0.85, 0.66, 0.55), (1, 1, 1), (0.2, 0.14, 0.1), (0.2, 0.35, 0.6), (0.15, 0.15, 0.2),
                                   (0.3, 0.2, 0.15))
    second: tuple[Colour, ...] = ((0, 0, 0),) * 3 + ((0.9, 0.9, 0.9), (0.3, 0.3, 0.35), (0.9, 0.9, 0.9))
    pattern: tuple[int, ...] = (0,) * len(Material)
    scale: tuple[float, ...] = (20.0,) * len(Material)


@dataclass(frozen=True)
class Actor:
    """Somebody in the scene: ``posed`` is the motion of ``body``."""

    body: Body
    posed: Posed
    look: Look = field(default_factory=Look)


@dataclass(frozen=True)
class Room:
    """A 12 m square room, 3 m high, around the world's origin, with a light and boxes as furniture.

    ``floor`` and ``wall`` name colour and kind: floor 0 carpet, 1 planks, 2 tiles; wall 0 plain, 1 bricks, 2 pictures.
    ``boxes`` (N, 2, 3): lower and upper corners in metres. ``to_light``: direction of the light.
    """

    floor: tuple[Colour, int] = ((0.55, 0.42, 0.30), 1)
    wall: tuple[Colour, int] = ((0.75, 0.75, 0.70), 0)
    object_colour: Colour = (0.4, 0.3, 0.25)
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 3)))
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
    """Draws pictures of ``size`` (width, height); lens distortion is not drawn. ``close`` frees the context.

    Raises ``RenderError`` where no OpenGL can be had.
    """

    def __init__(self, size: tuple[int, int], samples: int = 4) -> None:
        try:
            import moderngl
        except ImportError:
            raise RenderError("rendering needs the 'moderngl' package: pip install moderngl") from None
        try:
            options: dict[str, Any] = {"backend": "egl"}
            self._gl: Any = moderngl.create_context(standalone=True, **options)
        except Exception as error:  # moderngl passes on whatever EGL says as a bare Exception
            raise RenderError(f"no OpenGL context through EGL ({error}); on Debian install libegl1, libegl-mesa0 and "
                              f"libgl1-mesa-dri") from None
        gl, self.size = self._gl, size
        gl.enable(moderngl.DEPTH_TEST)
        self.name: str = gl.info["GL_RENDERER"]
        samples = min(samples, gl.max_samples)
        self._picture = gl.framebuffer([gl.renderbuffer(size, 4)], gl.depth_renderbuffer(size))
        self._sampled = gl.framebuffer([gl.renderbuffer(size, 4, samples=samples)],
                                       gl.depth_renderbuffer(size, samples=samples))
        self._labels = gl.framebuffer([gl.renderbuffer(size, 2, dtype="f4")], gl.depth_renderbuffer(size))
        self._shadow_map = gl.depth_texture((_SHADOW_TEXELS,) * 2)
        self._shadow_map.compare_func = "<="
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadows = gl.framebuffer(depth_attachment=self._shadow_map)
        self._programs = {
            (what, output): gl.program(vertex, fragment)
            for what, vertex, colours in (("person", shaders.PERSON_VERTEX, shaders.PERSON_FRAGMENT),
                                          ("room", shaders.ROOM_VERTEX, shaders.ROOM_FRAGMENT))
            for output, fragment in (("picture", colours), ("shadow", shaders.SHADOW_FRAGMENT),
                                     ("label", shaders.LABEL_FRAGMENT))
        }
        self._bones = gl.buffer(reserve=3 * _MOST_BONES * 16)
        self._bones.bind_to_uniform_block(0)
        self._scene: Scene | None = None
        self._buffers: list[Any] = []

    def close(self) -> None:
        """Free the OpenGL context."""
        self._gl.release()

    def load(self, scene: Scene) -> None:
        """Bring a scene's meshes to the GPU in place of the last one's."""
        for buffer in self._buffers:
            buffer.release()
        self._buffers = []
        self._people = [self._arrays("person", _PERSON_LAYOUT, _person_table(actor.body), actor.body.mesh.triangles)
                        for actor in scene.actors]
        walls, self._shell_size = _room_table(scene.room)
        self._room = self._arrays("room", _ROOM_LAYOUT, walls, np.arange(len(walls)))
        self._scene = scene

    def _arrays(self, what: str, layout: tuple[str, ...], table: np.ndarray, indices: np.ndarray) -> dict[str, Any]:
        vertices, elements = self._gl.buffer(table.tobytes()), self._gl.buffer(indices.astype("u4").tobytes())
        arrays = {output: self._gl.vertex_array(self._programs[what, output], [(vertices, *layout)], elements,
                                                skip_errors=True) for output in ("picture", "shadow", "label")}
        self._buffers += [vertices, elements, *arrays.values()]
        return arrays

    def picture(self, camera: Camera, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR of the loaded scene."""
        scene = self._loaded(camera)
        room = scene.room
        to_light = np.array(room.to_light) / np.linalg.norm(room.to_light)
        roots = [actor.posed.heads[frame, 0] for actor in scene.actors]
        light = _light_matrix(to_light, np.mean(roots, 0) if roots else np.zeros(3))
        self._draw(self._shadows, "shadow", frame, clip_from_world=light.T)

        self._shadow_map.use(0)
        self._draw(self._sampled, "picture", frame, clip_from_world=_clip_matrix(camera).T, light_from_world=light.T,
                   eye=camera.position_m, to_light=to_light, light_colour=room.light_colour, sky=room.sky,
                   ground=room.ground, floor_colour=room.floor[0], floor_kind=room.floor[1], wall_colour=room.wall[0],
                   wall_kind=room.wall[1], object_colour=room.object_colour)
        self._gl.copy_framebuffer(self._picture, self._sampled)
        pixels = np.frombuffer(self._picture.read(components=3), np.uint8)
        return pixels.reshape(self.size[1], self.size[0], 3)[..., ::-1].copy()

    def labels(self, camera: Camera, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Who (H, W) int and how far (H, W) float32 metres along the optical axis: -1 and inf where nobody is.

        People are numbered as in ``scene.actors``; furniture in front of them hides them.
        """
        self._loaded(camera)
        self._draw(self._labels, "label", frame, clip_from_world=_clip_matrix(camera).T,
                   depth_from_world=camera.camera_from_world[2])
        values = np.frombuffer(self._labels.read(components=2, dtype="f4"), "f4").reshape(*self.size[::-1], 2)
        person = values[..., 0].astype(int) - 1
        return person, np.where(person >= 0, values[..., 1], np.inf).astype(np.float32)

    def _loaded(self, camera: Camera) -> Scene:
        if self._scene is None:
            raise RenderError("no scene: call load(scene) first")
        if camera.size != self.size:
            raise RenderError(f"expected a camera of {self.size} pixels, got {camera.size}")
        return self._scene

    def _draw(self, target: Any, output: str, frame: int, **uniforms: Any) -> None:
        assert self._scene is not None
        target.use()
        target.clear()
        people, room = self._programs["person", output], self._programs["room", output]
        _set(people, **uniforms)
        for number, (actor, arrays) in enumerate(zip(self._scene.actors, self._people, strict=True), 1):
            self._bones.write(actor.posed.matrices[frame].astype("f4").tobytes())
            look = actor.look
            _set(people, person=float(number), colours=look.colours, second=look.second, pattern=look.pattern,
                 scale=look.scale)
            arrays[output].render()
        _set(room, person=0.0, **uniforms)
        # The walls would throw the whole room into shadow.
        self._room[output].render(first=self._shell_size if output == "shadow" else 0)


_PERSON_LAYOUT = ("3f 3f 3f 1f 4u 4f", "position", "normal", "canonical", "material", "bones", "weights")
_ROOM_LAYOUT = ("3f 3f", "position", "normal")


def _person_table(body: Body) -> np.ndarray:
    mesh = body.mesh
    if len(body.rig.names) > _MOST_BONES:
        raise RenderError(f"expected at most {_MOST_BONES} bones, got {len(body.rig.names)}")
    table = np.zeros(len(mesh.vertices), [("floats", "f4", 10), ("bones", "u4", 4), ("weights", "f4", 4)])
    table["floats"] = np.concatenate([mesh.vertices, mesh.normals, mesh.canonical, mesh.material[:, None]], 1)
    table["bones"], table["weights"] = mesh.bones, mesh.weights
    return table


def _room_table(room: Room) -> tuple[np.ndarray, int]:
    """(V, 6) float32 position and normal, and how many of them are the room's shell; then comes the furniture."""
    shell = np.array([[[-_HALF_ROOM_M, -_HALF_ROOM_M, 0], [_HALF_ROOM_M, _HALF_ROOM_M, 3.0]]])
    inside = _box_faces(shell)
    inside[:, 3:] *= -1
    return np.concatenate([inside, _box_faces(room.boxes)]).astype("f4"), len(inside)


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
            member.write(np.ascontiguousarray(data, "i4" if data.dtype.kind in "iu" else "f4").tobytes())


def _clip_matrix(camera: Camera) -> np.ndarray:
    """(4, 4) clip coordinates from the world, upside down: the first row that OpenGL returns is the picture's top."""
    width, height = camera.size
    k = camera.matrix
    depth = (_FAR_M + _NEAR_M) / (_FAR_M - _NEAR_M), -2 * _FAR_M * _NEAR_M / (_FAR_M - _NEAR_M)
    # Half a pixel: OpenGL counts from a pixel's corner, the camera from its centre.
    clip_from_camera = np.array([
        [2 * k[0, 0] / width, 2 * k[0, 1] / width, (2 * k[0, 2] + 1) / width - 1, 0],
        [0, 2 * k[1, 1] / height, (2 * k[1, 2] + 1) / height - 1, 0],
        [0, 0, *depth],
        [0, 0, 1, 0],
    ])
    return clip_from_camera @ camera.camera_from_world


def _light_matrix(to_light: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(4, 4) orthographic view from the light of what is near ``centre``."""
    side = np.cross([0, 0, 1.0], to_light) if abs(to_light[2]) < 0.99 else np.array([1.0, 0, 0])
    side /= np.linalg.norm(side)
    rotation = np.stack([side, np.cross(to_light, side), -to_light])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation / _SHADOW_RADIUS_M
    matrix[:3, 3] = -matrix[:3, :3] @ centre
    return matrix
