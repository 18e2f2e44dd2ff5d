// linear: 1 x 32 x 1 workgroups
enable subgroups;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 8u + local.x;
  let c = min(column, 249u);
  let row = group.x * 1u;
  if (row >= 1u) { return; }
  let l0 = min(row + member, 1u - 1u) * 128u;
  var s0 = vec4f();
  let have = member < 1u;
  for (var k = 0u; k < 128u; k++) {
    let b0 = right[(4u * k) * 250u + c];
    let b1 = right[(4u * k + 1u) * 250u + c];
    let b2 = right[(4u * k + 2u) * 250u + c];
    let b3 = right[(4u * k + 3u) * 250u + c];
    var a0 = vec4f(); if (have) { a0 = left[l0 + k]; }
    s0 += subgroupBroadcast(a0.x, 0u) * b0;
    s0 += subgroupBroadcast(a0.y, 0u) * b1;
    s0 += subgroupBroadcast(a0.z, 0u) * b2;
    s0 += subgroupBroadcast(a0.w, 0u) * b3;
  }
  if (column >= 250u) { return; }
  var sums = array(s0);
  for (var i = 0u; i < 1u; i++) {
    let r = row + i;
    if (r >= 1u) { break; }
    let s = sums[i];
    result[r * 250u + c] = s + bias[c];
  }
}
