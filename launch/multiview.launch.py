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

"""A rig of cameras: a 2D node for each, what plays their videos if they have any, and the fusion
of what they see.

The rig file names the cameras. Every setting of the nodes is an argument; one that is not given is
as the configuration file has it. With viewer:=true people move in a web browser, with rviz:=true
in RViz, with humans:=true they are published as ROS4HRI bodies as well, with recorder:=true
written to a file, with separation:=true shapes:=FILE their distance from the robot is told.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from pose3d_ros.arguments import Argument, arguments
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.nodes.rig_launch import nodes_of_rig
from pose3d_ros.nodes.rviz import rviz_arguments

ARGUMENTS = {
    **arguments(("multiview",)),
    "rviz": Argument("false", "Show skeletons in RViz", ("true", "false")),
}


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The processes that the rig file asks for."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    planned = nodes_of_rig(given)
    world = given["fixed_frame"] or read_rig(given["rig"]).frame_id
    rviz = rviz_arguments("pose3d_rig.rviz", world) if given["rviz"] == "true" else []
    started: list[LaunchDescriptionEntity] = [
        Node(
            package="pose3d_ros",
            executable=node.node,
            name=node.node,
            namespace=node.namespace,
            output="screen",
            remappings=list(node.remappings.items()),
            parameters=[
                given["config"],
                {
                    key: ParameterValue(value, value_type=str)
                    if isinstance(value, str)
                    else value  # 0 may be a video
                    for key, value in node.parameters.items()
                },
            ],
            arguments=["--ros-args", "--log-level", given["log_level"]],
        )
        for node in planned
    ]
    if rviz:
        namespace = given["namespace"].strip("/")
        started.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz",
                namespace=namespace,
                output="screen",
                arguments=rviz,
                remappings=[("/pose3d/markers", f"/{namespace}/markers".replace("//", "/"))],
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
