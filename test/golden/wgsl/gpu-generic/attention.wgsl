// attention scores: 2 x 2 x 64 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
var<workgroup> leftTile: array<vec4f, 256>;
var<workgroup> rightTile: array<vec4f, 256>;
@compute @workgroup_size(8, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row0 = group.y * 32u;
  let column0 = group.x * 8u;
  let leftStart = (group.z / 8u) * 6400u + (group.z % 8u) * 16u;
  let rightStart = (group.z / 8u) * 25600u + (group.z % 8u) * 64u;
  let resultStart = group.z * 2600u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var k0 = 0u; k0 < 16u; k0 += 8u) {
    for (var i = lane; i < 256u; i += 64u) {
      let r = row0 + i / 8u;
      let k = k0 + i % 8u;
      var v = vec4f();
      if (r < 50u) { v = left[leftStart + r * 128u + k]; }
      leftTile[i] = v;
    }
    for (var i = lane; i < 256u; i += 64u) {
      let k = 4u * k0 + i / 8u;
      let c = column0 + i % 8u;
      let n0 = min(4u * c, 49u);
      let n1 = min(4u * c + 1u, 49u);
      let n2 = min(4u * c + 2u, 49u);
      let n3 = min(4u * c + 3u, 49u);
      var v = vec4f();
      if (c < 13u) { v = vec4f(right[rightStart + n0 * 512u + k], right[rightStart + n1 * 512u + k], right[rightStart + n2 * 512u + k], right[rightStart + n3 * 512u + k]); }
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
  if (row0 + local.y * 4u < 50u) {
    let m = row0 + local.y * 4u;
    let c0 = column0 + local.x;
    if (c0 < 13u) {
      let v = (s0) * 0.125f;
      let at = resultStart + m * 52u + 4u * c0;
      if (4u * c0 < 50u) { result[at] = v.x; }
      if (4u * c0 + 1u < 50u) { result[at + 1u] = v.y; }
      if (4u * c0 + 2u < 50u) { result[at + 2u] = v.z; }
      if (4u * c0 + 3u < 50u) { result[at + 3u] = v.w; }
    }
  }
  if (row0 + local.y * 4u + 1u < 50u) {
    let m = row0 + local.y * 4u + 1u;
    let c0 = column0 + local.x;
    if (c0 < 13u) {
      let v = (s1) * 0.125f;
      let at = resultStart + m * 52u + 4u * c0;
      if (4u * c0 < 50u) { result[at] = v.x; }
      if (4u * c0 + 1u < 50u) { result[at + 1u] = v.y; }
      if (4u * c0 + 2u < 50u) { result[at + 2u] = v.z; }
      if (4u * c0 + 3u < 50u) { result[at + 3u] = v.w; }
    }
  }
  if (row0 + local.y * 4u + 2u < 50u) {
    let m = row0 + local.y * 4u + 2u;
    let c0 = column0 + local.x;
    if (c0 < 13u) {
      let v = (s2) * 0.125f;
      let at = resultStart + m * 52u + 4u * c0;
      if (4u * c0 < 50u) { result[at] = v.x; }
      if (4u * c0 + 1u < 50u) { result[at + 1u] = v.y; }
      if (4u * c0 + 2u < 50u) { result[at + 2u] = v.z; }
      if (4u * c0 + 3u < 50u) { result[at + 3u] = v.w; }
    }
  }
  if (row0 + local.y * 4u + 3u < 50u) {
    let m = row0 + local.y * 4u + 3u;
    let c0 = column0 + local.x;
    if (c0 < 13u) {
      let v = (s3) * 0.125f;
      let at = resultStart + m * 52u + 4u * c0;
      if (4u * c0 < 50u) { result[at] = v.x; }
      if (4u * c0 + 1u < 50u) { result[at + 1u] = v.y; }
      if (4u * c0 + 2u < 50u) { result[at + 2u] = v.z; }
      if (4u * c0 + 3u < 50u) { result[at + 3u] = v.w; }
    }
  }
}

// softmax: 3200 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
var<workgroup> partial: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x;
  let start = row * 52u;
  var largest = -3.402823e38f;
  for (var j = lane; j < 50u; j += 64u) { largest = max(largest, y[start + j]); }
  partial[lane] = largest;
  workgroupBarrier();
  for (var step = 32u; step > 0u; step /= 2u) {
    if (lane < step) { partial[lane] = max(partial[lane], partial[lane + step]); }
    workgroupBarrier();
  }
  largest = partial[0];
  workgroupBarrier();
  var total = 0.0f;
  for (var j = lane; j < 50u; j += 64u) {
    let power = exp(y[start + j] - largest);
    y[start + j] = power;
    total += power;
  }
  partial[lane] = total;
  workgroupBarrier();
  for (var step = 32u; step > 0u; step /= 2u) {
    if (lane < step) { partial[lane] = partial[lane] + partial[lane + step]; }
    workgroupBarrier();
  }
  total = partial[0];
  workgroupBarrier();
  for (var j = lane; j < 50u; j += 64u) { y[start + j] = y[start + j] / total; }
  for (var j = lane; j < 2u; j += 64u) { y[start + 50u + j] = 0.0f; }
}

// attention mix: 2 x 2 x 64 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = group.x * 8u + local.x;
  if (c >= 16u) { return; }
  let row = (group.y * 8u + local.y) * 4u;
  if (row >= 50u) { return; }
  let leftStart = group.z * 650u;
  let rightStart = (group.z / 8u) * 6400u + (group.z % 8u) * 16u;
  let resultStart = (group.z / 8u) * 6400u + (group.z % 8u) * 16u;
  let l0 = leftStart + min(row, 50u - 1u) * 13u;
  let l1 = leftStart + min(row + 1u, 50u - 1u) * 13u;
  let l2 = leftStart + min(row + 2u, 50u - 1u) * 13u;
  let l3 = leftStart + min(row + 3u, 50u - 1u) * 13u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var k = 0u; k < 12u; k++) {
    let b0 = right[rightStart + (4u * k) * 128u + c];
    let b1 = right[rightStart + (4u * k + 1u) * 128u + c];
    let b2 = right[rightStart + (4u * k + 2u) * 128u + c];
    let b3 = right[rightStart + (4u * k + 3u) * 128u + c];
    let a0 = left[l0 + k];
    let a1 = left[l1 + k];
    let a2 = left[l2 + k];
    let a3 = left[l3 + k];
    s0 += a0.x * b0;
    s0 += a0.y * b1;
    s0 += a0.z * b2;
    s0 += a0.w * b3;
    s1 += a1.x * b0;
    s1 += a1.y * b1;
    s1 += a1.z * b2;
    s1 += a1.w * b3;
    s2 += a2.x * b0;
    s2 += a2.y * b1;
    s2 += a2.z * b2;
    s2 += a2.w * b3;
    s3 += a3.x * b0;
    s3 += a3.y * b1;
    s3 += a3.z * b2;
    s3 += a3.w * b3;
  }
  let b0 = right[rightStart + (4u * 12u) * 128u + c];
  let b1 = right[rightStart + (4u * 12u + 1u) * 128u + c];
  let a0 = left[l0 + 12u];
  let a1 = left[l1 + 12u];
  let a2 = left[l2 + 12u];
  let a3 = left[l3 + 12u];
  s0 += a0.x * b0;
  s0 += a0.y * b1;
  s1 += a1.x * b0;
  s1 += a1.y * b1;
  s2 += a2.x * b0;
  s2 += a2.y * b1;
  s3 += a3.x * b0;
  s3 += a3.y * b1;
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
}
