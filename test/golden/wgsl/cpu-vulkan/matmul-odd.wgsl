// matmul: 2 x 1 x 3 workgroups
enable subgroups;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> left: array<f32>;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 8u + local.x;
  let c = min(column, 2u);
  let row = group.x * 3u;
  if (row >= 5u) { return; }
  let leftStart = group.z * 35u;
  let rightStart = group.z * 63u;
  let resultStart = group.z * 45u;
  let n0 = min(4u * c, 8u);
  let n1 = min(4u * c + 1u, 8u);
  let n2 = min(4u * c + 2u, 8u);
  let n3 = min(4u * c + 3u, 8u);
  let l0 = leftStart + min(row + member, 5u - 1u) * 7u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  let have = member < 3u;
  for (var k = 0u; k < 7u; k++) {
    let b = vec4f(right[rightStart + k * 9u + n0], right[rightStart + k * 9u + n1], right[rightStart + k * 9u + n2], right[rightStart + k * 9u + n3]);
    var a0 = 0.0f; if (have) { a0 = left[l0 + k]; }
    s0 += subgroupBroadcast(a0, 0u) * b;
    s1 += subgroupBroadcast(a0, 1u) * b;
    s2 += subgroupBroadcast(a0, 2u) * b;
  }
  if (column >= 3u) { return; }
  var sums = array(s0, s1, s2);
  for (var i = 0u; i < 3u; i++) {
    let r = row + i;
    if (r >= 5u) { break; }
    let s = sums[i];
    let v = s;
    let at = resultStart + r * 9u + 4u * c;
    if (4u * c < 9u) { result[at] = v.x; }
    if (4u * c + 1u < 9u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 9u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 9u) { result[at + 3u] = v.w; }
  }
}
