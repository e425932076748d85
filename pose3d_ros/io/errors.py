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

"""Errors of what images and recordings are read from, and people are written to."""

from pose3d_ros.errors import Pose3dError


class SourceError(Pose3dError, ValueError):
    """A source that nothing can be read from, or no more."""


class VideoError(SourceError):
    """A video file or stream that cannot be opened or decoded."""


class BagError(SourceError):
    """A bag that cannot be read, or that lacks what is looked for."""


class PoseFileError(Pose3dError, ValueError):
    """A file of poses that cannot be written."""
