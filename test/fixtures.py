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

"""The published networks' numeric fixtures, which are not part of the package; tests skip where
they are absent.
"""

import json
import zlib
from typing import Any

import numpy as np
import pytest
from paths import SHARED

FIXTURES = SHARED / "fixtures"
needs_fixtures = pytest.mark.skipif(
    not FIXTURES.exists(), reason="the published networks' outputs are not here"
)


def fixture_weight(name: str, shape: list[int]) -> np.ndarray:
    """The weights that the fixtures were made with follow from the parameters' names."""
    if not shape:
        return np.array(0)
    r = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(r)
    if name.endswith("running_mean"):
        return 0.05 * r
    if len(shape) == 1:
        return 1 + 0.05 * r if name.endswith(".weight") else 0.05 * r
    return (r / np.sqrt(np.float64(np.prod(shape[1:])))).astype(
        np.float32
    )  # divided in double: one network is chaotic


def listed_parameters(name: str) -> dict[str, list[int]]:
    """Name and shape of each parameter of a published network."""
    return dict(json.loads((FIXTURES / f"{name}_state_dict.json").read_text()))


def as_published(name: str, network: Any) -> Any:
    """The network with the fixture's weights, having asserted that it has exactly the published
    parameters.
    """
    import torch

    listed = listed_parameters(name)
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == listed
    network.load_state_dict(
        {key: torch.from_numpy(fixture_weight(key, shape)) for key, shape in listed.items()}
    )
    return network.eval()
