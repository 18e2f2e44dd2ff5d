// linear: 16 x 13 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
var<workgroup> leftTile: array<vec4f, 256>;
var<workgroup> rightTile: array<vec4f, 256>;
@compute @workgroup_size(8, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row0 = group.y * 32u;
  let column0 = group.x * 8u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var k0 = 0u; k0 < 512u; k0 += 8u) {
    for (var i = lane; i < 256u; i += 64u) {
      let r = row0 + i / 8u;
      let k = k0 + i % 8u;
      var v = vec4f();
      if (r < 400u) { v = left[r * 512u + k]; }
      leftTile[i] = v;
    }
    for (var i = lane; i < 256u; i += 64u) {
      let k = 4u * k0 + i / 8u;
      let c = column0 + i % 8u;
      var v = vec4f();
      if (c < 125u) { v = right[k * 125u + c]; }
      rightTile[i] = v;
    }
    workgroupBarrier();
    for (var q = 0u; q < 8u; q++) {
      let b0 = rightTile[4u * q * 8u + local.x];
      let b1 = rightTile[(4u * q + 1u) * 8u + local.x];
      let b2 = rightTile[(4u * q + 2u) * 8u + local.x];
      let b3 = rightTile[(4u * q + 3u) * 8u + local.x];
      let a0 = leftTile[(local.y * 4u) * 8u + q];
      s0 += a0.x * b0 + a0.y * b1 + a0.z * b2 + a0.w * b3;
      let a1 = leftTile[(local.y * 4u + 1u) * 8u + q];
      s1 += a1.x * b0 + a1.y * b1 + a1.z * b2 + a1.w * b3;
      let a2 = leftTile[(local.y * 4u + 2u) * 8u + q];
      s2 += a2.x * b0 + a2.y * b1 + a2.z * b2 + a2.w * b3;
      let a3 = leftTile[(local.y * 4u + 3u) * 8u + q];
      s3 += a3.x * b0 + a3.y * b1 + a3.z * b2 + a3.w * b3;
    }
    workgroupBarrier();
  }
  if (row0 + local.y * 4u < 400u) {
    let m = row0 + local.y * 4u;
    let c0 = column0 + local.x;
    if (c0 < 125u) {
      result[m * 125u + c0] = s0 + bias[c0];
    }
  }
  if (row0 + local.y * 4u + 1u < 400u) {
    let m = row0 + local.y * 4u + 1u;
    let c0 = column0 + local.x;
    if (c0 < 125u) {
      result[m * 125u + c0] = s1 + bias[c0];
    }
  }
  if (row0 + local.y * 4u + 2u < 400u) {
    let m = row0 + local.y * 4u + 2u;
    let c0 = column0 + local.x;
    if (c0 < 125u) {
      result[m * 125u + c0] = s2 + bias[c0];
    }
  }
  if (row0 + local.y * 4u + 3u < 400u) {
    let m = row0 + local.y * 4u + 3u;
    let c0 = column0 + local.x;
    if (c0 < 125u) {
      result[m * 125u + c0] = s3 + bias[c0];
    }
  }
}
