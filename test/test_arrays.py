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

"""Tables of people and medians of what is known."""

from dataclasses import dataclass

import numpy as np

from pose3d_ros.arrays import Rows, as_float32, median


@dataclass
class Inner(Rows):
    weight: np.ndarray


@dataclass
class Outer(Rows):
    ids: np.ndarray
    inner: Inner


def table(*ids):
    return Outer(np.array(ids), Inner(np.array(ids) * 0.5))


def test_rows_are_chosen_changed_and_joined_together_with_those_inside():
    both = table(1, 2, 3).joined(table(4))
    assert len(both) == 4
    chosen = both[both.ids % 2 == 0]
    assert chosen.ids.tolist() == [2, 4] and chosen.inner.weight.tolist() == [1.0, 2.0]
    both[np.array([0, 3])] = table(7, 8)
    assert both.ids.tolist() == [7, 2, 3, 8] and both.inner.weight.tolist() == [3.5, 1.0, 1.5, 4.0]
    assert chosen.ids.tolist() == [2, 4], "a choice is a copy"


def test_median_is_numpys_of_what_is_known():
    rng = np.random.default_rng(0)
    values, known = rng.normal(size=(20, 7, 2)), rng.random((20, 7)) < 0.5
    known[0], known[1] = False, True
    values[~known] = np.nan
    found = median(values, known)
    assert np.isnan(found[0]).all()
    for row in range(1, 20):
        if known[row].any():
            np.testing.assert_allclose(found[row], np.median(values[row][known[row]], axis=0))


def test_only_what_is_too_wide_gets_narrower():
    narrow = as_float32(
        {"a": np.array([0.1, 1]), "b": np.zeros(2, np.float16), "c": np.array([2**40])}
    )
    assert [value.dtype for value in narrow.values()] == [np.float32, np.float16, np.int64]
    assert narrow["a"][0] == np.float32(0.1) and narrow["c"][0] == 2**40
