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

"""Identity over time, left and right, filtering and prediction."""

from __future__ import annotations

from pose3d_ros.tracking.filter import PoseFilter
from pose3d_ros.tracking.identity import IdentityTracker
from pose3d_ros.tracking.prediction import ahead

__all__ = ["IdentityTracker", "PoseFilter", "ahead"]
