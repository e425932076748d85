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

"""2D poses come out of a cloud as they went in; what a cloud says of itself is checked."""

from __future__ import annotations

import resource
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pose3d_ros.io.keypoints_cloud import CloudError, keypoints_layout, people_2d
from pose3d_ros.people import MAX_PEOPLE, People2D, TrackState
from pose3d_ros.skeleton import COCO17, H36M17

RNG = np.random.default_rng(0)


def cloud_of(people: People2D) -> Any:
    """A message of a written cloud, which may be spoilt."""
    layout = keypoints_layout(people)
    seconds, nanoseconds = divmod(people.stamp_ns, 1_000_000_000)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds)),
        height=layout.height,
        width=layout.width,
        fields=[SimpleNamespace(**vars(field)) for field in layout.fields],
        point_step=layout.point_step,
        row_step=layout.row_step,
        data=layout.data,
        is_bigendian=layout.is_bigendian,
    )


def people(count: int) -> People2D:
    return People2D(
        H36M17,
        RNG.uniform(0, 400, (count, 17, 2)).astype(np.float32),
        RNG.uniform(0.1, 1, (count, 17)).astype(np.float32),
        -12_000_000_034,
        (640, 480),
        np.arange(count, dtype=np.int32) + 5,
    )


def test_there_and_back():
    given = people(3)
    back = people_2d(cloud_of(given), H36M17)
    assert np.array_equal(back.keypoints_px, given.keypoints_px)
    assert np.array_equal(back.confidence, given.confidence)
    assert back.ids.tolist() == [5, 6, 7]
    assert (back.stamp_ns, back.image_size) == (-12_000_000_034, (640, 480))
    assert back.depth_m is None and back.depth_sigma_m is None
    assert len(people_2d(cloud_of(given[:0]), H36M17)) == 0


def test_states_there_and_back_and_seen_where_nobody_tells():
    given = replace(people(3), states=np.array([0, 1, 2]))
    cloud = cloud_of(given)
    assert people_2d(cloud, H36M17).states.tolist() == [0, 1, 2]
    cloud.fields = [field for field in cloud.fields if field.name != "state"]
    assert (people_2d(cloud, H36M17).states == TrackState.CONFIRMED).all()


def test_depth_there_and_back():
    depth = RNG.uniform(1, 8, (2, 17)).astype(np.float32)
    depth[1, 2] = np.nan
    sigma = np.where(np.isnan(depth), np.nan, np.float32(0.04))
    back = people_2d(cloud_of(replace(people(2), depth_m=depth, depth_sigma_m=sigma)), H36M17)
    assert back.depth_m is not None and np.array_equal(back.depth_m, depth, equal_nan=True)
    assert np.array_equal(np.asarray(back.depth_sigma_m), sigma, equal_nan=True)


def test_of_a_crowd_the_most_confident_are_kept_in_their_order():
    crowd = people(MAX_PEOPLE + 36)
    crowd.confidence.setflags(write=True)
    crowd.confidence[:] = 0.5
    crowd.confidence[10:46] = 0.2
    kept = people_2d(cloud_of(crowd), H36M17)
    assert kept.ids.tolist() == [5 + n for n in range(100) if not 10 <= n < 46]


def spoil(**values: object) -> Any:
    return lambda cloud: cloud.__dict__.update(values)


def spoil_field(index: int, **values: object) -> Any:
    return lambda cloud: cloud.fields[index].__dict__.update(values)


def numbers(name: str, value: float) -> Any:
    """Every byte of a field as of a float."""

    def change(cloud: Any) -> None:
        field = next(field for field in cloud.fields if field.name == name)
        field.datatype = 7
        data = np.frombuffer(bytearray(cloud.data), np.uint8).reshape(-1, cloud.point_step)
        data = data.copy()
        data[:, field.offset : field.offset + 4] = np.frombuffer(
            np.float32(value).tobytes(), np.uint8
        )
        cloud.data = data.tobytes()

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spoil(data=b""), "got 0 bytes"),
        (spoil(data=b"", height=2_000_000), "got 0 bytes"),
        (spoil(height=200_000_000), "200000000 rows"),
        (spoil(height=200_000_000, row_step=0), "rows of 0 bytes"),
        (spoil(row_step=2**32 - 1), "rows of 4294967295 bytes"),
        (spoil(row_step=4), "rows of 4 bytes"),
        (spoil(point_step=0, row_step=0), "points of 0 bytes"),
        (spoil(point_step=2**31), "points of 2147483648 bytes"),
        (spoil_field(2, offset=2**31 - 1), "the field confidence, got .*offset 2147483647"),
        (spoil_field(0, offset=39), "the field x, got .*offset 39"),
        (spoil_field(1, count=2**31), "the field y, got count 2147483648"),
        (spoil_field(1, count=0), "the field y, got count 0"),
        (spoil_field(0, datatype=0), "the field x, got .*datatype 0"),
        (numbers("image_width", float("nan")), "image_width and image_height in pixels, got nan"),
        (numbers("image_width", float("inf")), "image_width and image_height in pixels, got inf"),
        (numbers("image_height", -3), "image_width and image_height in pixels, got .*x-3"),
        (numbers("person", float("nan")), "field person to be an int32"),
        (numbers("person", 1e12), "field person to be an int32"),
        (numbers("state", 3), "field state to be an int32 from 0 to 2, got .3.0"),
        (lambda cloud: cloud.fields.extend(cloud.fields * 100), "at most 64 fields"),
        (spoil(width=33, row_step=33 * 40), "got 33x2, as of blazepose33"),
        (spoil(width=5), "width 17.*got 5x2"),
    ],
)
def test_what_a_cloud_says_of_itself_is_checked(change, words):
    cloud = cloud_of(people(2))
    change(cloud)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CloudError, match=words) as error:
        people_2d(cloud, H36M17)
    assert "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_joints_in_another_order_are_of_another_skeleton():
    cloud = cloud_of(people(1))
    field = next(field for field in cloud.fields if field.name == "joint")
    points = np.frombuffer(cloud.data, np.uint8).reshape(17, cloud.point_step).copy()
    points[:, field.offset : field.offset + 4] = points[::-1, field.offset : field.offset + 4]
    cloud.data = points.tobytes()
    with pytest.raises(CloudError, match="joints of h36m17 in their order.*another skeleton"):
        people_2d(cloud, H36M17)
    assert len(COCO17) == len(H36M17), "the number of joints alone does not tell them apart"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_place_is_unknown(value):
    cloud = cloud_of(people(2))
    numbers("x", value)(cloud)
    back = people_2d(cloud, H36M17)
    assert np.isnan(back.keypoints_px).all() and not back.confidence.any()


def test_random_clouds_give_people_or_one_line():
    """Numbers of every size in every place, with a fixed seed."""
    rng = np.random.default_rng(1)
    values = [0, 1, 2, 17, 36, 612, 2**15, 2**31 - 1, 2**31, 2**32 - 1]
    for _ in range(2000):
        cloud = cloud_of(people(2))
        for _ in range(rng.integers(1, 4)):
            value = int(rng.choice(values))
            names = ["height", "row_step", "point_step", "is_bigendian"]
            if rng.random() < 0.5:
                setattr(cloud, names[rng.integers(4)], value)
            else:
                name = ["offset", "datatype", "count"][rng.integers(3)]
                setattr(cloud.fields[rng.integers(9)], name, value)
        cloud.data = rng.bytes(int(rng.integers(0, 1300)))
        try:
            found = people_2d(cloud, H36M17)
        except CloudError as error:
            assert "\n" not in str(error)
        else:
            assert len(found) <= MAX_PEOPLE
