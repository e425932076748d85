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

"""Pictures come out of a bag as they went in, at the time that their headers tell, on the topics
of a rig's cameras.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="needs rosbags")
from image_bags import compressed, jpeg, raw, write_bag
from rosbags.rosbag2 import StoragePlugin

from pose3d_ros.io.bags import IMAGE_TYPES, image_topic, read_images, topics
from pose3d_ros.io.image_encodings import ENCODINGS, ImageError, to_bgr

START_NS = 1_700_000_000_250_000_000
GRAY = np.linspace(0, 255, 48 * 64).astype(np.uint8).reshape(48, 64)
COLOUR = cv2.applyColorMap(GRAY, cv2.COLORMAP_JET)
RAW, COMPRESSED = IMAGE_TYPES


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_pictures_and_stamps(tmp_path, storage):
    bag = write_bag(
        tmp_path / "bag",
        {
            "/left/image_raw": [raw(COLOUR + k, START_NS + k * 40_000_000) for k in range(3)],
            "/right/image_raw/compressed": [jpeg(COLOUR, START_NS)],
        },
        storage,
    )
    assert topics(bag) == {"/left/image_raw": RAW, "/right/image_raw/compressed": COMPRESSED}
    left = list(read_images(bag, "/left/image_raw"))
    assert [stamp_ns for _, stamp_ns, _ in left] == [
        START_NS,
        START_NS + 40_000_000,
        START_NS + 80_000_000,
    ]
    for k, (picture, *_) in enumerate(left):
        np.testing.assert_array_equal(picture, COLOUR + k)
    ((picture, stamp_ns, _),) = read_images(bag, "/right/image_raw/compressed")
    assert stamp_ns == START_NS and isinstance(picture, np.ndarray)
    assert np.abs(picture.astype(int) - COLOUR).mean() < 6  # JPEG halves the colours


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_of_the_nodes(tmp_path, encoding):
    layout = ENCODINGS[encoding]
    shape = round(48 * layout.rows), 64, layout.channels
    samples = np.random.default_rng(0).integers(0, 256, shape).astype(layout.dtype) << 8 * (
        layout.dtype == "u2"
    )
    message = raw(samples, START_NS, encoding, (64, 48))
    bag = write_bag(tmp_path / "bag", {"/camera/image_raw": [message]})
    ((picture, *_),) = read_images(bag, "/camera/image_raw")
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (48, 64, 3) and picture.std() > 40
    np.testing.assert_array_equal(picture, to_bgr(message))  # which test_images.py looks at


def test_what_is_no_picture_does_not_end_the_reading(tmp_path):
    bag = write_bag(
        tmp_path / "bag",
        {
            "/camera/image/compressed": [
                jpeg(COLOUR, START_NS),
                compressed(np.arange(99, dtype=np.uint8), START_NS + 1),
                jpeg(COLOUR, START_NS + 2),
            ],
            "/camera/image": [raw(COLOUR, START_NS, "32FC3")],
        },
    )
    pictures = [picture for picture, *_ in read_images(bag, "/camera/image/compressed")]
    assert isinstance(pictures[1], ImageError) and "expected a JPEG or PNG, got 99 bytes" in str(
        pictures[1]
    )
    assert isinstance(pictures[0], np.ndarray) and isinstance(pictures[2], np.ndarray)
    ((unknown, *_),) = read_images(bag, "/camera/image")
    assert "expected an encoding among bgr8," in str(
        unknown
    ) and "got '32FC3'; publish bgr8" in str(unknown)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({}, "/lab/door/image_raw/compressed"),  # as drivers call it, below any namespace
        (
            {"namespace": "hall"},
            "/hall/image",
        ),  # as our video node calls it; raw rather than compressed
        ({"namespace": "/door"}, None),  # absolute: no other namespace above it
        ({"image": "color/image_raw"}, "/door/color/image_raw"),  # below the camera's namespace
        ({"image": "/robot/front"}, "/robot/front/compressed"),
        ({"image": "/robot/back"}, None),
    ],
)
def test_topics_are_called_as_the_rig_file_says(sources, expected):
    offered = {
        "/lab/door/image_raw/compressed": COMPRESSED,
        "/outdoor/image_raw": RAW,
        "/door/color/image_raw": RAW,
        "/hall/image/compressed": COMPRESSED,
        "/hall/image": RAW,
        "/robot/front/compressed": COMPRESSED,
        "/robot/back": "sensor_msgs/msg/PointCloud2",
        "/lab/door/depth/image_raw": RAW,
    }
    assert image_topic(offered, "door", sources) == expected


def test_two_topics_that_could_be_a_cameras():
    with pytest.raises(
        ValueError,
        match=r"camera door: expected one topic .* /a/door/image, /b/door/image: write 'im",
    ):
        image_topic({"/a/door/image": RAW, "/b/door/image": RAW}, "door", {})


def test_a_bag_that_cannot_be_read(tmp_path):
    (tmp_path / "metadata.yaml").write_text("cut off")
    with pytest.raises(ValueError, match="expected a bag that can be read, .*ros2 bag reindex"):
        topics(tmp_path)
