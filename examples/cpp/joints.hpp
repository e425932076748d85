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

// Reads the topic `joints` of pose3d_ros: copy this file into your package, it needs sensor_msgs.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <sensor_msgs/msg/point_cloud2.hpp>
#include <sensor_msgs/point_cloud2_iterator.hpp>

namespace pose3d
{

/// Columns of the message: Human3.6M's order, and with skeleton:=body30 13 more.
enum Column : std::size_t
{
  PELVIS, R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE, SPINE, THORAX, NECK, HEAD,
  L_SHOULDER, L_ELBOW, L_WRIST, R_SHOULDER, R_ELBOW, R_WRIST,
  NOSE, L_EYE, R_EYE, L_EAR, R_EAR, L_INDEX, R_INDEX, L_PINKY, R_PINKY, L_HEEL, R_HEEL,
  L_FOOT, R_FOOT
};

/// Place in metres in the message's frame, NaN where it is not known, and one standard deviation.
struct Joint
{
  float x, y, z, sigma;
};

struct Person
{
  std::int32_t id;
  std::vector<Joint> joints;  // by Column
};

/// Everybody in a message. Throws std::runtime_error for a cloud without these fields.
inline std::vector<Person> read(const sensor_msgs::msg::PointCloud2 & cloud)
{
  std::vector<Person> people;
  if (cloud.height == 0) {
    return people;  // nobody is in view
  }
  sensor_msgs::PointCloud2ConstIterator<float> x(cloud, "x"), y(cloud, "y"), z(cloud, "z");
  sensor_msgs::PointCloud2ConstIterator<float> sigma(cloud, "sigma");
  sensor_msgs::PointCloud2ConstIterator<std::int32_t> id(cloud, "person");
  for (std::size_t row = 0; row < cloud.height; ++row) {
    people.push_back({*id, {}});
    for (std::size_t column = 0; column < cloud.width; ++column) {
      people.back().joints.push_back({*x, *y, *z, *sigma});
      ++x, ++y, ++z, ++sigma, ++id;
    }
  }
  return people;
}

}  // namespace pose3d
