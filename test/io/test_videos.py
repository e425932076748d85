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

"""Video files give every frame at its own time, upright, with square pixels and whole."""

from __future__ import annotations

import logging
import struct
import threading
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV")
import av
from clips import flat, number_of, write_clip

from pose3d_ros.io import videos
from pose3d_ros.io.errors import VideoError

UNEVEN_MS = [0, 33, 67, 100, 500, 533, 1500, 1533, 1567, 4000]  # as a phone or a screen recorder
EVEN_MS = list(range(0, 800, 40))


def played(path: Path) -> tuple[list[int], list[float]]:
    """Numbers of the pictures and their times in milliseconds."""
    numbers, times_ms = [], []
    for image, time_ns in videos.frames(path):
        numbers.append(number_of(image))
        times_ms.append(time_ns * 1e-6)
    return numbers, times_ms


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {}),
        ("clip.mkv", {"options": {"bf": "0"}}),
        ("clip.ts", {}),
        ("clip.webm", {"codec": "libvpx"}),
        ("live.webm", {"codec": "libvpx", "live": True}),
    ],
)
@pytest.mark.parametrize("times_ms", [UNEVEN_MS, EVEN_MS], ids=["uneven", "even"])
def test_each_frame_has_its_own_time(tmp_path, name, options, times_ms):
    path = write_clip(tmp_path / name, times_ms, **options)
    numbers, got_ms = played(path)
    assert numbers == list(range(len(times_ms)))
    assert got_ms == pytest.approx(times_ms, abs=1)  # MPEG-TS counts in 1/90 ms, WebM in ms


def test_a_cut_of_a_recording_begins_at_zero(tmp_path):
    path = write_clip(tmp_path / "clip.ts", [5000 + t for t in UNEVEN_MS])
    assert played(path)[1] == pytest.approx(UNEVEN_MS, abs=1)


def test_raw_h264_has_the_rate_that_its_stream_tells(tmp_path):
    path = write_clip(
        tmp_path / "clip.h264",
        EVEN_MS,
        container_format="h264",
        options={"x264-params": "fps=25:force-cfr=1"},
    )
    numbers, times_ms = played(path)
    assert numbers == list(range(len(EVEN_MS)))
    assert times_ms == pytest.approx(EVEN_MS, abs=0.01)


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libx264", "clip.mp4", {"x264-params": "interlaced=1:tff=1"}),
        ("mpeg2video", "clip.mpg", {"flags": "+ildct+ilme"}),
    ],
)
def test_interlaced_video_is_pictures_without_a_comb(tmp_path, codec, name, options):
    """A bright bar moves by 8 pixels from field to field, as a camcorder takes it."""
    images = []
    for n in range(12):
        image = np.full((64, 96, 3), 40, np.uint8)
        for field in (0, 1):
            left = 8 + 6 * n + 3 * field
            image[field::2, left : left + 12] = 220
        images.append(image)
    path = write_clip(
        tmp_path / name,
        [40 * n for n in range(12)],
        codec,
        images,
        options={"crf": "10", **options},
    )
    got = [image for image, _ in videos.frames(path)]
    assert len(got) == 12
    assert [t for _, t in videos.frames(path)] == pytest.approx(
        [40e6 * n for n in range(12)], abs=1e6
    )
    for n, image in enumerate(got):
        bar = image[16:48].mean((0, 2)) > 130
        assert 6 <= bar.sum() <= 18 and abs(np.flatnonzero(bar).mean() - (15 + 6 * n)) < 4
        comb = np.abs(np.diff(image[16:48, :, 1].astype(int), axis=0)).mean()
        assert comb < 0.4 * np.abs(np.diff(images[n][16:48, :, 1].astype(int), axis=0)).mean()


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(4, 3), (128, 64)), (Fraction(1, 2), (96, 128))]
)
def test_pixels_are_made_square(tmp_path, aspect, size):
    image = np.full((64, 96, 3), 30, np.uint8)
    image[16:32, 24:48] = 230
    path = write_clip(tmp_path / "clip.mp4", [0, 40], images=[image, image], aspect=aspect)
    got, _ = next(videos.frames(path))
    assert got.shape[1::-1] == size
    rows, columns = np.nonzero(got[..., 1] > 130)
    across, along = size[0] / 96, size[1] / 64
    assert (columns.min(), rows.min()) == pytest.approx((24 * across, 16 * along), abs=2)
    assert (columns.max(), rows.max()) == pytest.approx((47 * across, 31 * along), abs=2)


def test_an_aspect_that_comes_of_rounding_is_left_alone(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", [0, 40], aspect=Fraction(640, 639))
    assert next(videos.frames(path))[0].shape == (64, 96, 3)


MATRICES = {  # as phones write them into an MP4's track header, and what they do to a picture
    "right": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "left": ((0, -1, 1, 0), lambda image: np.rot90(image)),
    "over": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
}


@pytest.mark.parametrize("way", MATRICES)
def test_pictures_are_upright(tmp_path, way):
    image = np.full((64, 96, 3), 30, np.uint8)
    image[:20, :20] = (250, 30, 30)  # the upper left corner
    image[-20:, :20] = (30, 250, 30)  # the lower left one
    path = write_clip(tmp_path / "clip.mp4", [0, 40], images=[image, image], options={"crf": "10"})
    (a, b, c, d), turn = MATRICES[way]
    movie = bytearray(path.read_bytes())
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    at = movie.index(unit, movie.index(b"tkhd"))
    movie[at : at + 36] = struct.pack(
        ">9i", *(65536 * v for v in (a, b)), 0, *(65536 * v for v in (c, d)), 0, 0, 0, 1 << 30
    )
    path.write_bytes(movie)
    got, _ = next(videos.frames(path))
    expected = turn(image)
    assert got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).mean() < 8


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "clip.h264", "clip.avi"])
def test_some_frames_by_their_times(tmp_path, name):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    raw = "h264" if name.endswith("h264") else None
    path = write_clip(tmp_path / name, EVEN_MS, codec, container_format=raw)
    times_ns = videos.frame_times_ns(path)
    assert times_ns.tolist() == [time_ns for _, time_ns in videos.frames(path)]
    some = [(i, number_of(image)) for i, image in videos.frames_at(path, times_ns[[3, 7, 19]])]
    assert some == [(0, 3), (1, 7), (2, 19)]


def test_a_recording_that_begins_between_two_whole_pictures(tmp_path):
    """As the middle of a stream: its first frames follow from absent ones."""
    path = write_clip(tmp_path / "clip.ts", list(range(0, 2400, 40)), options={"g": "24"})
    path.write_bytes(path.read_bytes()[188 * 8 :])
    times_ns = videos.frame_times_ns(path)
    played_ns = [time_ns for _, time_ns in videos.frames(path)]
    assert times_ns.tolist() == played_ns and 30 < len(played_ns) < 60
    shown = list(enumerate(number_of(image) for image, _ in videos.frames(path)))
    assert [(i, number_of(image)) for i, image in videos.frames_at(path, times_ns)] == shown


def test_the_picture_of_a_cover_is_not_the_video(tmp_path):
    av = pytest.importorskip("av")
    clip = write_clip(tmp_path / "clip.mp4", EVEN_MS)
    path = tmp_path / "covered.mkv"
    with av.open(str(clip)) as read, av.open(str(path), "w") as written:
        cover = written.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        video = written.add_stream_from_template(read.streams.video[0])
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "bgr24")
        picture.pts = 0
        written.mux([*cover.encode(picture), *cover.encode(None)])
        for packet in read.demux(read.streams.video[0]):
            if packet.size:
                packet.stream = video
                written.mux(packet)
    assert played(path)[0] == list(range(len(EVEN_MS)))


def test_a_broken_part_is_left_out_and_said(tmp_path, caplog):
    path = write_clip(tmp_path / "clip.ts", list(range(0, 4000, 40)), options={"g": "10"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = np.random.default_rng(0).bytes(600)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, "pose3d_ros"):
        times_ms = played(path)[1]
    assert 80 < len(times_ms) < 101 and times_ms[-1] == pytest.approx(3960, abs=1)


def test_recordings_appended_to_each_other_go_on(tmp_path):
    path = write_clip(tmp_path / "clip.ts", EVEN_MS)
    path.write_bytes(2 * path.read_bytes())
    times_ms = played(path)[1]
    assert len(times_ms) == 2 * len(EVEN_MS)
    assert np.diff(times_ms) == pytest.approx(40, abs=1)
    assert videos.frame_times_ns(path) == pytest.approx(np.array(times_ms) * 1e6)


def test_what_is_no_video(tmp_path):
    path = write_clip(tmp_path / "cut.mp4", EVEN_MS)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # its index is at the end
    (tmp_path / "text.mp4").write_text("not a video")
    for file, words in (
        (path, "cut.mp4 cannot be opened as a video: .*cut off"),
        (tmp_path / "text.mp4", "text.mp4 cannot be opened as a video"),
        (tmp_path / "gone.mp4", "No such file"),
    ):
        with pytest.raises(VideoError, match=words) as error:
            next(videos.frames(file))
        assert "\n" not in str(error.value)


class MotionJpeg(BaseHTTPRequestHandler):
    """A network camera that sends 20 pictures and goes off."""

    def do_GET(self) -> None:  # noqa: N802 - the name of http.server
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(20):
            jpeg = cv2.imencode(".jpg", flat(number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def test_a_network_camera_is_live_and_its_end_is_an_error():
    server = ThreadingHTTPServer(("127.0.0.1", 0), MotionJpeg)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://user:secret@127.0.0.1:{server.server_port}/video.mjpg"
        got = []
        with pytest.raises(VideoError, match="stopped delivering images") as error:
            for image, time_s in videos.stream_frames(url):
                assert time_s is None
                got.append(number_of(image))
        assert got == list(range(20))[: len(got)] and len(got) >= 19
        assert "secret" not in str(error.value)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(VideoError, match="cannot be opened") as error:
        next(videos.stream_frames(url))
    assert "secret" not in str(error.value)


def test_a_written_film_is_h264_in_the_order_that_browsers_play(tmp_path):
    path = tmp_path / "film.mp4"
    images = [np.full((41, 63, 3), 20 * i, np.uint8) for i in range(10)]
    videos.write_video(path, images, 12.5)
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (62, 40), "even, as yuv420p wants it"
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "plays while it loads"
    read = list(videos.frames(path))
    assert [time_ns for _, time_ns in read] == [80_000_000 * i for i in range(10)]
    assert [abs(int(image.mean()) - 20 * i) <= 3 for i, (image, _) in enumerate(read)]
