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

"""Subscriptions that take the publisher's QoS and explain their own silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Condition
from typing import Any, Generic, TypeVar

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from pose3d_ros.nodes.managed_node import ManagedNode

T = TypeVar("T")
# the executor empties the queue faster than cameras fill it; what is too old is dropped and
# counted later
DEPTH = 5
PERIOD_S = 0.2  # of looking for publishers
SILENCE_S = 2.0  # of a publisher that was heard; of a slow one, three of its longest pauses
LONGEST_SILENCE_S = 60.0
LEASE_S = 25.0  # for which ROS may know the publishers of a process that was killed
PATIENCE_S = 5.0  # for one to appear and to begin: nodes of a launch file start in any order
START_POSES = "start the monocular or the multiview node in this namespace"


def qos_of(publishers: Sequence[Any]) -> QoSProfile:
    """QoS that is compatible with all the publishers (``TopicEndpointInfo``) and as good as they
    allow.
    """
    profiles = [publisher.qos_profile for publisher in publishers]
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def describe_qos(qos: QoSProfile) -> str:
    """The two policies that decide who hears whom."""
    return (
        f"{qos.reliability.name.lower().replace('_', ' ')}, "
        f"{qos.durability.name.lower().replace('_', ' ')}"
    )


class Input:
    """One topic that a node hears: subscribes when a publisher appears, with its QoS, and again
    when that changes.

    ``remedy``: what to do when nobody publishes. An ``optional`` input keeps quiet about that, and
    one that is ``constant`` about silence once it was heard. Silence is only counted while the
    node runs freely: not while it is ``busy`` with what it heard, because the sender may wait for
    the answer. Whatever ``callback`` raises costs one line and that message.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        topic: str,
        message_type: type,
        callback: Callable[[Any], None],
        remedy: str = "",
        optional: bool = False,
        constant: bool = False,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.node, self.message_type = node, message_type
        self.topic = node.resolve_topic_name(topic)
        self.remedy, self.optional, self.constant = remedy, optional, constant
        self.type_name = f"{message_type.__module__.split('.')[0]}/msg/{message_type.__name__}"
        self.heard_at = self._checked_at = time.monotonic()
        self.heard = False  # anything, since the subscription
        self.subscription: Any = None
        self.qos: QoSProfile | None = None
        self._callback = node.guarded(f"a message on {self.topic}", callback)
        self._busy = busy
        self._silent_s = 0.0
        self._pause_s = 0.0  # the longest of the last between two messages, fading
        self._several_since: tuple[tuple[str, ...], float] = ((), 0.0)
        self.timer = node.every(PERIOD_S, self.check)
        self.check()

    def _hear(self, message: Any) -> None:
        now = time.monotonic()
        if self.heard:
            self._pause_s = max(now - self.heard_at, 0.9 * self._pause_s)
        self.heard_at, self.heard, self._silent_s = now, True, 0.0
        self.node.solved(self.topic)
        self._callback(message)

    @property
    def alive(self) -> bool:
        """Whether the topic is being heard."""
        return self.heard and time.monotonic() - self.heard_at < SILENCE_S

    def check(self) -> None:
        """Follow the publishers of the topic, and say why nothing is heard."""
        now = time.monotonic()
        # a machine that did not let this run for a second may have kept the messages as long
        self._silent_s += min(now - self._checked_at, 2 * PERIOD_S)
        self._checked_at = now
        if self._busy():
            self._silent_s = 0.0
        publishers = self.node.get_publishers_info_by_topic(self.topic)
        matching = [
            publisher for publisher in publishers if publisher.topic_type == self.type_name
        ]
        if matching and (qos := qos_of(matching)) != self.qos:
            self._subscribe(qos)
        self._check_alone(matching)
        if self.constant and self.heard:
            return
        patience = PATIENCE_S
        if self.heard and publishers:
            patience = min(max(SILENCE_S, 3 * self._pause_s), LONGEST_SILENCE_S)
        if self._silent_s < patience or self.optional and not publishers:
            return
        if not publishers:
            self.node.problem(
                self.topic,
                f"nobody publishes {self.topic} ({self.type_name}): {self.remedy}"
                f"{self._alternatives()}",
                cause="nobody publishes",
            )
        elif not matching:
            types = ", ".join(sorted({publisher.topic_type for publisher in publishers}))
            self.node.problem(
                self.topic,
                f"expected {self.type_name} on {self.topic}, got {types}: {self.remedy}",
            )
        else:
            self.node.problem(self.topic, self._why_silent(matching[0], patience))

    def _subscribe(self, qos: QoSProfile) -> None:
        self._unsubscribe()
        self.subscription = self.node.create_subscription(
            self.message_type, self.topic, self._hear, qos
        )
        self.qos, self._silent_s = qos, 0.0
        self.heard = self.constant and self.heard

    def _why_silent(self, publisher: Any, patience_s: float) -> str:
        assert self.qos is not None
        text = (
            f"no message on {self.topic} for {patience_s:.2g} s, although {publisher.node_name} "
            f"offers it ({describe_qos(self.qos)}): see whether it still sends"
        )
        if self.heard or self.qos.reliability == ReliabilityPolicy.RELIABLE:
            return text
        return (
            f"{text}; large best-effort messages get lost where the publisher lacks shared memory "
            f"(config/fastdds.xml) or the network drops fragments"
        )

    def _check_alone(self, publishers: Sequence[Any]) -> None:
        """Name publishers that share the topic: what they send is mixed. Of one that was killed
        and started again, ROS knows both for a while.
        """
        key, now = f"{self.topic} publishers", time.monotonic()
        names = tuple(sorted(_full_name(publisher) for publisher in publishers))
        if len(names) < 2:
            self._several_since = names, now
            self.node.solved(key)
            return
        if names != self._several_since[0]:
            self._several_since = names, now
        patience_s = PATIENCE_S if len(set(names)) > 1 else LEASE_S
        if now - self._several_since[1] > patience_s:
            self.node.problem(
                key,
                f"{len(names)} publishers of {self.topic}: {', '.join(names)}: expected one, "
                f"because what they send is mixed; stop the others, or remap the topic",
            )

    def _alternatives(self) -> str:
        node = self.node
        topics = [
            name
            for name, types in node.get_topic_names_and_types()
            if self.type_name in types
            and any(
                publisher.node_name != node.get_name()
                for publisher in node.get_publishers_info_by_topic(name)
            )
        ]
        return f"; topics of this type: {', '.join(topics[:4])}" if topics else ""

    def _unsubscribe(self) -> None:
        if self.subscription is not None:
            self.node.destroy_subscription(self.subscription)
            self.subscription = None

    def close(self) -> None:
        """Stop listening."""
        self.node.destroy_timer(self.timer)
        self._unsubscribe()
        self.node.solved(self.topic, f"{self.topic} publishers")


def _full_name(publisher: Any) -> str:
    return f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"


class Newest(Generic[T]):
    """A place for one item between two threads: what is not taken in time is dropped and
    counted.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._item: T | None = None
        self._taken = False
        self._open = True
        self.dropped = 0

    def put(self, item: T) -> None:
        """Put the newest item in, and drop the one that nobody took."""
        with self._changed:
            self.dropped += self._item is not None
            self._item = item
            self._changed.notify()

    def take(self) -> T | None:
        """Wait for an item, being done with the last one; None after ``close``."""
        with self._changed:
            self._taken = False
            self._changed.wait_for(lambda: self._item is not None or not self._open)
            item, self._item = self._item, None
            self._taken = self._open
            return item if self._open else None

    @property
    def busy(self) -> bool:
        """Whether an item waits, or the taker is at work on one."""
        return self._taken or self._item is not None

    def close(self) -> None:
        """Wake the taker for good."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
