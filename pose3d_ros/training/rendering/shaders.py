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

"""GLSL of the renderer: skinned people, a room, shadows, and the label pass."""

PERSON_VERTEX = """
#version 330
layout(std140) uniform Bones { vec4 rows[3 * 192]; };
uniform mat4 clip_from_world;
uniform mat4 light_from_world;
in vec3 position; in vec3 normal; in vec3 canonical; in float material; in uvec4 bones; in vec4 weights;
out vec3 world; out vec3 facing; out vec3 rest; out vec3 body; flat out int made_of; out vec4 in_light;
mat3x4 bone(uint i) { return mat3x4(rows[3u * i], rows[3u * i + 1u], rows[3u * i + 2u]); }
void main() {
    mat3x4 m = weights.x * bone(bones.x) + weights.y * bone(bones.y)
             + weights.z * bone(bones.z) + weights.w * bone(bones.w);
    world = vec4(position, 1) * m;
    facing = vec4(normal, 0) * m;
    rest = normal;
    body = canonical;
    made_of = int(material + 0.5);
    in_light = light_from_world * vec4(world, 1);
    gl_Position = clip_from_world * vec4(world, 1);
}
"""

ROOM_VERTEX = """
#version 330
uniform mat4 clip_from_world;
uniform mat4 light_from_world;
in vec3 position; in vec3 normal; in float surface;
out vec3 world; out vec3 facing; flat out int made_of; out vec4 in_light;
void main() {
    world = position; facing = normal;
    made_of = int(surface + 0.5);
    in_light = light_from_world * vec4(position, 1);
    gl_Position = clip_from_world * vec4(position, 1);
}
"""

_COMMON = """
uniform vec3 eye;
uniform vec3 to_light;
uniform vec3 light_colour;
uniform vec3 sky;
uniform vec3 ground;
uniform sampler2DShadow shadow;
uniform sampler2DArray textures;
// By what a point is made of: two colours (linear), the texture that mixes them, its repetitions per metre, its gloss.
uniform vec3 first[8];
uniform vec3 second[8];
uniform float layer[8];
uniform float scale[8];
uniform float gloss[8];
in vec3 world; in vec3 facing; flat in int made_of; in vec4 in_light;
out vec4 colour;

// The two coordinates of a point that lie along a surface of this normal.
vec2 along(vec3 p, vec3 n) {
    vec3 a = abs(n);
    return a.z > max(a.x, a.y) ? p.xy : (a.x > a.y ? p.yz : p.xz);
}
vec3 albedo(vec2 uv) {
    return mix(first[made_of], second[made_of], texture(textures, vec3(uv * scale[made_of], layer[made_of])).rgb);
}
float lit() {
    vec3 p = in_light.xyz / in_light.w * 0.5 + 0.5;
    if (any(lessThan(p, vec3(0.0))) || any(greaterThan(p, vec3(1.0)))) return 1.0;
    float texel = 0.75 / float(textureSize(shadow, 0).x);
    return 0.5 * (texture(shadow, vec3(p.xy - texel, p.z - 0.004)) + texture(shadow, vec3(p.xy + texel, p.z - 0.004)));
}
vec4 shade(vec3 base, vec3 n, float shine) {
    vec3 view = normalize(eye - world);
    if (dot(n, view) < 0.0) n = -n;
    vec3 ambient = mix(ground, sky, 0.5 + 0.5 * n.z);
    // Little skylight reaches what is near the floor or under somebody.
    ambient *= 0.55 + 0.45 * smoothstep(-0.3, 0.8, world.z);
    float direct = max(0.0, (dot(n, to_light) + 0.15) / 1.15) * lit();
    vec3 reflected = base * (ambient + direct * light_colour);
    float highlight = pow(max(0.0, dot(n, normalize(view + to_light))), 24.0) * shine * direct;
    return vec4(sqrt(reflected + highlight * light_colour), 1.0);
}
"""

PERSON_FRAGMENT = (
    """
#version 330
"""
    + _COMMON
    + """
in vec3 body; in vec3 rest;
uniform float folds;

vec3 skin(vec3 c) {
    vec3 side = vec3(abs(body.x), body.yz);
    float lips = 1.0 - smoothstep(0.7, 1.1, length((body - vec3(0.0, -0.148, 0.664)) / vec3(0.024, 0.02, 0.011)));
    float brow = 1.0 - smoothstep(0.7, 1.1, length((side - vec3(0.033, -0.142, 0.7505)) / vec3(0.021, 0.03, 0.0045)));
    float lid = 1.0 - smoothstep(0.6, 1.2, length((side - vec3(0.031, -0.135, 0.729)) / vec3(0.019, 0.03, 0.010)));
    float cheek = 1.0 - smoothstep(0.3, 1.2, length((side - vec3(0.042, -0.13, 0.69)) / vec3(0.03, 0.04, 0.03)));
    c = mix(c, c * vec3(1.08, 0.88, 0.85), cheek);
    c = mix(c, c * vec3(0.80, 0.48, 0.46), lips);
    c = mix(c, c * 0.55, lid);
    return mix(c, first[2] * 0.7, brow);
}
vec3 eyeball() {
    float d = length(vec2(abs(body.x) - 0.031, body.z - 0.728));
    vec3 c = mix(vec3(0.16, 0.10, 0.06), vec3(0.85, 0.83, 0.80), smoothstep(0.0055, 0.0068, d));
    return mix(vec3(0.01), c, smoothstep(0.002, 0.003, d));
}
void main() {
    vec2 uv = along(body, rest);
    vec3 base = albedo(uv);
    vec3 n = normalize(facing);
    if (made_of == 0) base = skin(base);
    if (made_of == 1) base = eyeball();
    if (made_of == 3 || made_of == 4) {
        // Folds of cloth: how it leans, and less light in their depths.
        vec3 fold = texture(textures, vec3(uv * vec2(2.2, 1.4), 1.0)).rgb - 0.5;
        n = normalize(n + folds * fold);
        base *= 1.0 + 0.5 * folds * fold.x;
    }
    colour = shade(base, n, gloss[made_of]);
}
"""
)

ROOM_FRAGMENT = (
    """
#version 330
"""
    + _COMMON
    + """
void main() {
    vec2 uv = along(world, facing);
    vec3 base = albedo(uv) * (0.8 + 0.4 * texture(textures, vec3(uv * 0.37, 0.0)).r);
    colour = shade(base, facing, gloss[made_of]);
}
"""
)

SHADOW_FRAGMENT = """
#version 330
void main() {}
"""

LABEL_FRAGMENT = """
#version 330
uniform float person;
in vec3 world;
uniform vec4 depth_from_world;
out vec2 label;
void main() { label = vec2(person, dot(depth_from_world, vec4(world, 1.0))); }
"""
