"""ROS 2 nodes and message conversion: the only part of the package that imports ROS."""
