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

"""A clothed MakeHuman body of any shape: mesh, rig and skinning weights, in metres, z up, facing
-y.

The assets (``base.obj``, ``default.mhskel``, ``default_weights.mhw``, ``targets/``, ``clothes/``,
``hair/``) are the CC0 ones of makehumancommunity/makehuman; formats as MakeHuman 1.x reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import cast

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pose3d_ros.errors import Pose3dError
from pose3d_ros.skeleton import H36M17

# MakeHuman's decimetres, y up, facing +z -> metres, z up, facing -y. Either way +x is the body's
# left.
_WORLD_FROM_MAKEHUMAN = 0.1 * np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
# rest height above the base mesh's origin where a one-piece garment turns from shirt to trousers
_WAIST_M = 0.11
_INFLUENCES = 4  # bones that move one vertex, at most


class AssetError(Pose3dError, RuntimeError):
    """An asset that is missing or not what it should be."""


class Material(IntEnum):
    """Material of a vertex, by which the renderer colours it."""

    SKIN = 0
    EYE = 1
    HAIR = 2
    TOP = 3
    BOTTOM = 4
    SHOES = 5


@dataclass(frozen=True)
class Shape:
    """Build of a person: 0..1 each, apart from ``scale``, which multiplies the stature.

    ``male`` 0 female; ``old`` 0 young; ``muscle`` and ``weight`` 0.5 average; ``ancestry`` shares
    of the African, Asian and Caucasian targets, which sum to one.
    """

    male: float = 0.5
    old: float = 0.0
    muscle: float = 0.5
    weight: float = 0.5
    ancestry: tuple[float, float, float] = (0.0, 0.0, 1.0)
    scale: float = 1.0

    def targets(self) -> Iterable[tuple[str, float]]:
        """Names of the target files with their weights."""
        for gender, by_gender in (("male", self.male), ("female", 1 - self.male)):
            for age, by_age in (("old", self.old), ("young", 1 - self.old)):
                for name, share in zip(
                    ("african", "asian", "caucasian"), self.ancestry, strict=True
                ):
                    yield f"{name}-{gender}-{age}", by_gender * by_age * share
                for muscle, by_muscle in _levels(self.muscle):
                    for weight, by_weight in _levels(self.weight):
                        yield (
                            f"universal-{gender}-{age}-{muscle}muscle-{weight}weight",
                            by_gender * by_age * by_muscle * by_weight,
                        )


def _levels(value: float) -> list[tuple[str, float]]:
    offset = 2 * value - 1
    return [("min", max(0.0, -offset)), ("average", 1 - abs(offset)), ("max", max(0.0, offset))]


@dataclass(frozen=True)
class Rig:
    """B bones, parents first: ``names``, ``parents`` (B,) with -1 for the root, ``heads`` and
    ``tails`` (B, 3).
    """

    names: tuple[str, ...]
    parents: np.ndarray
    heads: np.ndarray
    tails: np.ndarray

    @cached_property
    def index(self) -> dict[str, int]:
        """Number of each bone."""
        return {name: i for i, name in enumerate(self.names)}

    def head(self, bone: str) -> np.ndarray:
        """(3,) where a bone starts at rest."""
        return np.asarray(self.heads[self.index[bone]])

    def tail(self, bone: str) -> np.ndarray:
        """(3,) where a bone ends at rest."""
        return np.asarray(self.tails[self.index[bone]])


@dataclass(frozen=True)
class Mesh:
    """Triangles of skin, hair and clothes.

    ``vertices`` (V, 3) at rest; ``canonical`` (V, 3) the same points on the unshaped base body,
    which patterns and facial colours follow; ``material`` (V,); ``bones`` and ``weights`` (V, 4);
    ``triangles`` (F, 3).
    """

    vertices: np.ndarray
    canonical: np.ndarray
    material: np.ndarray
    bones: np.ndarray
    weights: np.ndarray
    triangles: np.ndarray

    @cached_property
    def normals(self) -> np.ndarray:
        """(V, 3) smooth unit normals."""
        a, b, c = (self.vertices[self.triangles[:, i]] for i in range(3))
        faces = np.cross(b - a, c - a)
        normals = np.stack(
            [
                np.bincount(
                    self.triangles.ravel(), np.repeat(faces[:, axis], 3), len(self.vertices)
                )
                for axis in range(3)
            ],
            1,
        )
        return np.asarray(
            normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        )

    @staticmethod
    def join(parts: list[Mesh]) -> tuple[Mesh, np.ndarray]:
        """One mesh of several, without the vertices that no triangle uses, and which of all
        vertices it has.
        """
        starts = np.cumsum([0] + [len(part.vertices) for part in parts])
        triangles = np.concatenate(
            [part.triangles + start for part, start in zip(parts, starts, strict=False)]
        )
        used, triangles = np.unique(triangles, return_inverse=True)
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts])[used]
            for name in ("vertices", "canonical", "material", "bones", "weights")
        }
        return Mesh(**arrays, triangles=triangles.reshape(-1, 3)), used


@dataclass(frozen=True)
class Body:
    """A shaped, clothed body at rest. ``mesh``, ``rig`` and the skin's vertices as MakeHuman
    numbers them, ``base`` (V, 3), are in metres, z up, facing -y, soles at z = 0.
    """

    mesh: Mesh
    rig: Rig
    base: np.ndarray

    @cached_property
    def soles(self) -> np.ndarray:
        """(2, K, 3) points under the left and the right foot (or shoe) at rest."""
        low = self.mesh.vertices[self.mesh.vertices[:, 2] < 0.03]
        feet = []
        for side in (low[low[:, 0] > 0], low[low[:, 0] < 0]):
            rays = np.linspace(0, 2 * np.pi, 8, endpoint=False)
            around = np.stack([np.cos(rays), np.sin(rays), np.full(8, -0.5)], 1)
            feet.append(side[(side @ around.T).argmax(0)])
        return np.array(feet)


@dataclass(frozen=True)
class Posed:
    """A body's bones over T frames: ``rotations`` (T, B, 3, 3) from rest and ``heads`` (T, B, 3),
    in the world.
    """

    rig: Rig
    rotations: np.ndarray
    heads: np.ndarray

    @cached_property
    def matrices(self) -> np.ndarray:
        """(T, B, 3, 4) that take a point at rest to the world."""
        offset = self.heads - np.einsum("tbij,bj->tbi", self.rotations, self.rig.heads)
        return np.concatenate([self.rotations, offset[..., None]], -1)

    @cached_property
    def joints_m(self) -> np.ndarray:
        """(T, 17, 3) float32 joints in H36M17's order: the labels of a render.

        Limb joints are the rig's joint centres; pelvis and thorax are the middles of hips and
        shoulders, and spine is the middle of those two (``skeleton``'s rules). Neck and head are
        where motion capture skeletons (CMU's, and Human3.6M's) have them: 0.13 and 0.22 m above
        the thorax in a body of 1.7 m, that is, the upper end of the neck and the middle of the
        skull at the height of the brows; the crown is 0.1 m higher.
        """
        at = {name: self.heads[:, self.rig.index[bone]] for name, bone in _JOINT_BONES.items()}
        skull = self.rig.index["head"]
        up = self.rotations[:, skull] @ (self.rig.tails[skull] - self.rig.heads[skull])
        at["head"] = self.heads[:, skull] + _HEAD_JOINT * up
        at["pelvis"] = (at["l_hip"] + at["r_hip"]) / 2
        at["thorax"] = (at["l_shoulder"] + at["r_shoulder"]) / 2
        at["spine"] = (at["pelvis"] + at["thorax"]) / 2
        return np.stack([at[joint] for joint in H36M17.joints], 1).astype(np.float32)

    def skin(
        self, frame: int, points: np.ndarray, bones: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Linear blend skinning of rest points (V, 3) with bones and weights (V, 4), as the
        renderer does it.
        """
        blended = np.einsum("vk,vkij->vij", weights, self.matrices[frame][bones])
        return np.asarray(np.einsum("vij,vj->vi", blended[:, :, :3], points) + blended[:, :, 3])


_HEAD_JOINT = 0.3  # of the way from the skull's base to its top
_JOINT_BONES = {"neck": "neck03"} | {
    f"{side}_{joint}": f"{bone}.{side.upper()}"
    for side in "lr"
    for joint, bone in (
        ("hip", "upperleg01"),
        ("knee", "lowerleg01"),
        ("ankle", "foot"),
        ("shoulder", "upperarm01"),
        ("elbow", "lowerarm01"),
        ("wrist", "wrist"),
    )
}


@dataclass(frozen=True)
class _Obj:
    vertices: np.ndarray
    triangles: np.ndarray
    groups: np.ndarray  # per triangle, its group's name


@lru_cache(maxsize=64)
def _read_obj(path: Path) -> _Obj:
    vertices, triangles, groups, group = [], [], [], ""
    for line in _lines(path):
        if line.startswith("v "):
            vertices.append([float(value) for value in line.split()[1:4]])
        elif line.startswith("g "):
            group = line.split()[1]
        elif line.startswith("f "):
            corners = [int(corner.split("/")[0]) - 1 for corner in line.split()[1:]]
            for i in range(2, len(corners)):
                triangles.append([corners[0], corners[i - 1], corners[i]])
                groups.append(group)
    return _Obj(np.array(vertices), np.array(triangles), np.array(groups))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise AssetError(
            f"{path}: {error.strerror}; expected MakeHuman's CC0 assets there"
        ) from None


@dataclass(frozen=True)
class _Fitting:
    """An ``.mhclo``: each garment vertex is bound to three base vertices, with an offset in scaled
    axes.
    """

    bound: np.ndarray  # (V, 3) indices
    shares: np.ndarray  # (V, 3)
    offsets: np.ndarray  # (V, 3)
    scales: dict[
        int, tuple[int, int, float]
    ]  # axis -> two vertices and their distance on the base body
    hidden: np.ndarray  # base vertices that the garment covers

    def fit(self, base: np.ndarray) -> np.ndarray:
        scale = np.ones(3)
        for axis, (a, b, length) in self.scales.items():
            scale[axis] = abs(base[a, axis] - base[b, axis]) / length
        return np.asarray(
            np.einsum("vk,vkj->vj", self.shares, base[self.bound]) + self.offsets * scale
        )


@lru_cache(maxsize=64)
def _read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that the target moves and their offsets."""
    rows = [line.split() for line in _lines(path)]
    rows = [row for row in rows if len(row) == 4 and row[0].isdigit()]
    return np.array([row[0] for row in rows], int), np.array(
        [row[1:] for row in rows], float
    ).reshape(-1, 3)


@lru_cache(maxsize=64)
def _read_mhclo(path: Path) -> _Fitting:
    bound, shares, offsets, scales, hidden, section = [], [], [], {}, [], ""
    for line in _lines(path):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("verts", "delete_verts"):
            section = words[0]
        elif words[0] in ("x_scale", "y_scale", "z_scale"):
            scales["xyz".index(words[0][0])] = int(words[1]), int(words[2]), float(words[3])
        elif section == "delete_verts" and words[0].isdigit():
            hidden += _ranges(words)
        elif section == "verts" and words[0].isdigit():
            if len(words) == 1:
                words = [words[0]] * 3 + ["1", "0", "0", "0", "0", "0"]
            bound.append([int(word) for word in words[:3]])
            shares.append([float(word) for word in words[3:6]])
            offsets.append([float(word) for word in words[6:9]])
    return _Fitting(
        np.array(bound), np.array(shares), np.array(offsets), scales, np.array(hidden, int)
    )


def _ranges(words: list[str]) -> list[int]:
    """['3', '7', '-', '9'] -> [3, 7, 8, 9]."""
    numbers: list[int] = []
    for i, word in enumerate(words):
        if word == "-":
            numbers += range(int(words[i - 1]) + 1, int(words[i + 1]))
        else:
            numbers.append(int(word))
    return numbers


@dataclass(frozen=True)
class Wardrobe:
    """Clothes and hair of a person: folders of ``clothes/`` and one of ``hair/``; bald if that is
    empty.
    """

    clothes: tuple[str, ...] = ()
    hair: str = ""


@dataclass(frozen=True)
class _Outfit:
    """Everything alike in bodies that wear the same: the dressed mesh, which of all vertices it
    has, and the fits.
    """

    mesh: Mesh
    used: np.ndarray
    fittings: tuple[_Fitting, ...]


@dataclass(frozen=True)
class Assets:
    """A folder of MakeHuman assets. Raises ``AssetError`` naming a file that is missing."""

    folder: Path
    base: _Obj = field(init=False)
    _outfits: dict[Wardrobe, _Outfit] = field(init=False, repr=False, default_factory=dict)
    _garments: dict[tuple[str, str], tuple[_Fitting, Mesh]] = field(
        init=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", _read_obj(self.folder / "base.obj"))

    def names(self, kind: str) -> list[str]:
        """The folders of ``clothes`` or ``hair``."""
        return sorted(path.name for path in (self.folder / kind).iterdir() if path.is_dir())

    @cached_property
    def _bones(self) -> dict[str, dict[str, str]]:
        """Bones, parents first."""
        bones = self._skeleton["bones"]

        def depth(name: str) -> int:
            parent = bones[name]["parent"]
            return 0 if parent is None else 1 + depth(parent)

        return {name: bones[name] for name in sorted(bones, key=depth)}

    @cached_property
    def _skeleton(self) -> dict[str, dict[str, dict[str, str]]]:
        text = "\n".join(_lines(self.folder / "default.mhskel"))
        return cast(dict[str, dict[str, dict[str, str]]], json.loads(text))

    @cached_property
    def _weights(self) -> np.ndarray:
        """(V, B) skinning weights of the base mesh."""
        table = json.loads("\n".join(_lines(self.folder / "default_weights.mhw")))["weights"]
        weights = np.zeros((len(self.base.vertices), len(self._bones)), np.float32)
        for column, bone in enumerate(self._bones):
            for vertex, weight in table.get(bone, ()):
                weights[vertex, column] = weight
        return weights

    def build(self, shape: Shape = Shape(), wardrobe: Wardrobe = Wardrobe()) -> Body:
        """The body of a person: shaped, dressed, skin under the clothes left out."""
        base = self.base.vertices.copy()
        for name, weight in shape.targets():
            if weight > 0:
                rows, offsets = _read_target(self.folder / "targets" / f"{name}.target")
                base[rows] += weight * offsets

        outfit = self._outfits.get(wardrobe)
        if outfit is None:
            outfit = self._outfits[wardrobe] = self._dress(wardrobe)
        points = np.concatenate([*(fitting.fit(base) for fitting in outfit.fittings), base, base])[
            outfit.used
        ]
        mesh = replace(outfit.mesh, vertices=points @ _WORLD_FROM_MAKEHUMAN.T)
        joints = {name: base[rows].mean(0) for name, rows in self._skeleton["joints"].items()}
        order = list(self._bones)
        heads, tails = (
            np.array([joints[bone[end]] for bone in self._bones.values()])
            @ _WORLD_FROM_MAKEHUMAN.T
            for end in ("head", "tail")
        )
        parents = np.array(
            [
                order.index(bone["parent"]) if bone["parent"] else -1
                for bone in self._bones.values()
            ]
        )
        floor = np.array([0, 0, mesh.vertices[:, 2].min()])
        skin = base @ _WORLD_FROM_MAKEHUMAN.T
        vertices, heads, tails, skin = (
            (points - floor) * shape.scale for points in (mesh.vertices, heads, tails, skin)
        )
        rig = Rig(tuple(order), parents, heads, tails)
        return Body(replace(mesh, vertices=vertices), rig, skin)

    def _dress(self, wardrobe: Wardrobe) -> _Outfit:
        """The unshaped body in its clothes."""
        base = self.base.vertices
        hidden = np.zeros(len(base), bool)
        parts, fittings = [], []
        for kind, folders in (
            ("clothes", wardrobe.clothes),
            ("hair", (wardrobe.hair,) if wardrobe.hair else ()),
        ):
            for folder in folders:
                garment = self._garments.get((kind, folder))
                if garment is None:
                    garment = self._garments[kind, folder] = self._garment(folder, kind)
                hidden[garment[0].hidden] = True
                fittings.append(garment[0])
                parts.append(garment[1])

        skin = self.base.triangles[self.base.groups == "body"]
        eyes = self.base.triangles[np.isin(self.base.groups, ("helper-l-eye", "helper-r-eye"))]
        for triangles, material in (
            (skin[~hidden[skin].all(1)], Material.SKIN),
            (eyes, Material.EYE),
        ):
            parts.append(
                replace(self._naked, material=np.full(len(base), material), triangles=triangles)
            )
        return _Outfit(*Mesh.join(parts), tuple(fittings))

    @cached_property
    def _naked(self) -> Mesh:
        return _part(
            self.base.vertices,
            np.zeros(len(self.base.vertices), int),
            self._weights,
            self.base.triangles,
        )

    def _garment(self, name: str, kind: str) -> tuple[_Fitting, Mesh]:
        mhclo = min((self.folder / kind / name).glob("*.mhclo"), default=None)
        if mhclo is None:
            raise AssetError(
                f"no {kind} '{name}' in {self.folder}; there are {', '.join(self.names(kind))}"
            )
        fitting, obj = _read_mhclo(mhclo), _read_obj(mhclo.with_suffix(".obj"))
        canonical = fitting.fit(self.base.vertices)
        if kind == "hair":
            material = np.full(len(canonical), Material.HAIR)
        elif name.startswith("shoes"):
            material = np.full(len(canonical), Material.SHOES)
        elif name.startswith("fedora"):
            material = np.full(len(canonical), Material.TOP)
        else:
            material = _top_or_bottom(canonical * 0.1, obj.triangles)
        weights = np.einsum("vk,vkb->vb", fitting.shares, self._weights[fitting.bound]).clip(0)
        return fitting, _part(canonical, material, weights, obj.triangles)


def _top_or_bottom(canonical_m: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Material of each vertex of a suit: pieces lie above or below the waist; one that spans it is
    cut there.
    """
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), edges.T), (len(canonical_m),) * 2)
    _, piece = connected_components(graph, directed=False)
    up = canonical_m[:, 1]
    material = np.empty(len(up), int)
    for number in range(piece.max() + 1):
        mine = piece == number
        spans = up[mine].min() < -0.3 and up[mine].max() > 0.3
        height = up[mine] if spans else up[mine].mean()
        material[mine] = np.where(height > _WAIST_M, Material.TOP, Material.BOTTOM)
    return material


def _part(
    points: np.ndarray, material: np.ndarray, weights: np.ndarray, triangles: np.ndarray
) -> Mesh:
    bones = np.argsort(-weights, 1)[:, :_INFLUENCES]
    strongest = np.take_along_axis(weights, bones, 1)
    total = strongest.sum(1, keepdims=True)
    strongest = np.where(total > 0, strongest / np.maximum(total, 1e-9), [1, 0, 0, 0])
    canonical = points @ _WORLD_FROM_MAKEHUMAN.T
    return Mesh(canonical, canonical, material, bones, strongest, triangles)
