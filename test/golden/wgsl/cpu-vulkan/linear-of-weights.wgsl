// linear: 17 x 8 x 1 workgroups
enable subgroups;
requires readonly_and_readwrite_storage_textures;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var right: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 16u + local.x;
  let c = min(column, 124u);
  let row = group.x * 24u;
  if (row >= 400u) { return; }
  let l0 = min(row + member, 400u - 1u) * 512u;
  let l1 = min(row + 8u + member, 400u - 1u) * 512u;
  let l2 = min(row + 16u + member, 400u - 1u) * 512u;
  var s0 = vec4f();
  var s0_1 = vec4f();
  var s1 = vec4f();
  var s1_1 = vec4f();
  var s2 = vec4f();
  var s2_1 = vec4f();
  var s3 = vec4f();
  var s3_1 = vec4f();
  var s4 = vec4f();
  var s4_1 = vec4f();
  var s5 = vec4f();
  var s5_1 = vec4f();
  var s6 = vec4f();
  var s6_1 = vec4f();
  var s7 = vec4f();
  var s7_1 = vec4f();
  var s8 = vec4f();
  var s8_1 = vec4f();
  var s9 = vec4f();
  var s9_1 = vec4f();
  var s10 = vec4f();
  var s10_1 = vec4f();
  var s11 = vec4f();
  var s11_1 = vec4f();
  var s12 = vec4f();
  var s12_1 = vec4f();
  var s13 = vec4f();
  var s13_1 = vec4f();
  var s14 = vec4f();
  var s14_1 = vec4f();
  var s15 = vec4f();
  var s15_1 = vec4f();
  var s16 = vec4f();
  var s16_1 = vec4f();
  var s17 = vec4f();
  var s17_1 = vec4f();
  var s18 = vec4f();
  var s18_1 = vec4f();
  var s19 = vec4f();
  var s19_1 = vec4f();
  var s20 = vec4f();
  var s20_1 = vec4f();
  var s21 = vec4f();
  var s21_1 = vec4f();
  var s22 = vec4f();
  var s22_1 = vec4f();
  var s23 = vec4f();
  var s23_1 = vec4f();
  let strip = (group.y) * 4u;
  for (var k = 0u; k < 512u; k++) {
    let x = (4u * k) % 512u * 16u + local.x;
    let y = strip + (4u * k) / 512u;
    let a0 = left[l0 + k];
    let a1 = left[l1 + k];
    let a2 = left[l2 + k];
    let b0 = textureLoad(right, vec2u(x, y));
    let b1 = textureLoad(right, vec2u(x + 16u, y));
    let b2 = textureLoad(right, vec2u(x + 32u, y));
    let b3 = textureLoad(right, vec2u(x + 48u, y));
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
    let b0_1 = textureLoad(right, vec2u(x + 8u, y));
    let b1_1 = textureLoad(right, vec2u(x + 24u, y));
    let b2_1 = textureLoad(right, vec2u(x + 40u, y));
    let b3_1 = textureLoad(right, vec2u(x + 56u, y));
    s0_1 += subgroupBroadcast(a0.x, 0u) * b0_1;
    s0_1 += subgroupBroadcast(a0.y, 0u) * b1_1;
    s0_1 += subgroupBroadcast(a0.z, 0u) * b2_1;
    s0_1 += subgroupBroadcast(a0.w, 0u) * b3_1;
    s1_1 += subgroupBroadcast(a0.x, 1u) * b0_1;
    s1_1 += subgroupBroadcast(a0.y, 1u) * b1_1;
    s1_1 += subgroupBroadcast(a0.z, 1u) * b2_1;
    s1_1 += subgroupBroadcast(a0.w, 1u) * b3_1;
    s2_1 += subgroupBroadcast(a0.x, 2u) * b0_1;
    s2_1 += subgroupBroadcast(a0.y, 2u) * b1_1;
    s2_1 += subgroupBroadcast(a0.z, 2u) * b2_1;
    s2_1 += subgroupBroadcast(a0.w, 2u) * b3_1;
    s3_1 += subgroupBroadcast(a0.x, 3u) * b0_1;
    s3_1 += subgroupBroadcast(a0.y, 3u) * b1_1;
    s3_1 += subgroupBroadcast(a0.z, 3u) * b2_1;
    s3_1 += subgroupBroadcast(a0.w, 3u) * b3_1;
    s4_1 += subgroupBroadcast(a0.x, 4u) * b0_1;
    s4_1 += subgroupBroadcast(a0.y, 4u) * b1_1;
    s4_1 += subgroupBroadcast(a0.z, 4u) * b2_1;
    s4_1 += subgroupBroadcast(a0.w, 4u) * b3_1;
    s5_1 += subgroupBroadcast(a0.x, 5u) * b0_1;
    s5_1 += subgroupBroadcast(a0.y, 5u) * b1_1;
    s5_1 += subgroupBroadcast(a0.z, 5u) * b2_1;
    s5_1 += subgroupBroadcast(a0.w, 5u) * b3_1;
    s6_1 += subgroupBroadcast(a0.x, 6u) * b0_1;
    s6_1 += subgroupBroadcast(a0.y, 6u) * b1_1;
    s6_1 += subgroupBroadcast(a0.z, 6u) * b2_1;
    s6_1 += subgroupBroadcast(a0.w, 6u) * b3_1;
    s7_1 += subgroupBroadcast(a0.x, 7u) * b0_1;
    s7_1 += subgroupBroadcast(a0.y, 7u) * b1_1;
    s7_1 += subgroupBroadcast(a0.z, 7u) * b2_1;
    s7_1 += subgroupBroadcast(a0.w, 7u) * b3_1;
    s8_1 += subgroupBroadcast(a1.x, 0u) * b0_1;
    s8_1 += subgroupBroadcast(a1.y, 0u) * b1_1;
    s8_1 += subgroupBroadcast(a1.z, 0u) * b2_1;
    s8_1 += subgroupBroadcast(a1.w, 0u) * b3_1;
    s9_1 += subgroupBroadcast(a1.x, 1u) * b0_1;
    s9_1 += subgroupBroadcast(a1.y, 1u) * b1_1;
    s9_1 += subgroupBroadcast(a1.z, 1u) * b2_1;
    s9_1 += subgroupBroadcast(a1.w, 1u) * b3_1;
    s10_1 += subgroupBroadcast(a1.x, 2u) * b0_1;
    s10_1 += subgroupBroadcast(a1.y, 2u) * b1_1;
    s10_1 += subgroupBroadcast(a1.z, 2u) * b2_1;
    s10_1 += subgroupBroadcast(a1.w, 2u) * b3_1;
    s11_1 += subgroupBroadcast(a1.x, 3u) * b0_1;
    s11_1 += subgroupBroadcast(a1.y, 3u) * b1_1;
    s11_1 += subgroupBroadcast(a1.z, 3u) * b2_1;
    s11_1 += subgroupBroadcast(a1.w, 3u) * b3_1;
    s12_1 += subgroupBroadcast(a1.x, 4u) * b0_1;
    s12_1 += subgroupBroadcast(a1.y, 4u) * b1_1;
    s12_1 += subgroupBroadcast(a1.z, 4u) * b2_1;
    s12_1 += subgroupBroadcast(a1.w, 4u) * b3_1;
    s13_1 += subgroupBroadcast(a1.x, 5u) * b0_1;
    s13_1 += subgroupBroadcast(a1.y, 5u) * b1_1;
    s13_1 += subgroupBroadcast(a1.z, 5u) * b2_1;
    s13_1 += subgroupBroadcast(a1.w, 5u) * b3_1;
    s14_1 += subgroupBroadcast(a1.x, 6u) * b0_1;
    s14_1 += subgroupBroadcast(a1.y, 6u) * b1_1;
    s14_1 += subgroupBroadcast(a1.z, 6u) * b2_1;
    s14_1 += subgroupBroadcast(a1.w, 6u) * b3_1;
    s15_1 += subgroupBroadcast(a1.x, 7u) * b0_1;
    s15_1 += subgroupBroadcast(a1.y, 7u) * b1_1;
    s15_1 += subgroupBroadcast(a1.z, 7u) * b2_1;
    s15_1 += subgroupBroadcast(a1.w, 7u) * b3_1;
    s16_1 += subgroupBroadcast(a2.x, 0u) * b0_1;
    s16_1 += subgroupBroadcast(a2.y, 0u) * b1_1;
    s16_1 += subgroupBroadcast(a2.z, 0u) * b2_1;
    s16_1 += subgroupBroadcast(a2.w, 0u) * b3_1;
    s17_1 += subgroupBroadcast(a2.x, 1u) * b0_1;
    s17_1 += subgroupBroadcast(a2.y, 1u) * b1_1;
    s17_1 += subgroupBroadcast(a2.z, 1u) * b2_1;
    s17_1 += subgroupBroadcast(a2.w, 1u) * b3_1;
    s18_1 += subgroupBroadcast(a2.x, 2u) * b0_1;
    s18_1 += subgroupBroadcast(a2.y, 2u) * b1_1;
    s18_1 += subgroupBroadcast(a2.z, 2u) * b2_1;
    s18_1 += subgroupBroadcast(a2.w, 2u) * b3_1;
    s19_1 += subgroupBroadcast(a2.x, 3u) * b0_1;
    s19_1 += subgroupBroadcast(a2.y, 3u) * b1_1;
    s19_1 += subgroupBroadcast(a2.z, 3u) * b2_1;
    s19_1 += subgroupBroadcast(a2.w, 3u) * b3_1;
    s20_1 += subgroupBroadcast(a2.x, 4u) * b0_1;
    s20_1 += subgroupBroadcast(a2.y, 4u) * b1_1;
    s20_1 += subgroupBroadcast(a2.z, 4u) * b2_1;
    s20_1 += subgroupBroadcast(a2.w, 4u) * b3_1;
    s21_1 += subgroupBroadcast(a2.x, 5u) * b0_1;
    s21_1 += subgroupBroadcast(a2.y, 5u) * b1_1;
    s21_1 += subgroupBroadcast(a2.z, 5u) * b2_1;
    s21_1 += subgroupBroadcast(a2.w, 5u) * b3_1;
    s22_1 += subgroupBroadcast(a2.x, 6u) * b0_1;
    s22_1 += subgroupBroadcast(a2.y, 6u) * b1_1;
    s22_1 += subgroupBroadcast(a2.z, 6u) * b2_1;
    s22_1 += subgroupBroadcast(a2.w, 6u) * b3_1;
    s23_1 += subgroupBroadcast(a2.x, 7u) * b0_1;
    s23_1 += subgroupBroadcast(a2.y, 7u) * b1_1;
    s23_1 += subgroupBroadcast(a2.z, 7u) * b2_1;
    s23_1 += subgroupBroadcast(a2.w, 7u) * b3_1;
  }
  if (column >= 125u) { return; }
  let c_1 = c + 8u;
  if (row < 400u) {
    result[row * 125u + c] = s0 + bias[c];
    if (c_1 < 125u) {
      result[row * 125u + c_1] = s0_1 + bias[c_1];
    }
  }
  if (row + 1u < 400u) {
    result[(row + 1u) * 125u + c] = s1 + bias[c];
    if (c_1 < 125u) {
      result[(row + 1u) * 125u + c_1] = s1_1 + bias[c_1];
    }
  }
  if (row + 2u < 400u) {
    result[(row + 2u) * 125u + c] = s2 + bias[c];
    if (c_1 < 125u) {
      result[(row + 2u) * 125u + c_1] = s2_1 + bias[c_1];
    }
  }
  if (row + 3u < 400u) {
    result[(row + 3u) * 125u + c] = s3 + bias[c];
    if (c_1 < 125u) {
      result[(row + 3u) * 125u + c_1] = s3_1 + bias[c_1];
    }
  }
  if (row + 4u < 400u) {
    result[(row + 4u) * 125u + c] = s4 + bias[c];
    if (c_1 < 125u) {
      result[(row + 4u) * 125u + c_1] = s4_1 + bias[c_1];
    }
  }
  if (row + 5u < 400u) {
    result[(row + 5u) * 125u + c] = s5 + bias[c];
    if (c_1 < 125u) {
      result[(row + 5u) * 125u + c_1] = s5_1 + bias[c_1];
    }
  }
  if (row + 6u < 400u) {
    result[(row + 6u) * 125u + c] = s6 + bias[c];
    if (c_1 < 125u) {
      result[(row + 6u) * 125u + c_1] = s6_1 + bias[c_1];
    }
  }
  if (row + 7u < 400u) {
    result[(row + 7u) * 125u + c] = s7 + bias[c];
    if (c_1 < 125u) {
      result[(row + 7u) * 125u + c_1] = s7_1 + bias[c_1];
    }
  }
  if (row + 8u < 400u) {
    result[(row + 8u) * 125u + c] = s8 + bias[c];
    if (c_1 < 125u) {
      result[(row + 8u) * 125u + c_1] = s8_1 + bias[c_1];
    }
  }
  if (row + 9u < 400u) {
    result[(row + 9u) * 125u + c] = s9 + bias[c];
    if (c_1 < 125u) {
      result[(row + 9u) * 125u + c_1] = s9_1 + bias[c_1];
    }
  }
  if (row + 10u < 400u) {
    result[(row + 10u) * 125u + c] = s10 + bias[c];
    if (c_1 < 125u) {
      result[(row + 10u) * 125u + c_1] = s10_1 + bias[c_1];
    }
  }
  if (row + 11u < 400u) {
    result[(row + 11u) * 125u + c] = s11 + bias[c];
    if (c_1 < 125u) {
      result[(row + 11u) * 125u + c_1] = s11_1 + bias[c_1];
    }
  }
  if (row + 12u < 400u) {
    result[(row + 12u) * 125u + c] = s12 + bias[c];
    if (c_1 < 125u) {
      result[(row + 12u) * 125u + c_1] = s12_1 + bias[c_1];
    }
  }
  if (row + 13u < 400u) {
    result[(row + 13u) * 125u + c] = s13 + bias[c];
    if (c_1 < 125u) {
      result[(row + 13u) * 125u + c_1] = s13_1 + bias[c_1];
    }
  }
  if (row + 14u < 400u) {
    result[(row + 14u) * 125u + c] = s14 + bias[c];
    if (c_1 < 125u) {
      result[(row + 14u) * 125u + c_1] = s14_1 + bias[c_1];
    }
  }
  if (row + 15u < 400u) {
    result[(row + 15u) * 125u + c] = s15 + bias[c];
    if (c_1 < 125u) {
      result[(row + 15u) * 125u + c_1] = s15_1 + bias[c_1];
    }
  }
  if (row + 16u < 400u) {
    result[(row + 16u) * 125u + c] = s16 + bias[c];
    if (c_1 < 125u) {
      result[(row + 16u) * 125u + c_1] = s16_1 + bias[c_1];
    }
  }
  if (row + 17u < 400u) {
    result[(row + 17u) * 125u + c] = s17 + bias[c];
    if (c_1 < 125u) {
      result[(row + 17u) * 125u + c_1] = s17_1 + bias[c_1];
    }
  }
  if (row + 18u < 400u) {
    result[(row + 18u) * 125u + c] = s18 + bias[c];
    if (c_1 < 125u) {
      result[(row + 18u) * 125u + c_1] = s18_1 + bias[c_1];
    }
  }
  if (row + 19u < 400u) {
    result[(row + 19u) * 125u + c] = s19 + bias[c];
    if (c_1 < 125u) {
      result[(row + 19u) * 125u + c_1] = s19_1 + bias[c_1];
    }
  }
  if (row + 20u < 400u) {
    result[(row + 20u) * 125u + c] = s20 + bias[c];
    if (c_1 < 125u) {
      result[(row + 20u) * 125u + c_1] = s20_1 + bias[c_1];
    }
  }
  if (row + 21u < 400u) {
    result[(row + 21u) * 125u + c] = s21 + bias[c];
    if (c_1 < 125u) {
      result[(row + 21u) * 125u + c_1] = s21_1 + bias[c_1];
    }
  }
  if (row + 22u < 400u) {
    result[(row + 22u) * 125u + c] = s22 + bias[c];
    if (c_1 < 125u) {
      result[(row + 22u) * 125u + c_1] = s22_1 + bias[c_1];
    }
  }
  if (row + 23u < 400u) {
    result[(row + 23u) * 125u + c] = s23 + bias[c];
    if (c_1 < 125u) {
      result[(row + 23u) * 125u + c_1] = s23_1 + bias[c_1];
    }
  }
}
