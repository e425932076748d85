"""GLSL of the renderer: skinned people, a room, shadows, and the label pass."""

PERSON_VERTEX = """
#version 330
layout(std140) uniform Bones { vec4 rows[3 * 192]; };
uniform mat4 clip_from_world;
uniform mat4 light_from_world;
in vec3 position; in vec3 normal; in vec3 canonical; in float material; in uvec4 bones; in vec4 weights;
out vec3 world; out vec3 facing; out vec3 body; flat out int made_of; out vec4 in_light;
mat3x4 bone(uint i) { return mat3x4(rows[3u * i], rows[3u * i + 1u], rows[3u * i + 2u]); }
void main() {
    mat3x4 m = weights.x * bone(bones.x) + weights.y * bone(bones.y)
             + weights.z * bone(bones.z) + weights.w * bone(bones.w);
    world = vec4(position, 1) * m;
    facing = vec4(normal, 0) * m;
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
in vec3 position; in vec3 normal;
out vec3 world; out vec3 facing; out vec4 in_light;
void main() {
    world = position; facing = normal;
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
in vec3 world; in vec3 facing; in vec4 in_light;
out vec4 colour;

float hash(vec3 p) {
    p = fract(p * 0.3183099 + vec3(0.11, 0.17, 0.13)) * 17.0;
    return fract(p.x * p.y * p.z * (p.x + p.y + p.z));
}
float noise(vec3 p) {
    vec3 i = floor(p), f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    return mix(mix(mix(hash(i), hash(i + vec3(1,0,0)), f.x),
                   mix(hash(i + vec3(0,1,0)), hash(i + vec3(1,1,0)), f.x), f.y),
               mix(mix(hash(i + vec3(0,0,1)), hash(i + vec3(1,0,1)), f.x),
                   mix(hash(i + vec3(0,1,1)), hash(i + vec3(1,1,1)), f.x), f.y), f.z);
}
// A line pattern's coverage, fading to its mean where a period is smaller than a pixel.
float band(float x, float width) {
    float blur = fwidth(x);
    float d = abs(fract(x) - 0.5);
    float on = 1.0 - smoothstep(width / 2.0 - blur, width / 2.0 + blur, d);
    return mix(on, width, clamp(2.0 * blur - 0.5, 0.0, 1.0));
}
float lit() {
    vec3 p = in_light.xyz / in_light.w * 0.5 + 0.5;
    if (any(lessThan(p, vec3(0.0))) || any(greaterThan(p, vec3(1.0)))) return 1.0;
    float sum = 0.0, texel = 1.5 / float(textureSize(shadow, 0).x);
    for (int i = -1; i <= 1; i += 2) for (int j = -1; j <= 1; j += 2)
        sum += texture(shadow, vec3(p.xy + texel * vec2(i, j), p.z - 0.003));
    return sum / 4.0;
}
vec4 shade(vec3 albedo, vec3 n, float gloss) {
    vec3 view = normalize(eye - world);
    if (dot(n, view) < 0.0) n = -n;
    vec3 ambient = mix(ground, sky, 0.5 + 0.5 * n.z);
    // Little skylight reaches what is near the floor or under somebody.
    ambient *= 0.55 + 0.45 * smoothstep(-0.3, 0.8, world.z);
    float direct = max(0.0, (dot(n, to_light) + 0.15) / 1.15) * lit();
    vec3 reflected = albedo * (ambient + direct * light_colour);
    float highlight = pow(max(0.0, dot(n, normalize(view + to_light))), 24.0) * gloss * direct;
    return vec4(pow(reflected + highlight * light_colour, vec3(1.0 / 2.2)), 1.0);
}
vec3 linear(vec3 srgb) { return pow(srgb, vec3(2.2)); }
"""

PERSON_FRAGMENT = """
#version 330
""" + _COMMON + """
in vec3 body; flat in int made_of;
uniform vec3 colours[6];
uniform vec3 second[6];
uniform int pattern[6];
uniform float scale[6];

vec3 skin(vec3 tone) {
    vec3 c = tone * (0.94 + 0.12 * noise(body * 60.0));
    vec3 side = vec3(abs(body.x), body.yz);
    float lips = 1.0 - smoothstep(0.7, 1.1, length((body - vec3(0.0, -0.148, 0.664)) / vec3(0.024, 0.02, 0.011)));
    float brow = 1.0 - smoothstep(0.7, 1.1, length((side - vec3(0.033, -0.142, 0.7505)) / vec3(0.021, 0.03, 0.0045)));
    float lid = 1.0 - smoothstep(0.6, 1.2, length((side - vec3(0.031, -0.135, 0.729)) / vec3(0.019, 0.03, 0.010)));
    float cheek = 1.0 - smoothstep(0.3, 1.2, length((side - vec3(0.042, -0.13, 0.69)) / vec3(0.03, 0.04, 0.03)));
    c = mix(c, c * vec3(1.08, 0.88, 0.85), cheek);
    c = mix(c, c * vec3(0.80, 0.48, 0.46), lips);
    c = mix(c, c * 0.55, lid);
    return mix(c, colours[2] * 0.7, brow);
}
vec3 eyeball() {
    float d = length(vec2(abs(body.x) - 0.031, body.z - 0.728));
    vec3 c = mix(vec3(0.16, 0.10, 0.06), vec3(0.85, 0.83, 0.80), smoothstep(0.0055, 0.0068, d));
    return mix(vec3(0.01), c, smoothstep(0.002, 0.003, d));
}
vec3 cloth(vec3 first, vec3 other, int kind, float s) {
    float share = 0.0;
    if (kind == 1) share = band(body.z * s, 0.5);
    if (kind == 2) share = band(atan(body.x, -body.y) * s * 0.12, 0.5);
    if (kind == 3) share = 0.5 * band(body.z * s, 0.4) + 0.5 * band((body.x + 0.3 * body.y) * s, 0.4);
    if (kind == 4) share = smoothstep(0.55, 0.65, noise(body * s * 1.5));
    if (kind == 5) share = 1.0 - smoothstep(0.05, 0.06, length(vec2(body.x, body.z - 0.40))) * step(body.y, 0.0);
    if (kind == 5 && body.y > 0.0) share = 0.0;
    float folds = 0.82 + 0.36 * noise(body * vec3(22.0, 22.0, 9.0)) * noise(body * 45.0 + 7.0);
    float thread = 0.97 + 0.06 * hash(floor(body * 900.0));
    return mix(first, other, share) * folds * thread;
}
void main() {
    vec3 base = linear(colours[made_of]);
    vec3 n = normalize(facing);
    float gloss = 0.02;
    if (made_of == 0) { base = skin(base); gloss = 0.10; }
    else if (made_of == 1) { base = eyeball(); gloss = 0.5; }
    else if (made_of == 2) {
        base *= 0.6 + 0.8 * noise(body * vec3(260.0, 260.0, 30.0));
        gloss = 0.08;
    } else if (made_of == 5) {
        base = mix(linear(second[5]), base, smoothstep(-0.805, -0.795, body.z));
        gloss = 0.1;
    } else base = cloth(base, linear(second[made_of]), pattern[made_of], scale[made_of]);
    colour = shade(base, n, gloss);
}
"""

ROOM_FRAGMENT = """
#version 330
""" + _COMMON + """
uniform vec3 floor_colour; uniform vec3 wall_colour; uniform vec3 object_colour;
uniform int floor_kind; uniform int wall_kind;
void main() {
    vec3 n = normalize(facing);
    vec3 base;
    float gloss = 0.0;
    float grain = 0.85 + 0.2 * noise(world * 5.0) + 0.1 * noise(world * 40.0);
    if (n.z > 0.5 && world.z < 0.01) {
        base = linear(floor_colour) * grain;
        if (floor_kind == 1) {
            float row = floor(world.y / 0.16);
            base *= 0.75 + 0.35 * hash(vec3(row, floor(world.x / 1.3 + 0.37 * row), 3.0));
            base *= 0.9 + 0.2 * noise(vec3(world.x * 3.0, world.y * 60.0, row));
            base *= 1.0 - 0.5 * band(world.y / 0.16 + 0.5, 0.03);
            gloss = 0.1;
        } else if (floor_kind == 2) {
            base *= 0.9 + 0.15 * hash(vec3(floor(world.xy / 0.5), 1.0));
            base *= 1.0 - 0.4 * max(band(world.x / 0.5 + 0.5, 0.02), band(world.y / 0.5 + 0.5, 0.02));
            gloss = 0.15;
        } else base *= 0.8 + 0.4 * noise(world * 120.0);
    } else if (n.z < -0.5) {
        vec2 lamp = abs(fract(world.xy / 2.0) - 0.5);
        base = vec3(0.9) + 2.0 * (1.0 - smoothstep(0.25, 0.3, lamp.x)) * step(lamp.y, 0.1);
    } else if (abs(n.z) < 0.01 && max(abs(world.x), abs(world.y)) > 5.9) {
        float along = abs(n.x) > 0.5 ? world.y : world.x;
        base = linear(wall_colour) * (0.9 + 0.1 * noise(world * 3.0) + 0.06 * noise(world * 30.0));
        if (wall_kind == 1) {
            float row = floor(world.z / 0.08);
            base *= 0.8 + 0.3 * hash(vec3(row, floor(along / 0.25 + 0.5 * row), 2.0));
            float joint = max(band(world.z / 0.08 + 0.5, 0.12), band(along / 0.25 + 0.5 * row + 0.5, 0.05));
            base = mix(base, vec3(0.5), 0.8 * joint);
        } else if (wall_kind == 2) {
            base *= 1.0 - 0.25 * band(along / 1.2, 0.02);
            vec2 cell = vec2(floor(along / 2.2), 4.0);
            vec2 at = vec2(fract(along / 2.2) * 2.2 - 1.1, world.z - 1.6);
            vec2 half_size = vec2(0.3 + 0.3 * hash(vec3(cell, 1.0)), 0.25 + 0.25 * hash(vec3(cell, 2.0)));
            if (all(lessThan(abs(at), half_size)))
                base = linear(0.35 + 0.3 * vec3(noise(vec3(at * 5.0, cell.x)), noise(vec3(at * 4.0, cell.x + 9.0)),
                                                noise(vec3(at * 7.0, cell.x + 5.0))));
        }
        if (world.z < 0.1) base = linear(wall_colour) * 0.35;
    } else {
        base = linear(object_colour) * grain * (0.8 + 0.3 * noise(world * vec3(2.0, 2.0, 30.0)));
    }
    colour = shade(base, n, gloss);
}
"""

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
