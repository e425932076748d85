// Copyright 2026 pose3d_ros maintainers
// SPDX-License-Identifier: Apache-2.0
//
// Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
// in compliance with the License. You may obtain a copy of the License at
// http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software distributed under the License
// is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
// or implied. See the License for the specific language governing permissions and limitations under
// the License.

// Prints where everybody's left wrist is: ros2 run read_joints read_joints --ros-args -r __ns:=/pose3d

#include <memory>

#include <rclcpp/rclcpp.hpp>

#include "joints.hpp"

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  const auto node = std::make_shared<rclcpp::Node>("read_joints");
  const auto subscription = node->create_subscription<sensor_msgs::msg::PointCloud2>(
    "joints", 1, [node](sensor_msgs::msg::PointCloud2::ConstSharedPtr cloud) {
      for (const auto & person : pose3d::read(*cloud)) {
        const auto & wrist = person.joints.at(pose3d::L_WRIST);
        RCLCPP_INFO(
          node->get_logger(), "person %d: left wrist at %.2f %.2f %.2f m in %s, sigma %.2f m",
          person.id, wrist.x, wrist.y, wrist.z, cloud->header.frame_id.c_str(), wrist.sigma);
      }
    });
  rclcpp::spin(node);
  rclcpp::shutdown();
  return 0;
}
