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

"""Studio for random clips: people and their motions, textures, and a renderer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pose3d_ros.training.rendering import textures
from pose3d_ros.training.rendering.body import Assets
from pose3d_ros.training.rendering.motions import Motions
from pose3d_ros.training.rendering.renderer import Renderer
from pose3d_ros.training.rendering.scene import Cast, Shot, random_shot


class Studio:
    """Random people with the motions of a split's subjects, before random cameras, in textures
    that ``renew`` makes.

    ``size``: of the renderer's pictures; ``backgrounds``: a folder of pictures to use besides
    procedural textures. Raises ``AssetError``, ``OSError`` or ``RenderError``.
    """

    def __init__(
        self,
        makehuman: Path,
        mocap: Sequence[Path],
        split: str,
        size: tuple[int, int],
        backgrounds: Path | None = None,
    ) -> None:
        self._assets, self._motions = Assets(makehuman), Motions.load(mocap, split)
        self._cast, self._backgrounds = Cast(self._assets), backgrounds
        self.renderer = Renderer(size)

    def renew(self, seed: int) -> None:
        """Take other textures."""
        self._images = textures.make(seed, pictures=self._backgrounds)
        self.renderer.use(self._images)

    def forget(self) -> None:
        """Know nobody, so that who comes next follows from the random numbers alone."""
        self._cast = Cast(self._assets)

    def shot(
        self,
        rng: np.random.Generator,
        frames: int,
        others: float = 0.2,
        size: tuple[int, int] | None = None,
    ) -> Shot:
        """As ``random_shot`` says."""
        return random_shot(rng, self._cast, self._motions, frames, self._images, others, size)

    def close(self) -> None:
        """Free the renderer."""
        self.renderer.close()
