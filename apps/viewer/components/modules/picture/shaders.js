// The ray march of the three-dimensional view. Box coordinates run from 0 to 1 along i (left), j (back), k (head).

export const VERTEX = `#version 300 es
out vec2 place;
void main() {
  place = vec2(float((gl_VertexID << 1) & 2), float(gl_VertexID & 2));
  gl_Position = vec4(place * 2.0 - 1.0, 0.0, 1.0);
}`;

export const FRAGMENT = `#version 300 es
precision highp float;
precision highp sampler3D;
in vec2 place;
out vec4 colour;
uniform sampler3D scan;
uniform sampler3D labels;
uniform sampler2D colours;
uniform vec3 size;
uniform vec3 shape;
uniform float aspect;
uniform float yaw;
uniform float pitch;

vec4 labelColour(vec3 at) {
  float label = texture(labels, at).r * 255.0;
  return texture(colours, vec2((floor(label + 0.5) + 0.5) / 256.0, 0.5));
}

float labelAt(vec3 at) {
  return floor(texture(labels, at).r * 255.0 + 0.5);
}

float same(vec3 at, float label) {
  return abs(labelAt(at) - label) < 0.5 ? 1.0 : 0.0;
}

void main() {
  // Looking from the front, the patient's right on the left of the picture; parallel rays.
  vec2 flat2 = (place * 2.0 - 1.0) * 0.8 * vec2(aspect, 1.0) / min(aspect, 1.0);
  float cy = cos(yaw), sy = sin(yaw), cp = cos(pitch), sp = sin(pitch);
  vec3 across = vec3(cy, sy, 0.0);
  vec3 forward = vec3(-sy * cp, cy * cp, -sp);
  vec3 up = vec3(-sy * sp, cy * sp, cp);
  vec3 origin = (across * flat2.x + up * flat2.y - forward * 2.0) / size + 0.5;
  vec3 way = forward / size;
  vec3 safe = mix(way, vec3(1e-6), lessThan(abs(way), vec3(1e-6)));
  vec3 one = (vec3(0.0) - origin) / safe;
  vec3 other = (vec3(1.0) - origin) / safe;
  vec3 nearest = min(one, other);
  vec3 farthest = max(one, other);
  float start = max(max(nearest.x, nearest.y), nearest.z);
  float end = min(min(farthest.x, farthest.y), farthest.z);
  if (start >= end) { colour = vec4(0.0, 0.0, 0.0, 1.0); return; }
  float stride = 1.0 / max(max(shape.x, shape.y), shape.z);
  float brightest = 0.0;
  vec3 lit = vec3(0.0);
  float cover = 0.0;
  for (int n = 0; n < 600; n++) {
    float along = start + float(n) * stride;
    if (along > end) break;
    vec3 at = origin + way * along;
    brightest = max(brightest, texture(scan, at).r);
    vec4 found = labelColour(at);
    if (found.a > 0.02 && cover < 0.97) {
      vec3 h = 1.5 / shape;
      float label = labelAt(at);
      vec3 slope = vec3(
        same(at + vec3(h.x, 0.0, 0.0), label) - same(at - vec3(h.x, 0.0, 0.0), label),
        same(at + vec3(0.0, h.y, 0.0), label) - same(at - vec3(0.0, h.y, 0.0), label),
        same(at + vec3(0.0, 0.0, h.z), label) - same(at - vec3(0.0, 0.0, h.z), label));
      float length2 = dot(slope, slope);
      if (length2 > 0.0) {
        float light = 0.35 + 0.65 * abs(dot(normalize(slope), normalize(forward)));
        float share = (1.0 - cover) * found.a;
        lit += found.rgb * light * share;
        cover += share;
      }
    }
  }
  vec3 ground = vec3(brightest * 0.35);
  colour = vec4(lit + ground * (1.0 - cover), 1.0);
}`;
