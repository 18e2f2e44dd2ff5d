// attention: 1 x 64 x 1 workgroups
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4f>;
var<workgroup> keys: array<vec4f, 256>;
var<workgroup> values: array<vec4f, 256>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
        let kStart = (group.y / 8u) * 19200u + (group.y % 8u) * 16u + 128u;
        let vStart = (group.y / 8u) * 19200u + (group.y % 8u) * 16u + 256u;
        let row = group.x * 64u + lane;
        let own = (group.y / 8u) * 19200u + (group.y % 8u) * 16u + min(row, 49u) * 384u;
        let q0 = q[own + 0u] * 0.125f;
  let q1 = q[own + 1u] * 0.125f;
  let q2 = q[own + 2u] * 0.125f;
  let q3 = q[own + 3u] * 0.125f;
  let q4 = q[own + 4u] * 0.125f;
  let q5 = q[own + 5u] * 0.125f;
  let q6 = q[own + 6u] * 0.125f;
  let q7 = q[own + 7u] * 0.125f;
  let q8 = q[own + 8u] * 0.125f;
  let q9 = q[own + 9u] * 0.125f;
  let q10 = q[own + 10u] * 0.125f;
  let q11 = q[own + 11u] * 0.125f;
  let q12 = q[own + 12u] * 0.125f;
  let q13 = q[own + 13u] * 0.125f;
  let q14 = q[own + 14u] * 0.125f;
  let q15 = q[own + 15u] * 0.125f;
        var o0 = vec4f();
  var o1 = vec4f();
  var o2 = vec4f();
  var o3 = vec4f();
  var o4 = vec4f();
  var o5 = vec4f();
  var o6 = vec4f();
  var o7 = vec4f();
  var o8 = vec4f();
  var o9 = vec4f();
  var o10 = vec4f();
  var o11 = vec4f();
  var o12 = vec4f();
  var o13 = vec4f();
  var o14 = vec4f();
  var o15 = vec4f();
        var largest = -3.402823e38f;
        var total = 0.0f;
        for (var s0 = 0u; s0 < 50u; s0 += 16u) {
          for (var i = lane; i < 256u; i += 64u) {
          keys[i] = vec4f();
          if (s0 + i / 16u < 50u) { keys[i] = q[kStart + (s0 + i / 16u) * 384u + i % 16u]; }
          values[i] = vec4f();
          if (s0 + i / 16u < 50u) { values[i] = q[vStart + (s0 + i / 16u) * 384u + i % 16u]; }
          }
          workgroupBarrier();
          for (var j = 0u; j < min(16u, 50u - s0); j++) {
            let at = j * 16u;
            var score = 0.0f;
            score += dot(q0, keys[at + 0u]);
  score += dot(q1, keys[at + 1u]);
  score += dot(q2, keys[at + 2u]);
  score += dot(q3, keys[at + 3u]);
  score += dot(q4, keys[at + 4u]);
  score += dot(q5, keys[at + 5u]);
  score += dot(q6, keys[at + 6u]);
  score += dot(q7, keys[at + 7u]);
  score += dot(q8, keys[at + 8u]);
  score += dot(q9, keys[at + 9u]);
  score += dot(q10, keys[at + 10u]);
  score += dot(q11, keys[at + 11u]);
  score += dot(q12, keys[at + 12u]);
  score += dot(q13, keys[at + 13u]);
  score += dot(q14, keys[at + 14u]);
  score += dot(q15, keys[at + 15u]);
            let most = max(largest, score);
            let scale = exp(largest - most);
            let power = exp(score - most);
            total = total * scale + power;
            largest = most;
            o0 = o0 * scale + power * values[at + 0u];
  o1 = o1 * scale + power * values[at + 1u];
  o2 = o2 * scale + power * values[at + 2u];
  o3 = o3 * scale + power * values[at + 3u];
  o4 = o4 * scale + power * values[at + 4u];
  o5 = o5 * scale + power * values[at + 5u];
  o6 = o6 * scale + power * values[at + 6u];
  o7 = o7 * scale + power * values[at + 7u];
  o8 = o8 * scale + power * values[at + 8u];
  o9 = o9 * scale + power * values[at + 9u];
  o10 = o10 * scale + power * values[at + 10u];
  o11 = o11 * scale + power * values[at + 11u];
  o12 = o12 * scale + power * values[at + 12u];
  o13 = o13 * scale + power * values[at + 13u];
  o14 = o14 * scale + power * values[at + 14u];
  o15 = o15 * scale + power * values[at + 15u];
          }
          workgroupBarrier();
        }
        if (row >= 50u) { return; }
        let to = (group.y / 8u) * 6400u + (group.y % 8u) * 16u + row * 128u;
        result[to + 0u] = o0 / total;
  result[to + 1u] = o1 / total;
  result[to + 2u] = o2 / total;
  result[to + 3u] = o3 / total;
  result[to + 4u] = o4 / total;
  result[to + 5u] = o5 / total;
  result[to + 6u] = o6 / total;
  result[to + 7u] = o7 / total;
  result[to + 8u] = o8 / total;
  result[to + 9u] = o9 / total;
  result[to + 10u] = o10 / total;
  result[to + 11u] = o11 / total;
  result[to + 12u] = o12 / total;
  result[to + 13u] = o13 / total;
  result[to + 14u] = o14 / total;
  result[to + 15u] = o15 / total;
}
