// matmul: 16 x 1 x 8 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
fn rightAt(i: u32) -> vec4f {
  let word = right[i / 2u] >> (16u * (i % 2u));
  let fields = (vec4u(word) >> vec4u(0u, 4u, 8u, 12u)) & vec4u(15u);
  return vec4f(fields) - 8.0f;
}
var<workgroup> leftTile: array<vec4f, 512>;
var<workgroup> rightTile: array<vec4f, 512>;
@compute @workgroup_size(16, 16)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row0 = group.y * 128u;
  let column0 = group.x * 32u;
  let leftStart = group.z * 13824u;
  let rightStart = group.z * 262144u;
  let resultStart = group.z * 55296u;
  let scalesStart = group.z * 8192u;
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
  for (var k0 = 0u; k0 < 128u; k0 += 4u) {
    for (var i = lane; i < 512u; i += 256u) {
      let r = row0 + i / 4u;
      let k = k0 + i % 4u;
      var v = vec4f();
      if (r < 108u) { v = left[leftStart + r * 128u + k]; }
      leftTile[i] = v;
    }
    for (var i = lane; i < 512u; i += 256u) {
      let k = 4u * k0 + i / 32u;
      let c = column0 + i % 32u;
      let v = rightAt(rightStart + k * 512u + c) * scales[scalesStart + (k / 32u) * 512u + c];
      rightTile[i] = v;
    }
    workgroupBarrier();
    for (var q = 0u; q < 4u; q++) {
      let b0 = rightTile[4u * q * 32u + local.x];
      let b1 = rightTile[4u * q * 32u + local.x + 16u];
      let b2 = rightTile[(4u * q + 1u) * 32u + local.x];
      let b3 = rightTile[(4u * q + 1u) * 32u + local.x + 16u];
      let b4 = rightTile[(4u * q + 2u) * 32u + local.x];
      let b5 = rightTile[(4u * q + 2u) * 32u + local.x + 16u];
      let b6 = rightTile[(4u * q + 3u) * 32u + local.x];
      let b7 = rightTile[(4u * q + 3u) * 32u + local.x + 16u];
      let a0 = leftTile[(local.y * 8u) * 4u + q];
      s0 += a0.x * b0 + a0.y * b2 + a0.z * b4 + a0.w * b6;
      s1 += a0.x * b1 + a0.y * b3 + a0.z * b5 + a0.w * b7;
      let a1 = leftTile[(local.y * 8u + 1u) * 4u + q];
      s2 += a1.x * b0 + a1.y * b2 + a1.z * b4 + a1.w * b6;
      s3 += a1.x * b1 + a1.y * b3 + a1.z * b5 + a1.w * b7;
      let a2 = leftTile[(local.y * 8u + 2u) * 4u + q];
      s4 += a2.x * b0 + a2.y * b2 + a2.z * b4 + a2.w * b6;
      s5 += a2.x * b1 + a2.y * b3 + a2.z * b5 + a2.w * b7;
      let a3 = leftTile[(local.y * 8u + 3u) * 4u + q];
      s6 += a3.x * b0 + a3.y * b2 + a3.z * b4 + a3.w * b6;
      s7 += a3.x * b1 + a3.y * b3 + a3.z * b5 + a3.w * b7;
      let a4 = leftTile[(local.y * 8u + 4u) * 4u + q];
      s8 += a4.x * b0 + a4.y * b2 + a4.z * b4 + a4.w * b6;
      s9 += a4.x * b1 + a4.y * b3 + a4.z * b5 + a4.w * b7;
      let a5 = leftTile[(local.y * 8u + 5u) * 4u + q];
      s10 += a5.x * b0 + a5.y * b2 + a5.z * b4 + a5.w * b6;
      s11 += a5.x * b1 + a5.y * b3 + a5.z * b5 + a5.w * b7;
      let a6 = leftTile[(local.y * 8u + 6u) * 4u + q];
      s12 += a6.x * b0 + a6.y * b2 + a6.z * b4 + a6.w * b6;
      s13 += a6.x * b1 + a6.y * b3 + a6.z * b5 + a6.w * b7;
      let a7 = leftTile[(local.y * 8u + 7u) * 4u + q];
      s14 += a7.x * b0 + a7.y * b2 + a7.z * b4 + a7.w * b6;
      s15 += a7.x * b1 + a7.y * b3 + a7.z * b5 + a7.w * b7;
    }
    workgroupBarrier();
  }
  if (row0 + local.y * 8u < 108u) {
    let m = row0 + local.y * 8u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s0;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s1;
    }
  }
  if (row0 + local.y * 8u + 1u < 108u) {
    let m = row0 + local.y * 8u + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s2;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s3;
    }
  }
  if (row0 + local.y * 8u + 2u < 108u) {
    let m = row0 + local.y * 8u + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s4;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s5;
    }
  }
  if (row0 + local.y * 8u + 3u < 108u) {
    let m = row0 + local.y * 8u + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s6;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s7;
    }
  }
  if (row0 + local.y * 8u + 4u < 108u) {
    let m = row0 + local.y * 8u + 4u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s8;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s9;
    }
  }
  if (row0 + local.y * 8u + 5u < 108u) {
    let m = row0 + local.y * 8u + 5u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s10;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s11;
    }
  }
  if (row0 + local.y * 8u + 6u < 108u) {
    let m = row0 + local.y * 8u + 6u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s12;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s13;
    }
  }
  if (row0 + local.y * 8u + 7u < 108u) {
    let m = row0 + local.y * 8u + 7u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s14;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s15;
    }
  }
}
