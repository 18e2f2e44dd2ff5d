// attention: 4 x 8 x 8 workgroups
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4f>;
var<workgroup> queries: array<vec4f, 272>;
var<workgroup> held: array<vec4f, 544>;
var<workgroup> powers: array<vec4f, 144>;
var<workgroup> exchanged: array<vec2f, 64>;
@compute @workgroup_size(8, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row0 = group.x * 16u;
  let qStart = group.z * 19200u + group.y * 16u;
  let kStart = group.z * 19200u + group.y * 16u + 128u;
  let vStart = group.z * 19200u + group.y * 16u + 256u;
  var queries0: vec4f; var queries1: vec4f; var queries2: vec4f; var queries3: vec4f;
  var keys0: vec4f; var keys1: vec4f; var keys2: vec4f; var keys3: vec4f; var keys4: vec4f; var keys5: vec4f; var keys6: vec4f; var keys7: vec4f;
  var values0: vec4f; var values1: vec4f; var values2: vec4f; var values3: vec4f; var values4: vec4f; var values5: vec4f; var values6: vec4f; var values7: vec4f;
  keys0 = q[kStart + min((lane / 16u), 49u) * 384u + lane % 16u];
  keys1 = q[kStart + min((lane / 16u + 4u), 49u) * 384u + lane % 16u];
  keys2 = q[kStart + min((lane / 16u + 8u), 49u) * 384u + lane % 16u];
  keys3 = q[kStart + min((lane / 16u + 12u), 49u) * 384u + lane % 16u];
  keys4 = q[kStart + min((lane / 16u + 16u), 49u) * 384u + lane % 16u];
  keys5 = q[kStart + min((lane / 16u + 20u), 49u) * 384u + lane % 16u];
  keys6 = q[kStart + min((lane / 16u + 24u), 49u) * 384u + lane % 16u];
  keys7 = q[kStart + min((lane / 16u + 28u), 49u) * 384u + lane % 16u];
  queries0 = q[qStart + min(row0 + (lane / 16u), 49u) * 384u + lane % 16u];
  queries1 = q[qStart + min(row0 + (lane / 16u + 4u), 49u) * 384u + lane % 16u];
  queries2 = q[qStart + min(row0 + (lane / 16u + 8u), 49u) * 384u + lane % 16u];
  queries3 = q[qStart + min(row0 + (lane / 16u + 12u), 49u) * 384u + lane % 16u];
  queries[(lane / 16u) * 17u + lane % 16u] = queries0;
  queries[(lane / 16u + 4u) * 17u + lane % 16u] = queries1;
  queries[(lane / 16u + 8u) * 17u + lane % 16u] = queries2;
  queries[(lane / 16u + 12u) * 17u + lane % 16u] = queries3;
  var largest = vec2f(-3.402823e38f);
  var total = vec2f();
  var o0 = vec4f();
  var o1 = vec4f();
  var o2 = vec4f();
  var o3 = vec4f();
  for (var first = 0u; first < 50u; first += 32u) {
    values0 = q[vStart + min(first + (lane / 16u), 49u) * 384u + lane % 16u];
    values1 = q[vStart + min(first + (lane / 16u + 4u), 49u) * 384u + lane % 16u];
    values2 = q[vStart + min(first + (lane / 16u + 8u), 49u) * 384u + lane % 16u];
    values3 = q[vStart + min(first + (lane / 16u + 12u), 49u) * 384u + lane % 16u];
    values4 = q[vStart + min(first + (lane / 16u + 16u), 49u) * 384u + lane % 16u];
    values5 = q[vStart + min(first + (lane / 16u + 20u), 49u) * 384u + lane % 16u];
    values6 = q[vStart + min(first + (lane / 16u + 24u), 49u) * 384u + lane % 16u];
    values7 = q[vStart + min(first + (lane / 16u + 28u), 49u) * 384u + lane % 16u];
    held[((lane / 16u) % 4u * 8u + (lane / 16u) / 4u) * 17u + lane % 16u] = keys0;
    held[((lane / 16u + 4u) % 4u * 8u + (lane / 16u + 4u) / 4u) * 17u + lane % 16u] = keys1;
    held[((lane / 16u + 8u) % 4u * 8u + (lane / 16u + 8u) / 4u) * 17u + lane % 16u] = keys2;
    held[((lane / 16u + 12u) % 4u * 8u + (lane / 16u + 12u) / 4u) * 17u + lane % 16u] = keys3;
    held[((lane / 16u + 16u) % 4u * 8u + (lane / 16u + 16u) / 4u) * 17u + lane % 16u] = keys4;
    held[((lane / 16u + 20u) % 4u * 8u + (lane / 16u + 20u) / 4u) * 17u + lane % 16u] = keys5;
    held[((lane / 16u + 24u) % 4u * 8u + (lane / 16u + 24u) / 4u) * 17u + lane % 16u] = keys6;
    held[((lane / 16u + 28u) % 4u * 8u + (lane / 16u + 28u) / 4u) * 17u + lane % 16u] = keys7;
    workgroupBarrier();
    var s0 = vec4f();
    var s1 = vec4f();
    for (var i = 0u; i < 16u; i++) {
      let k0 = held[(local.x) * 17u + i];
      let k1 = held[(local.x + 8u) * 17u + i];
      let k2 = held[(local.x + 16u) * 17u + i];
      let k3 = held[(local.x + 24u) * 17u + i];
      let c0 = vec4f(k0.x, k1.x, k2.x, k3.x);
      let c1 = vec4f(k0.y, k1.y, k2.y, k3.y);
      let c2 = vec4f(k0.z, k1.z, k2.z, k3.z);
      let c3 = vec4f(k0.w, k1.w, k2.w, k3.w);
      let q0 = queries[(local.y * 2u) * 17u + i];
      let q1 = queries[(local.y * 2u + 1u) * 17u + i];
      s0 = fma(vec4f(q0.w), c3, fma(vec4f(q0.z), c2, fma(vec4f(q0.y), c1, fma(vec4f(q0.x), c0, s0))));
      s1 = fma(vec4f(q1.w), c3, fma(vec4f(q1.z), c2, fma(vec4f(q1.y), c1, fma(vec4f(q1.x), c0, s1))));
    }
    s0 *= 0.125f;
    s1 *= 0.125f;
    let isKey = vec4u(first + 4u * local.x) + vec4u(0u, 1u, 2u, 3u) < vec4u(50u);
    s0 = select(vec4f(-3.402823e38f), s0, isKey);
    s1 = select(vec4f(-3.402823e38f), s1, isKey);
    exchanged[lane] = vec2f(max(max(s0.x, s0.y), max(s0.z, s0.w)), max(max(s1.x, s1.y), max(s1.z, s1.w)));
    workgroupBarrier();
    held[(lane / 16u) * 17u + lane % 16u] = values0;
    held[(lane / 16u + 4u) * 17u + lane % 16u] = values1;
    held[(lane / 16u + 8u) * 17u + lane % 16u] = values2;
    held[(lane / 16u + 12u) * 17u + lane % 16u] = values3;
    held[(lane / 16u + 16u) * 17u + lane % 16u] = values4;
    held[(lane / 16u + 20u) * 17u + lane % 16u] = values5;
    held[(lane / 16u + 24u) * 17u + lane % 16u] = values6;
    held[(lane / 16u + 28u) * 17u + lane % 16u] = values7;
    if (first + 32u < 50u) {
      keys0 = q[kStart + min(first + 32u + (lane / 16u), 49u) * 384u + lane % 16u];
      keys1 = q[kStart + min(first + 32u + (lane / 16u + 4u), 49u) * 384u + lane % 16u];
      keys2 = q[kStart + min(first + 32u + (lane / 16u + 8u), 49u) * 384u + lane % 16u];
      keys3 = q[kStart + min(first + 32u + (lane / 16u + 12u), 49u) * 384u + lane % 16u];
      keys4 = q[kStart + min(first + 32u + (lane / 16u + 16u), 49u) * 384u + lane % 16u];
      keys5 = q[kStart + min(first + 32u + (lane / 16u + 20u), 49u) * 384u + lane % 16u];
      keys6 = q[kStart + min(first + 32u + (lane / 16u + 24u), 49u) * 384u + lane % 16u];
      keys7 = q[kStart + min(first + 32u + (lane / 16u + 28u), 49u) * 384u + lane % 16u];
    }
    var most = largest;
    for (var i = 0u; i < 8u; i++) { most = max(most, exchanged[local.y * 8u + i]); }
    let scale = exp(largest - most);
    largest = most;
    let p0 = exp(s0 - most.x);
    let p1 = exp(s1 - most.y);
    powers[(local.y * 2u) * 9u + local.x] = p0;
    powers[(local.y * 2u + 1u) * 9u + local.x] = p1;
    total = total * scale + vec2f((p0.x + p0.y) + (p0.z + p0.w), (p1.x + p1.y) + (p1.z + p1.w));
    o0 *= scale.x;
    o1 *= scale.x;
    o2 *= scale.y;
    o3 *= scale.y;
    workgroupBarrier();
    for (var j = 0u; j < min(8u, (53u - first) / 4u); j++) {
      let power0 = powers[(local.y * 2u) * 9u + j];
      let power1 = powers[(local.y * 2u + 1u) * 9u + j];
      let v0 = held[(4u * j) * 17u + local.x];
      let v1 = held[(4u * j) * 17u + local.x + 8u];
      let v2 = held[(4u * j + 1u) * 17u + local.x];
      let v3 = held[(4u * j + 1u) * 17u + local.x + 8u];
      let v4 = held[(4u * j + 2u) * 17u + local.x];
      let v5 = held[(4u * j + 2u) * 17u + local.x + 8u];
      let v6 = held[(4u * j + 3u) * 17u + local.x];
      let v7 = held[(4u * j + 3u) * 17u + local.x + 8u];
      o0 = fma(vec4f(power0.w), v6, fma(vec4f(power0.z), v4, fma(vec4f(power0.y), v2, fma(vec4f(power0.x), v0, o0))));
      o1 = fma(vec4f(power0.w), v7, fma(vec4f(power0.z), v5, fma(vec4f(power0.y), v3, fma(vec4f(power0.x), v1, o1))));
      o2 = fma(vec4f(power1.w), v6, fma(vec4f(power1.z), v4, fma(vec4f(power1.y), v2, fma(vec4f(power1.x), v0, o2))));
      o3 = fma(vec4f(power1.w), v7, fma(vec4f(power1.z), v5, fma(vec4f(power1.y), v3, fma(vec4f(power1.x), v1, o3))));
    }
    workgroupBarrier();
  }
  exchanged[lane] = total;
  workgroupBarrier();
  total = vec2f();
  for (var i = 0u; i < 8u; i++) { total = total + exchanged[local.y * 8u + i]; }
  let resultStart = group.z * 6400u + group.y * 16u;
  if (row0 + local.y * 2u < 50u) {
    let at = resultStart + (row0 + local.y * 2u) * 128u + local.x;
    result[at] = o0 / total.x;
    result[at + 8u] = o1 / total.x;
  }
  if (row0 + local.y * 2u + 1u < 50u) {
    let at = resultStart + (row0 + local.y * 2u + 1u) * 128u + local.x;
    result[at] = o2 / total.y;
    result[at + 8u] = o3 / total.y;
  }
}
