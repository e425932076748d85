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

"""A rig's time: where the offsets between its cameras go.

A film's offset says when it was started, and counts where the film is read or played, so that
what is published has the rig's stamps. A live camera's offset is of its clock, and counts where
its 2D poses are heard or read from a bag.
"""

from __future__ import annotations

from pose3d_ros.io.image_sources import is_device
from pose3d_ros.io.rig_file import RigFile


def has_film(rig: RigFile, name: str) -> bool:
    """Whether a camera's images are in a file that the rig file names."""
    video = rig.sources.get(name, {}).get("video", "")
    return bool(video) and not is_device(video)


def film_start_s(rig: RigFile, name: str) -> float:
    """Seconds from the start of the rig's first film to that of a camera's."""
    starts = [rig.time_offsets_s.get(other, 0.0) for other in rig.cameras if has_film(rig, other)]
    return rig.time_offsets_s.get(name, 0.0) - min(starts, default=0.0)


def stamp_offset_ns(rig: RigFile, name: str) -> int:
    """Nanoseconds to add to the stamps of a camera's 2D poses; 0 of a film's."""
    return 0 if has_film(rig, name) else round(rig.time_offsets_s.get(name, 0.0) * 1e9)
