// attention scores: 2 x 2 x 64 workgroups
enable subgroups;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 8u + local.x;
  let c = min(column, 12u);
  let row = group.x * 25u;
  if (row >= 50u) { return; }
  let leftStart = (group.z / 8u) * 6400u + (group.z % 8u) * 16u;
  let rightStart = (group.z / 8u) * 6400u + (group.z % 8u) * 16u;
  let resultStart = group.z * 2600u;
  let n0 = min(4u * c, 49u);
  let n1 = min(4u * c + 1u, 49u);
  let n2 = min(4u * c + 2u, 49u);
  let n3 = min(4u * c + 3u, 49u);
  let l0 = leftStart + min(row + member, 50u - 1u) * 128u;
  let l1 = leftStart + min(row + 8u + member, 50u - 1u) * 128u;
  let l2 = leftStart + min(row + 16u + member, 50u - 1u) * 128u;
  let l3 = leftStart + min(row + 24u + member, 50u - 1u) * 128u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  var s8 = vec4f();
  var s9 = vec4f();
  var s10 = vec4f();
  var s11 = vec4f();
  var s12 = vec4f();
  var s13 = vec4f();
  var s14 = vec4f();
  var s15 = vec4f();
  var s16 = vec4f();
  var s17 = vec4f();
  var s18 = vec4f();
  var s19 = vec4f();
  var s20 = vec4f();
  var s21 = vec4f();
  var s22 = vec4f();
  var s23 = vec4f();
  var s24 = vec4f();
  for (var k = 0u; k < 16u; k++) {
    let c0 = right[rightStart + n0 * 128u + k];
    let c1 = right[rightStart + n1 * 128u + k];
    let c2 = right[rightStart + n2 * 128u + k];
    let c3 = right[rightStart + n3 * 128u + k];
    let b0 = vec4f(c0.x, c1.x, c2.x, c3.x);
    let b1 = vec4f(c0.y, c1.y, c2.y, c3.y);
    let b2 = vec4f(c0.z, c1.z, c2.z, c3.z);
    let b3 = vec4f(c0.w, c1.w, c2.w, c3.w);
    let a0 = left[l0 + k];
    s0 += subgroupBroadcast(a0.x, 0u) * b0;
    s0 += subgroupBroadcast(a0.y, 0u) * b1;
    s0 += subgroupBroadcast(a0.z, 0u) * b2;
    s0 += subgroupBroadcast(a0.w, 0u) * b3;
    s1 += subgroupBroadcast(a0.x, 1u) * b0;
    s1 += subgroupBroadcast(a0.y, 1u) * b1;
    s1 += subgroupBroadcast(a0.z, 1u) * b2;
    s1 += subgroupBroadcast(a0.w, 1u) * b3;
    s2 += subgroupBroadcast(a0.x, 2u) * b0;
    s2 += subgroupBroadcast(a0.y, 2u) * b1;
    s2 += subgroupBroadcast(a0.z, 2u) * b2;
    s2 += subgroupBroadcast(a0.w, 2u) * b3;
    s3 += subgroupBroadcast(a0.x, 3u) * b0;
    s3 += subgroupBroadcast(a0.y, 3u) * b1;
    s3 += subgroupBroadcast(a0.z, 3u) * b2;
    s3 += subgroupBroadcast(a0.w, 3u) * b3;
    s4 += subgroupBroadcast(a0.x, 4u) * b0;
    s4 += subgroupBroadcast(a0.y, 4u) * b1;
    s4 += subgroupBroadcast(a0.z, 4u) * b2;
    s4 += subgroupBroadcast(a0.w, 4u) * b3;
    s5 += subgroupBroadcast(a0.x, 5u) * b0;
    s5 += subgroupBroadcast(a0.y, 5u) * b1;
    s5 += subgroupBroadcast(a0.z, 5u) * b2;
    s5 += subgroupBroadcast(a0.w, 5u) * b3;
    s6 += subgroupBroadcast(a0.x, 6u) * b0;
    s6 += subgroupBroadcast(a0.y, 6u) * b1;
    s6 += subgroupBroadcast(a0.z, 6u) * b2;
    s6 += subgroupBroadcast(a0.w, 6u) * b3;
    s7 += subgroupBroadcast(a0.x, 7u) * b0;
    s7 += subgroupBroadcast(a0.y, 7u) * b1;
    s7 += subgroupBroadcast(a0.z, 7u) * b2;
    s7 += subgroupBroadcast(a0.w, 7u) * b3;
    let a1 = left[l1 + k];
    s8 += subgroupBroadcast(a1.x, 0u) * b0;
    s8 += subgroupBroadcast(a1.y, 0u) * b1;
    s8 += subgroupBroadcast(a1.z, 0u) * b2;
    s8 += subgroupBroadcast(a1.w, 0u) * b3;
    s9 += subgroupBroadcast(a1.x, 1u) * b0;
    s9 += subgroupBroadcast(a1.y, 1u) * b1;
    s9 += subgroupBroadcast(a1.z, 1u) * b2;
    s9 += subgroupBroadcast(a1.w, 1u) * b3;
    s10 += subgroupBroadcast(a1.x, 2u) * b0;
    s10 += subgroupBroadcast(a1.y, 2u) * b1;
    s10 += subgroupBroadcast(a1.z, 2u) * b2;
    s10 += subgroupBroadcast(a1.w, 2u) * b3;
    s11 += subgroupBroadcast(a1.x, 3u) * b0;
    s11 += subgroupBroadcast(a1.y, 3u) * b1;
    s11 += subgroupBroadcast(a1.z, 3u) * b2;
    s11 += subgroupBroadcast(a1.w, 3u) * b3;
    s12 += subgroupBroadcast(a1.x, 4u) * b0;
    s12 += subgroupBroadcast(a1.y, 4u) * b1;
    s12 += subgroupBroadcast(a1.z, 4u) * b2;
    s12 += subgroupBroadcast(a1.w, 4u) * b3;
    s13 += subgroupBroadcast(a1.x, 5u) * b0;
    s13 += subgroupBroadcast(a1.y, 5u) * b1;
    s13 += subgroupBroadcast(a1.z, 5u) * b2;
    s13 += subgroupBroadcast(a1.w, 5u) * b3;
    s14 += subgroupBroadcast(a1.x, 6u) * b0;
    s14 += subgroupBroadcast(a1.y, 6u) * b1;
    s14 += subgroupBroadcast(a1.z, 6u) * b2;
    s14 += subgroupBroadcast(a1.w, 6u) * b3;
    s15 += subgroupBroadcast(a1.x, 7u) * b0;
    s15 += subgroupBroadcast(a1.y, 7u) * b1;
    s15 += subgroupBroadcast(a1.z, 7u) * b2;
    s15 += subgroupBroadcast(a1.w, 7u) * b3;
    let a2 = left[l2 + k];
    s16 += subgroupBroadcast(a2.x, 0u) * b0;
    s16 += subgroupBroadcast(a2.y, 0u) * b1;
    s16 += subgroupBroadcast(a2.z, 0u) * b2;
    s16 += subgroupBroadcast(a2.w, 0u) * b3;
    s17 += subgroupBroadcast(a2.x, 1u) * b0;
    s17 += subgroupBroadcast(a2.y, 1u) * b1;
    s17 += subgroupBroadcast(a2.z, 1u) * b2;
    s17 += subgroupBroadcast(a2.w, 1u) * b3;
    s18 += subgroupBroadcast(a2.x, 2u) * b0;
    s18 += subgroupBroadcast(a2.y, 2u) * b1;
    s18 += subgroupBroadcast(a2.z, 2u) * b2;
    s18 += subgroupBroadcast(a2.w, 2u) * b3;
    s19 += subgroupBroadcast(a2.x, 3u) * b0;
    s19 += subgroupBroadcast(a2.y, 3u) * b1;
    s19 += subgroupBroadcast(a2.z, 3u) * b2;
    s19 += subgroupBroadcast(a2.w, 3u) * b3;
    s20 += subgroupBroadcast(a2.x, 4u) * b0;
    s20 += subgroupBroadcast(a2.y, 4u) * b1;
    s20 += subgroupBroadcast(a2.z, 4u) * b2;
    s20 += subgroupBroadcast(a2.w, 4u) * b3;
    s21 += subgroupBroadcast(a2.x, 5u) * b0;
    s21 += subgroupBroadcast(a2.y, 5u) * b1;
    s21 += subgroupBroadcast(a2.z, 5u) * b2;
    s21 += subgroupBroadcast(a2.w, 5u) * b3;
    s22 += subgroupBroadcast(a2.x, 6u) * b0;
    s22 += subgroupBroadcast(a2.y, 6u) * b1;
    s22 += subgroupBroadcast(a2.z, 6u) * b2;
    s22 += subgroupBroadcast(a2.w, 6u) * b3;
    s23 += subgroupBroadcast(a2.x, 7u) * b0;
    s23 += subgroupBroadcast(a2.y, 7u) * b1;
    s23 += subgroupBroadcast(a2.z, 7u) * b2;
    s23 += subgroupBroadcast(a2.w, 7u) * b3;
    let a3 = left[l3 + k];
    s24 += subgroupBroadcast(a3.x, 0u) * b0;
    s24 += subgroupBroadcast(a3.y, 0u) * b1;
    s24 += subgroupBroadcast(a3.z, 0u) * b2;
    s24 += subgroupBroadcast(a3.w, 0u) * b3;
  }
  if (column >= 13u) { return; }
  if (row < 50u) {
    let v = (s0) * 0.125f;
    let at = resultStart + row * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 1u < 50u) {
    let v = (s1) * 0.125f;
    let at = resultStart + (row + 1u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 2u < 50u) {
    let v = (s2) * 0.125f;
    let at = resultStart + (row + 2u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 3u < 50u) {
    let v = (s3) * 0.125f;
    let at = resultStart + (row + 3u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 4u < 50u) {
    let v = (s4) * 0.125f;
    let at = resultStart + (row + 4u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 5u < 50u) {
    let v = (s5) * 0.125f;
    let at = resultStart + (row + 5u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 6u < 50u) {
    let v = (s6) * 0.125f;
    let at = resultStart + (row + 6u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 7u < 50u) {
    let v = (s7) * 0.125f;
    let at = resultStart + (row + 7u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 8u < 50u) {
    let v = (s8) * 0.125f;
    let at = resultStart + (row + 8u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 9u < 50u) {
    let v = (s9) * 0.125f;
    let at = resultStart + (row + 9u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 10u < 50u) {
    let v = (s10) * 0.125f;
    let at = resultStart + (row + 10u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 11u < 50u) {
    let v = (s11) * 0.125f;
    let at = resultStart + (row + 11u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 12u < 50u) {
    let v = (s12) * 0.125f;
    let at = resultStart + (row + 12u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 13u < 50u) {
    let v = (s13) * 0.125f;
    let at = resultStart + (row + 13u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 14u < 50u) {
    let v = (s14) * 0.125f;
    let at = resultStart + (row + 14u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 15u < 50u) {
    let v = (s15) * 0.125f;
    let at = resultStart + (row + 15u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 16u < 50u) {
    let v = (s16) * 0.125f;
    let at = resultStart + (row + 16u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 17u < 50u) {
    let v = (s17) * 0.125f;
    let at = resultStart + (row + 17u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 18u < 50u) {
    let v = (s18) * 0.125f;
    let at = resultStart + (row + 18u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 19u < 50u) {
    let v = (s19) * 0.125f;
    let at = resultStart + (row + 19u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 20u < 50u) {
    let v = (s20) * 0.125f;
    let at = resultStart + (row + 20u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 21u < 50u) {
    let v = (s21) * 0.125f;
    let at = resultStart + (row + 21u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 22u < 50u) {
    let v = (s22) * 0.125f;
    let at = resultStart + (row + 22u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 23u < 50u) {
    let v = (s23) * 0.125f;
    let at = resultStart + (row + 23u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
  if (row + 24u < 50u) {
    let v = (s24) * 0.125f;
    let at = resultStart + (row + 24u) * 52u + 4u * c;
    if (4u * c < 50u) { result[at] = v.x; }
    if (4u * c + 1u < 50u) { result[at + 1u] = v.y; }
    if (4u * c + 2u < 50u) { result[at + 2u] = v.z; }
    if (4u * c + 3u < 50u) { result[at + 3u] = v.w; }
  }
}

// softmax: 400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= 3200u) { return; }
  let start = row * 52u;
  var largest = -3.402823e38f;
  for (var j = 0u; j < 50u; j++) { largest = max(largest, y[start + j]); }
  var total = 0.0f;
  for (var j = 0u; j < 50u; j++) {
    let power = exp(y[start + j] - largest);
    y[start + j] = power;
    total += power;
  }
  for (var j = 0u; j < 50u; j++) { y[start + j] = y[start + j] / total; }
  for (var j = 0u; j < 2u; j++) { y[start + 50u + j] = 0.0f; }
}

// attention mix: 2 x 2 x 64 workgroups
enable subgroups;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 8u + local.x;
  let c = min(column, 15u);
  let row = group.x * 25u;
  if (row >= 50u) { return; }
  let leftStart = group.z * 650u;
  let rightStart = (group.z / 8u) * 6400u + (group.z % 8u) * 16u;
  let resultStart = (group.z / 8u) * 6400u + (group.z % 8u) * 16u;
  let l0 = leftStart + min(row + member, 50u - 1u) * 13u;
  let l1 = leftStart + min(row + 8u + member, 50u - 1u) * 13u;
  let l2 = leftStart + min(row + 16u + member, 50u - 1u) * 13u;
  let l3 = leftStart + min(row + 24u + member, 50u - 1u) * 13u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  var s8 = vec4f();
  var s9 = vec4f();
  var s10 = vec4f();
  var s11 = vec4f();
  var s12 = vec4f();
  var s13 = vec4f();
  var s14 = vec4f();
  var s15 = vec4f();
  var s16 = vec4f();
  var s17 = vec4f();
  var s18 = vec4f();
  var s19 = vec4f();
  var s20 = vec4f();
  var s21 = vec4f();
  var s22 = vec4f();
  var s23 = vec4f();
  var s24 = vec4f();
  for (var k = 0u; k < 12u; k++) {
    let b0 = right[rightStart + (4u * k) * 128u + c];
    let b1 = right[rightStart + (4u * k + 1u) * 128u + c];
    let b2 = right[rightStart + (4u * k + 2u) * 128u + c];
    let b3 = right[rightStart + (4u * k + 3u) * 128u + c];
    let a0 = left[l0 + k];
    s0 += subgroupBroadcast(a0.x, 0u) * b0;
    s0 += subgroupBroadcast(a0.y, 0u) * b1;
    s0 += subgroupBroadcast(a0.z, 0u) * b2;
    s0 += subgroupBroadcast(a0.w, 0u) * b3;
    s1 += subgroupBroadcast(a0.x, 1u) * b0;
    s1 += subgroupBroadcast(a0.y, 1u) * b1;
    s1 += subgroupBroadcast(a0.z, 1u) * b2;
    s1 += subgroupBroadcast(a0.w, 1u) * b3;
    s2 += subgroupBroadcast(a0.x, 2u) * b0;
    s2 += subgroupBroadcast(a0.y, 2u) * b1;
    s2 += subgroupBroadcast(a0.z, 2u) * b2;
    s2 += subgroupBroadcast(a0.w, 2u) * b3;
    s3 += subgroupBroadcast(a0.x, 3u) * b0;
    s3 += subgroupBroadcast(a0.y, 3u) * b1;
    s3 += subgroupBroadcast(a0.z, 3u) * b2;
    s3 += subgroupBroadcast(a0.w, 3u) * b3;
    s4 += subgroupBroadcast(a0.x, 4u) * b0;
    s4 += subgroupBroadcast(a0.y, 4u) * b1;
    s4 += subgroupBroadcast(a0.z, 4u) * b2;
    s4 += subgroupBroadcast(a0.w, 4u) * b3;
    s5 += subgroupBroadcast(a0.x, 5u) * b0;
    s5 += subgroupBroadcast(a0.y, 5u) * b1;
    s5 += subgroupBroadcast(a0.z, 5u) * b2;
    s5 += subgroupBroadcast(a0.w, 5u) * b3;
    s6 += subgroupBroadcast(a0.x, 6u) * b0;
    s6 += subgroupBroadcast(a0.y, 6u) * b1;
    s6 += subgroupBroadcast(a0.z, 6u) * b2;
    s6 += subgroupBroadcast(a0.w, 6u) * b3;
    s7 += subgroupBroadcast(a0.x, 7u) * b0;
    s7 += subgroupBroadcast(a0.y, 7u) * b1;
    s7 += subgroupBroadcast(a0.z, 7u) * b2;
    s7 += subgroupBroadcast(a0.w, 7u) * b3;
    let a1 = left[l1 + k];
    s8 += subgroupBroadcast(a1.x, 0u) * b0;
    s8 += subgroupBroadcast(a1.y, 0u) * b1;
    s8 += subgroupBroadcast(a1.z, 0u) * b2;
    s8 += subgroupBroadcast(a1.w, 0u) * b3;
    s9 += subgroupBroadcast(a1.x, 1u) * b0;
    s9 += subgroupBroadcast(a1.y, 1u) * b1;
    s9 += subgroupBroadcast(a1.z, 1u) * b2;
    s9 += subgroupBroadcast(a1.w, 1u) * b3;
    s10 += subgroupBroadcast(a1.x, 2u) * b0;
    s10 += subgroupBroadcast(a1.y, 2u) * b1;
    s10 += subgroupBroadcast(a1.z, 2u) * b2;
    s10 += subgroupBroadcast(a1.w, 2u) * b3;
    s11 += subgroupBroadcast(a1.x, 3u) * b0;
    s11 += subgroupBroadcast(a1.y, 3u) * b1;
    s11 += subgroupBroadcast(a1.z, 3u) * b2;
    s11 += subgroupBroadcast(a1.w, 3u) * b3;
    s12 += subgroupBroadcast(a1.x, 4u) * b0;
    s12 += subgroupBroadcast(a1.y, 4u) * b1;
    s12 += subgroupBroadcast(a1.z, 4u) * b2;
    s12 += subgroupBroadcast(a1.w, 4u) * b3;
    s13 += subgroupBroadcast(a1.x, 5u) * b0;
    s13 += subgroupBroadcast(a1.y, 5u) * b1;
    s13 += subgroupBroadcast(a1.z, 5u) * b2;
    s13 += subgroupBroadcast(a1.w, 5u) * b3;
    s14 += subgroupBroadcast(a1.x, 6u) * b0;
    s14 += subgroupBroadcast(a1.y, 6u) * b1;
    s14 += subgroupBroadcast(a1.z, 6u) * b2;
    s14 += subgroupBroadcast(a1.w, 6u) * b3;
    s15 += subgroupBroadcast(a1.x, 7u) * b0;
    s15 += subgroupBroadcast(a1.y, 7u) * b1;
    s15 += subgroupBroadcast(a1.z, 7u) * b2;
    s15 += subgroupBroadcast(a1.w, 7u) * b3;
    let a2 = left[l2 + k];
    s16 += subgroupBroadcast(a2.x, 0u) * b0;
    s16 += subgroupBroadcast(a2.y, 0u) * b1;
    s16 += subgroupBroadcast(a2.z, 0u) * b2;
    s16 += subgroupBroadcast(a2.w, 0u) * b3;
    s17 += subgroupBroadcast(a2.x, 1u) * b0;
    s17 += subgroupBroadcast(a2.y, 1u) * b1;
    s17 += subgroupBroadcast(a2.z, 1u) * b2;
    s17 += subgroupBroadcast(a2.w, 1u) * b3;
    s18 += subgroupBroadcast(a2.x, 2u) * b0;
    s18 += subgroupBroadcast(a2.y, 2u) * b1;
    s18 += subgroupBroadcast(a2.z, 2u) * b2;
    s18 += subgroupBroadcast(a2.w, 2u) * b3;
    s19 += subgroupBroadcast(a2.x, 3u) * b0;
    s19 += subgroupBroadcast(a2.y, 3u) * b1;
    s19 += subgroupBroadcast(a2.z, 3u) * b2;
    s19 += subgroupBroadcast(a2.w, 3u) * b3;
    s20 += subgroupBroadcast(a2.x, 4u) * b0;
    s20 += subgroupBroadcast(a2.y, 4u) * b1;
    s20 += subgroupBroadcast(a2.z, 4u) * b2;
    s20 += subgroupBroadcast(a2.w, 4u) * b3;
    s21 += subgroupBroadcast(a2.x, 5u) * b0;
    s21 += subgroupBroadcast(a2.y, 5u) * b1;
    s21 += subgroupBroadcast(a2.z, 5u) * b2;
    s21 += subgroupBroadcast(a2.w, 5u) * b3;
    s22 += subgroupBroadcast(a2.x, 6u) * b0;
    s22 += subgroupBroadcast(a2.y, 6u) * b1;
    s22 += subgroupBroadcast(a2.z, 6u) * b2;
    s22 += subgroupBroadcast(a2.w, 6u) * b3;
    s23 += subgroupBroadcast(a2.x, 7u) * b0;
    s23 += subgroupBroadcast(a2.y, 7u) * b1;
    s23 += subgroupBroadcast(a2.z, 7u) * b2;
    s23 += subgroupBroadcast(a2.w, 7u) * b3;
    let a3 = left[l3 + k];
    s24 += subgroupBroadcast(a3.x, 0u) * b0;
    s24 += subgroupBroadcast(a3.y, 0u) * b1;
    s24 += subgroupBroadcast(a3.z, 0u) * b2;
    s24 += subgroupBroadcast(a3.w, 0u) * b3;
  }
  let b0 = right[rightStart + (4u * 12u) * 128u + c];
  let b1 = right[rightStart + (4u * 12u + 1u) * 128u + c];
  let a0 = left[l0 + 12u];
  s0 += subgroupBroadcast(a0.x, 0u) * b0;
  s0 += subgroupBroadcast(a0.y, 0u) * b1;
  s1 += subgroupBroadcast(a0.x, 1u) * b0;
  s1 += subgroupBroadcast(a0.y, 1u) * b1;
  s2 += subgroupBroadcast(a0.x, 2u) * b0;
  s2 += subgroupBroadcast(a0.y, 2u) * b1;
  s3 += subgroupBroadcast(a0.x, 3u) * b0;
  s3 += subgroupBroadcast(a0.y, 3u) * b1;
  s4 += subgroupBroadcast(a0.x, 4u) * b0;
  s4 += subgroupBroadcast(a0.y, 4u) * b1;
  s5 += subgroupBroadcast(a0.x, 5u) * b0;
  s5 += subgroupBroadcast(a0.y, 5u) * b1;
  s6 += subgroupBroadcast(a0.x, 6u) * b0;
  s6 += subgroupBroadcast(a0.y, 6u) * b1;
  s7 += subgroupBroadcast(a0.x, 7u) * b0;
  s7 += subgroupBroadcast(a0.y, 7u) * b1;
  let a1 = left[l1 + 12u];
  s8 += subgroupBroadcast(a1.x, 0u) * b0;
  s8 += subgroupBroadcast(a1.y, 0u) * b1;
  s9 += subgroupBroadcast(a1.x, 1u) * b0;
  s9 += subgroupBroadcast(a1.y, 1u) * b1;
  s10 += subgroupBroadcast(a1.x, 2u) * b0;
  s10 += subgroupBroadcast(a1.y, 2u) * b1;
  s11 += subgroupBroadcast(a1.x, 3u) * b0;
  s11 += subgroupBroadcast(a1.y, 3u) * b1;
  s12 += subgroupBroadcast(a1.x, 4u) * b0;
  s12 += subgroupBroadcast(a1.y, 4u) * b1;
  s13 += subgroupBroadcast(a1.x, 5u) * b0;
  s13 += subgroupBroadcast(a1.y, 5u) * b1;
  s14 += subgroupBroadcast(a1.x, 6u) * b0;
  s14 += subgroupBroadcast(a1.y, 6u) * b1;
  s15 += subgroupBroadcast(a1.x, 7u) * b0;
  s15 += subgroupBroadcast(a1.y, 7u) * b1;
  let a2 = left[l2 + 12u];
  s16 += subgroupBroadcast(a2.x, 0u) * b0;
  s16 += subgroupBroadcast(a2.y, 0u) * b1;
  s17 += subgroupBroadcast(a2.x, 1u) * b0;
  s17 += subgroupBroadcast(a2.y, 1u) * b1;
  s18 += subgroupBroadcast(a2.x, 2u) * b0;
  s18 += subgroupBroadcast(a2.y, 2u) * b1;
  s19 += subgroupBroadcast(a2.x, 3u) * b0;
  s19 += subgroupBroadcast(a2.y, 3u) * b1;
  s20 += subgroupBroadcast(a2.x, 4u) * b0;
  s20 += subgroupBroadcast(a2.y, 4u) * b1;
  s21 += subgroupBroadcast(a2.x, 5u) * b0;
  s21 += subgroupBroadcast(a2.y, 5u) * b1;
  s22 += subgroupBroadcast(a2.x, 6u) * b0;
  s22 += subgroupBroadcast(a2.y, 6u) * b1;
  s23 += subgroupBroadcast(a2.x, 7u) * b0;
  s23 += subgroupBroadcast(a2.y, 7u) * b1;
  let a3 = left[l3 + 12u];
  s24 += subgroupBroadcast(a3.x, 0u) * b0;
  s24 += subgroupBroadcast(a3.y, 0u) * b1;
  if (column >= 16u) { return; }
  if (row < 50u) {
    result[resultStart + row * 128u + c] = s0;
  }
  if (row + 1u < 50u) {
    result[resultStart + (row + 1u) * 128u + c] = s1;
  }
  if (row + 2u < 50u) {
    result[resultStart + (row + 2u) * 128u + c] = s2;
  }
  if (row + 3u < 50u) {
    result[resultStart + (row + 3u) * 128u + c] = s3;
  }
  if (row + 4u < 50u) {
    result[resultStart + (row + 4u) * 128u + c] = s4;
  }
  if (row + 5u < 50u) {
    result[resultStart + (row + 5u) * 128u + c] = s5;
  }
  if (row + 6u < 50u) {
    result[resultStart + (row + 6u) * 128u + c] = s6;
  }
  if (row + 7u < 50u) {
    result[resultStart + (row + 7u) * 128u + c] = s7;
  }
  if (row + 8u < 50u) {
    result[resultStart + (row + 8u) * 128u + c] = s8;
  }
  if (row + 9u < 50u) {
    result[resultStart + (row + 9u) * 128u + c] = s9;
  }
  if (row + 10u < 50u) {
    result[resultStart + (row + 10u) * 128u + c] = s10;
  }
  if (row + 11u < 50u) {
    result[resultStart + (row + 11u) * 128u + c] = s11;
  }
  if (row + 12u < 50u) {
    result[resultStart + (row + 12u) * 128u + c] = s12;
  }
  if (row + 13u < 50u) {
    result[resultStart + (row + 13u) * 128u + c] = s13;
  }
  if (row + 14u < 50u) {
    result[resultStart + (row + 14u) * 128u + c] = s14;
  }
  if (row + 15u < 50u) {
    result[resultStart + (row + 15u) * 128u + c] = s15;
  }
  if (row + 16u < 50u) {
    result[resultStart + (row + 16u) * 128u + c] = s16;
  }
  if (row + 17u < 50u) {
    result[resultStart + (row + 17u) * 128u + c] = s17;
  }
  if (row + 18u < 50u) {
    result[resultStart + (row + 18u) * 128u + c] = s18;
  }
  if (row + 19u < 50u) {
    result[resultStart + (row + 19u) * 128u + c] = s19;
  }
  if (row + 20u < 50u) {
    result[resultStart + (row + 20u) * 128u + c] = s20;
  }
  if (row + 21u < 50u) {
    result[resultStart + (row + 21u) * 128u + c] = s21;
  }
  if (row + 22u < 50u) {
    result[resultStart + (row + 22u) * 128u + c] = s22;
  }
  if (row + 23u < 50u) {
    result[resultStart + (row + 23u) * 128u + c] = s23;
  }
  if (row + 24u < 50u) {
    result[resultStart + (row + 24u) * 128u + c] = s24;
  }
}
