"""A rig of cameras: a 2D node for each, what plays their videos if they have any, and the fusion
of what they see.

The rig file names the cameras. Every setting of the nodes is an argument; one that is not given is
as the configuration file has it. With rviz:=true also RViz.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from pose3d_ros.arguments import Argument, arguments
from pose3d_ros.nodes.rig_launch import nodes_of_rig
from pose3d_ros.resources import share

ARGUMENTS = {
    **arguments(("multiview",)),
    "rviz": Argument("false", "Show skeletons in RViz", ("true", "false")),
}


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The processes that the rig file asks for."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    started: list[LaunchDescriptionEntity] = [
        Node(
            package="pose3d_ros",
            executable=planned.node,
            name=planned.node,
            namespace=planned.namespace,
            output="screen",
            remappings=list(planned.remappings.items()),
            parameters=[
                given["config"],
                {
                    key: ParameterValue(value, value_type=str)
                    if isinstance(value, str)
                    else value  # 0 may be a video
                    for key, value in planned.parameters.items()
                },
            ],
            arguments=["--ros-args", "--log-level", given["log_level"]],
        )
        for planned in nodes_of_rig(given)
    ]
    if given["rviz"] == "true":
        namespace = given["namespace"].strip("/")
        started.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz",
                namespace=namespace,
                output="screen",
                arguments=["-d", str(share("config", "pose3d.rviz"))],
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
