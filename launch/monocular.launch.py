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

"""The monocular node; with video:= also a node that plays one, with viewer:=true one that
shows people in a web browser, with humans:=true one that publishes them as ROS4HRI bodies, with
recorder:=true one that writes them to a file, with separation:=true shapes:=FILE one that tells
their distance from the robot, with rviz:=true also RViz.

Every setting of the nodes is an argument; one that is not given is as the configuration file has
it.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from pose3d_ros.arguments import BESIDE, ONE_CAMERA, TOPICS, Argument, arguments, parameters
from pose3d_ros.io.image_sources import check_exists
from pose3d_ros.nodes.rviz import rviz_arguments

ARGUMENTS = {
    **arguments(ONE_CAMERA),
    "rviz": Argument("false", "Show images and skeletons in RViz", ("true", "false")),
}


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The processes that the arguments ask for; what is missing is said before one starts."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    given["wait_for_subscribers"] = (
        given["wait_for_subscribers"] or "1"
    )  # a short video would be over too early
    namespace = given["namespace"].strip("/")
    common = {"namespace": namespace, "output": "screen"}

    def node(name: str) -> Node:
        overrides = {
            key: ParameterValue(value, value_type=str)
            if isinstance(value, str)
            else value  # 0 may be a video
            for key, value in parameters(name, given).items()
        }
        return Node(
            package="pose3d_ros",
            executable=name,
            name=name,
            **common,
            parameters=[given["config"], overrides],
            remappings=[(topic, given[topic]) for topic in TOPICS],
            arguments=["--ros-args", "--log-level", given["log_level"]],
        )

    rviz = rviz_arguments("pose3d.rviz", given["frame_id"]) if given["rviz"] == "true" else []
    started = [node("monocular")]
    if given["video"]:
        check_exists(given["video"])
        started.append(node("video"))
    started += [node(name) for name in BESIDE if given[name] == "true"]
    if rviz:
        started.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz",
                **common,
                arguments=rviz,
                remappings=[
                    (f"/pose3d/{topic}", f"/{namespace}/{topic}".replace("//", "/"))
                    for topic in ("overlay", "markers")
                ],
            )
        )
    return started


def generate_launch_description() -> LaunchDescription:
    """What ``ros2 launch`` calls."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    name,
                    default_value=default,
                    description=description,
                    **({"choices": list(choices)} if choices else {}),
                )
                for name, (default, description, choices) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=nodes),
        ]
    )
