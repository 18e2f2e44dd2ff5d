// linear + gelu: 2 x 16 x 1 workgroups
enable subgroups;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
fn gelu4(x: vec4f) -> vec4f {
  let bend = 0.7978845834732056f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, vec4f(-10.0f), vec4f(10.0f))));
}
fn epilogue(v: vec4f, i: u32) -> vec4f {
  let t0 = gelu4(v);
  return t0;
}
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 8u + local.x;
  let c = min(column, 127u);
  let row = group.x * 25u;
  if (row >= 50u) { return; }
  let l0 = min(row + member, 50u - 1u) * 512u;
  let l1 = min(row + 8u + member, 50u - 1u) * 512u;
  let l2 = min(row + 16u + member, 50u - 1u) * 512u;
  let l3 = min(row + 24u + member, 50u - 1u) * 512u;
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
  for (var k = 0u; k < 512u; k++) {
    let b0 = right[(4u * k) * 128u + c];
    let b1 = right[(4u * k + 1u) * 128u + c];
    let b2 = right[(4u * k + 2u) * 128u + c];
    let b3 = right[(4u * k + 3u) * 128u + c];
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
  if (column >= 128u) { return; }
  if (row < 50u) {
    result[row * 128u + c] = epilogue(s0 + bias[c], row * 128u + c);
  }
  if (row + 1u < 50u) {
    result[(row + 1u) * 128u + c] = epilogue(s1 + bias[c], (row + 1u) * 128u + c);
  }
  if (row + 2u < 50u) {
    result[(row + 2u) * 128u + c] = epilogue(s2 + bias[c], (row + 2u) * 128u + c);
  }
  if (row + 3u < 50u) {
    result[(row + 3u) * 128u + c] = epilogue(s3 + bias[c], (row + 3u) * 128u + c);
  }
  if (row + 4u < 50u) {
    result[(row + 4u) * 128u + c] = epilogue(s4 + bias[c], (row + 4u) * 128u + c);
  }
  if (row + 5u < 50u) {
    result[(row + 5u) * 128u + c] = epilogue(s5 + bias[c], (row + 5u) * 128u + c);
  }
  if (row + 6u < 50u) {
    result[(row + 6u) * 128u + c] = epilogue(s6 + bias[c], (row + 6u) * 128u + c);
  }
  if (row + 7u < 50u) {
    result[(row + 7u) * 128u + c] = epilogue(s7 + bias[c], (row + 7u) * 128u + c);
  }
  if (row + 8u < 50u) {
    result[(row + 8u) * 128u + c] = epilogue(s8 + bias[c], (row + 8u) * 128u + c);
  }
  if (row + 9u < 50u) {
    result[(row + 9u) * 128u + c] = epilogue(s9 + bias[c], (row + 9u) * 128u + c);
  }
  if (row + 10u < 50u) {
    result[(row + 10u) * 128u + c] = epilogue(s10 + bias[c], (row + 10u) * 128u + c);
  }
  if (row + 11u < 50u) {
    result[(row + 11u) * 128u + c] = epilogue(s11 + bias[c], (row + 11u) * 128u + c);
  }
  if (row + 12u < 50u) {
    result[(row + 12u) * 128u + c] = epilogue(s12 + bias[c], (row + 12u) * 128u + c);
  }
  if (row + 13u < 50u) {
    result[(row + 13u) * 128u + c] = epilogue(s13 + bias[c], (row + 13u) * 128u + c);
  }
  if (row + 14u < 50u) {
    result[(row + 14u) * 128u + c] = epilogue(s14 + bias[c], (row + 14u) * 128u + c);
  }
  if (row + 15u < 50u) {
    result[(row + 15u) * 128u + c] = epilogue(s15 + bias[c], (row + 15u) * 128u + c);
  }
  if (row + 16u < 50u) {
    result[(row + 16u) * 128u + c] = epilogue(s16 + bias[c], (row + 16u) * 128u + c);
  }
  if (row + 17u < 50u) {
    result[(row + 17u) * 128u + c] = epilogue(s17 + bias[c], (row + 17u) * 128u + c);
  }
  if (row + 18u < 50u) {
    result[(row + 18u) * 128u + c] = epilogue(s18 + bias[c], (row + 18u) * 128u + c);
  }
  if (row + 19u < 50u) {
    result[(row + 19u) * 128u + c] = epilogue(s19 + bias[c], (row + 19u) * 128u + c);
  }
  if (row + 20u < 50u) {
    result[(row + 20u) * 128u + c] = epilogue(s20 + bias[c], (row + 20u) * 128u + c);
  }
  if (row + 21u < 50u) {
    result[(row + 21u) * 128u + c] = epilogue(s21 + bias[c], (row + 21u) * 128u + c);
  }
  if (row + 22u < 50u) {
    result[(row + 22u) * 128u + c] = epilogue(s22 + bias[c], (row + 22u) * 128u + c);
  }
  if (row + 23u < 50u) {
    result[(row + 23u) * 128u + c] = epilogue(s23 + bias[c], (row + 23u) * 128u + c);
  }
  if (row + 24u < 50u) {
    result[(row + 24u) * 128u + c] = epilogue(s24 + bias[c], (row + 24u) * 128u + c);
  }
}
