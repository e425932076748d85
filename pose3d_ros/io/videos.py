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

"""Video files and network cameras, decoded with PyAV: each image at its own time, upright, with
square pixels and no comb of interlaced lines.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import one_line
from pose3d_ros.io.errors import VideoError
from pose3d_ros.io.image_encodings import MAX_PIXELS
from pose3d_ros.stamps import Order, StampOrder

ASSUMED_HZ = 30.0  # of videos that tell neither times nor a rate
SQUARE = 0.005
"""Pixels whose width and height differ by less are taken as square: encoders that round the size
of an image write such ratios.
"""
OPEN_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 5.0  # of network streams

Image = npt.NDArray[np.uint8]

log = logging.getLogger(__name__)


def frames(path: str | Path) -> Iterator[tuple[Image, int]]:
    """Images (H, W, 3) uint8 BGR of a video and their times in nanoseconds from the first.

    Times are those that the file gives its frames; where it gives none (raw H.264), they follow
    from its rate. Broken frames are left out, which is logged once. Raises ``VideoError`` when
    there is no image at all.
    """
    with _opened(str(path)) as (container, stream):
        times = _Times(stream)
        count = 0
        for image, time_ns in _images(container, stream, times):
            count += 1
            yield image, time_ns
        if not count:
            raise VideoError(
                f"{path}: expected a video with images, got none that can be "
                f"decoded; was its recording cut off?"
            )
        _report_losses(str(path), stream, times)


def frame_times_ns(path: str | Path) -> npt.NDArray[np.int64]:
    """(N,) times of all frames as ``frames`` has them; decodes only where the container gives no
    times. Raises ``VideoError``.
    """
    with _opened(str(path)) as (container, stream):
        from av import FFmpegError

        stamps: list[int] = []
        last_dts: int | None = None
        first: int | None = None  # a recording may begin with frames that follow from absent ones
        for packet in _packets(container, stream, _Times(stream)):
            if first is None:
                with suppress(FFmpegError):
                    first = next((frame.pts for frame in packet.decode()), None)
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.pts is None or (
                packet.dts is not None and last_dts is not None and packet.dts <= last_dts
            ):
                break
            last_dts = packet.dts if packet.dts is not None else last_dts
            stamps.append(packet.pts)
        else:
            times = _Times(stream)
            pts = sorted(p for p in set(stamps) if first is not None and p >= first)
            return np.array([times.next_ns(_seconds(p, stream)) for p in pts], np.int64)
    return np.array([time_ns for _, time_ns in frames(path)], np.int64)


def length_s(path: str | Path) -> float | None:
    """Length of a video as its container tells it, None where it does not. Raises
    ``VideoError``.
    """
    with _opened(str(path)) as (container, _):
        return container.duration / 1e6 if container.duration else None


def frames_at(path: str | Path, times_ns: npt.NDArray[np.int64]) -> Iterator[tuple[int, Image]]:
    """Index in ``times_ns`` (ascending, out of ``frame_times_ns``) and image of some frames; those
    that cannot be decoded are left out. Raises ``VideoError``.
    """
    index_of = {int(time_ns): index for index, time_ns in enumerate(times_ns)}
    with _opened(str(path)) as (container, stream):
        for image, time_ns in _images(container, stream, _Times(stream), set(index_of)):
            yield index_of[time_ns], image
            if index_of[time_ns] == len(index_of) - 1:
                return


def stream_frames(url: str) -> Iterator[tuple[Image, float | None]]:
    """Images of a network stream (RTSP, HTTP, ...) as they come, with None for their time; those
    of a video file behind a URL with their time in seconds.

    Raises ``VideoError`` when it cannot be opened, sends nothing for ``READ_TIMEOUT_S``, or, live,
    ends.
    """
    options = {"rtsp_transport": "tcp", "fflags": "nobuffer"} if url.startswith("rtsp") else {}
    with _opened(url, options, (OPEN_TIMEOUT_S, READ_TIMEOUT_S)) as (container, stream):
        live = container.duration is None
        stream.thread_type = "SLICE"  # threads by frame would hold some back
        times = _Times(stream)
        for image, time_ns in _images(container, stream, times):
            yield image, None if live else time_ns * 1e-9
        if live or times.interrupted:
            raise VideoError(
                f"camera {without_password(url)} stopped delivering images"
                f"{f' ({times.interrupted})' if times.interrupted else ''}; see whether it is on "
                f"and reached over the network"
            )


def without_password(url: str) -> str:
    """A URL without the password in it."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def write_video(path: str | Path, images: Iterable[Image], rate_hz: float) -> None:
    """Write images (H, W, 3) uint8 BGR as an H.264 video that browsers and phones play; all take
    the size of the first, less a row or column where that is odd.

    Raises ``VideoError`` where this build of PyAV has no encoder.
    """
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"}) as film:
        rate = Fraction(rate_hz).limit_denominator(1000)
        try:
            stream: Any = film.add_stream("h264", rate=rate)
        except av.FFmpegError as error:
            raise VideoError(
                f"writing {path} needs PyAV with an H.264 encoder ({_reason(error)}): "
                f"python3 -m pip install av"
            ) from None
        stream.pix_fmt, size = "yuv420p", None
        for image in images:
            if size is None:
                size = stream.width, stream.height = [n // 2 * 2 for n in image.shape[1::-1]]
            picture = av.VideoFrame.from_ndarray(image, format="bgr24")
            film.mux(stream.encode(picture.reformat(size[0], size[1], "yuv420p")))
        film.mux(stream.encode())


@contextmanager
def _opened(
    source: str, options: dict[str, str] | None = None, timeout: tuple[float, float] | None = None
) -> Iterator[tuple[Any, Any]]:
    """Container and first video stream; raises ``VideoError``."""
    try:
        import av
    except ImportError as error:
        raise VideoError(
            f"reading a video needs the package av (PyAV): pip install av ({one_line(error)})"
        ) from None
    name = without_password(source)
    try:
        container = av.open(source, options=options or {}, timeout=timeout)
    except (av.FFmpegError, OSError, ValueError) as error:
        remedy = (
            "see whether it is on and its address is right"
            if "://" in source
            else "an MP4 that was cut off lacks its index"
        )
        raise VideoError(
            f"{name} cannot be opened as a video: expected a file or stream that FFmpeg "
            f"can decode, got '{_reason(error)}'; {remedy}"
        ) from None
    with container:
        if not container.streams.video:
            raise VideoError(f"{name}: expected a video, got a file or stream without images")
        stream: Any = container.streams.best("video")  # the first may be a cover
        if stream.codec_context is None:
            raise VideoError(f"{name}: expected a codec that FFmpeg has a decoder for")
        if stream.width * stream.height > MAX_PIXELS:
            raise VideoError(
                f"{name}: expected images of at most {MAX_PIXELS} pixels, got "
                f"{stream.width}x{stream.height}"
            )
        stream.thread_type = "AUTO"
        yield container, stream


def _reason(error: Exception) -> str:
    """FFmpeg's own words, without its numbers and names of files."""
    if getattr(error, "strerror", None) == "Immediate exit requested":
        return "nothing came in time"
    return str(getattr(error, "strerror", None) or one_line(error))


class _Times:
    """Times of successive frames in nanoseconds from the first, always rising; counts what is
    broken or out of order.
    """

    def __init__(self, stream: Any) -> None:
        rate = stream.guessed_rate or stream.average_rate or ASSUMED_HZ
        self.period_ns = round(1e9 / float(rate)) if rate > 0 else round(1e9 / ASSUMED_HZ)
        self.count = self.broken = self.late = 0
        self.interrupted = ""
        self._order = StampOrder()
        self._first_ns: int | None = None
        self._newest_ns = 0

    def next_ns(self, seconds: float | None) -> int | None:
        """Time of the next frame, whose container says ``seconds``; None for one that is late.

        Where nothing is said, and after a jump back (recordings appended to each other), it
        follows the one before by the stream's period.
        """
        if seconds is None:
            time_ns = self._newest_ns + self.period_ns if self.count else 0
        else:
            stamp_ns = round(seconds * 1e9)
            order = self._order(stamp_ns)
            if order is Order.LATE:
                self.late += 1
                return None
            if order is Order.JUMPED_BACK:
                self._first_ns = stamp_ns - self._newest_ns - self.period_ns
            elif self._first_ns is None:
                self._first_ns = stamp_ns
            time_ns = stamp_ns - (self._first_ns or 0)
        self.count += 1
        self._newest_ns = time_ns
        return time_ns


def _seconds(pts: int | None, stream: Any) -> float | None:
    return None if pts is None else float(pts * stream.time_base)


def _decoded(container: Any, stream: Any, times: _Times) -> Iterator[Any]:
    """Frames of a stream; broken packets are counted."""
    from av import FFmpegError

    for packet in _packets(container, stream, times):
        try:
            yield from packet.decode()
        except FFmpegError:
            times.broken += 1


def _packets(container: Any, stream: Any, times: _Times) -> Iterator[Any]:
    """Packets of a stream; what ends it early is kept."""
    from av import FFmpegError

    try:
        yield from container.demux(stream)
    except (FFmpegError, OSError) as error:
        times.interrupted = _reason(error)


def _images(
    container: Any, stream: Any, times: _Times, wanted: set[int] | None = None
) -> Iterator[tuple[Image, int]]:
    """Images and times of those frames that are wanted, or of all."""
    deinterlace: _Deinterlacer | None = None
    convert = _Converter(stream)
    for frame in _decoded(container, stream, times):
        time_ns = times.next_ns(_seconds(frame.pts, stream))
        if time_ns is None:
            continue
        if frame.interlaced_frame and deinterlace is None:
            deinterlace = _Deinterlacer()
        if deinterlace is None:
            if wanted is None or time_ns in wanted:
                yield convert(frame), time_ns
            continue
        for whole, its_ns in deinterlace.push(frame, time_ns):
            if wanted is None or its_ns in wanted:
                yield convert(whole), its_ns
    for whole, its_ns in deinterlace.end() if deinterlace else ():
        if wanted is None or its_ns in wanted:
            yield convert(whole), its_ns


class _Deinterlacer:
    """FFmpeg's yadif, one image for each frame; frames that are not interlaced pass unchanged."""

    def __init__(self) -> None:
        self._graph: Any = None
        self._shape: tuple[int, int, str] | None = None
        self._times_ns: deque[int] = deque()

    def push(self, frame: Any, time_ns: int) -> Iterator[tuple[Any, int]]:
        """Frames that are whole after this one."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            yield from self.end()
            self._build(frame)
            self._shape = shape
        self._times_ns.append(time_ns)
        self._graph.push(frame)
        yield from self._pull()

    def end(self) -> Iterator[tuple[Any, int]]:
        """Frames that are still inside."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()
            self._graph = None

    def _build(self, frame: Any) -> None:
        from av.filter import Graph

        self._graph = Graph()
        nodes = (
            self._graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=frame.time_base,
            ),
            self._graph.add("yadif", "deint=interlaced"),
            self._graph.add("buffersink"),
        )
        self._graph.link_nodes(*nodes).configure()

    def _pull(self) -> Iterator[tuple[Any, int]]:
        from av import EOFError as EndOfFile

        while self._times_ns:
            try:
                frame = self._graph.pull()
            except (BlockingIOError, EndOfFile):
                return
            yield frame, self._times_ns.popleft()


class _Converter:
    """Frames of a stream as images: BGR, with square pixels, as the display matrix turns them."""

    def __init__(self, stream: Any) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()  # a frame's own would be set up anew each time
        aspect = float(stream.sample_aspect_ratio or 1)
        self._aspect = aspect if aspect > 0 and abs(aspect - 1) > SQUARE else 1.0
        self._rotation: int | None = None
        self._turn = _Turn()

    def __call__(self, frame: Any) -> Image:
        """(H, W, 3) uint8 BGR."""
        # Side data and its frame refer to each other: looked at in every frame they would pile up
        # until Python looks for circles.
        if frame.rotation != self._rotation:
            self._rotation, self._turn = frame.rotation, _turn_of(frame)
        converted = self._reformatter.reformat(
            frame,
            width=round(frame.width * max(self._aspect, 1)),
            height=round(frame.height / min(self._aspect, 1)),
            format="bgr24",
            interpolation="BICUBIC" if self._aspect != 1 else None,
        )
        return self._turn(np.asarray(converted.to_ndarray(), np.uint8))


class _Turn(NamedTuple):
    """One of the eight ways to turn and mirror an image."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def __call__(self, image: Image) -> Image:
        if not any(self):
            return image
        if self.transposed:
            image = image.transpose(1, 0, 2)
        rows, columns = (-1 if flag else 1 for flag in (self.upside_down, self.mirrored))
        return np.ascontiguousarray(image[::rows, ::columns])


def _turn_of(frame: Any) -> _Turn:
    """The nearest turn to what the frame's display matrix tells."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5] / 65536
            # x' = a x + c y, y' = b x + d y
            if abs(b) > abs(a):  # the axes change places
                return _Turn(True, bool(b < 0), bool(c < 0))
            return _Turn(False, bool(d < 0), bool(a < 0))
    return _Turn()


def _report_losses(source: str, stream: Any, times: _Times) -> None:
    """Log once what of a video was not to be had."""
    told = int(stream.frames or 0)
    if times.interrupted:
        log.warning("%s: ends early after %d frames: %s", source, times.count, times.interrupted)
    elif told > times.count + times.late + times.broken:
        log.warning(
            "%s: %d of %d frames could be read: the file was cut off", source, times.count, told
        )
    if times.broken or times.late:
        log.warning(
            "%s: %d frames left out: %d broken, %d not later than the one before",
            source,
            times.broken + times.late,
            times.broken,
            times.late,
        )
