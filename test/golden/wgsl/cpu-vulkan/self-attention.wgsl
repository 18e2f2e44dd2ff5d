// attention scores: 2 x 7 x 64 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = group.x * 8u + local.x;
  if (c >= 13u) { return; }
  let row = group.y * 8u;
  if (row >= 50u) { return; }
  let leftStart = (group.z / 8u) * 19200u + (group.z % 8u) * 16u;
  let rightStart = (group.z / 8u) * 19200u + (group.z % 8u) * 16u + 128u;
  let resultStart = group.z * 2600u;
  let n0 = min(4u * c, 49u);
  let n1 = min(4u * c + 1u, 49u);
  let n2 = min(4u * c + 2u, 49u);
  let n3 = min(4u * c + 3u, 49u);
  let l0 = leftStart + min(row, 50u - 1u) * 384u;
  let l1 = leftStart + min(row + 1u, 50u - 1u) * 384u;
  let l2 = leftStart + min(row + 2u, 50u - 1u) * 384u;
  let l3 = leftStart + min(row + 3u, 50u - 1u) * 384u;
  let l4 = leftStart + min(row + 4u, 50u - 1u) * 384u;
  let l5 = leftStart + min(row + 5u, 50u - 1u) * 384u;
  let l6 = leftStart + min(row + 6u, 50u - 1u) * 384u;
  let l7 = leftStart + min(row + 7u, 50u - 1u) * 384u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  for (var k = 0u; k < 16u; k++) {
    let b0 = right[rightStart + n0 * 384u + k];
    let b1 = right[rightStart + n1 * 384u + k];
    let b2 = right[rightStart + n2 * 384u + k];
    let b3 = right[rightStart + n3 * 384u + k];
    let a0 = left[l0 + k];
    let a1 = left[l1 + k];
    let a2 = left[l2 + k];
    let a3 = left[l3 + k];
    let a4 = left[l4 + k];
    let a5 = left[l5 + k];
    let a6 = left[l6 + k];
    let a7 = left[l7 + k];
    s0 += vec4f(dot(a0, b0), dot(a0, b1), dot(a0, b2), dot(a0, b3));
    s1 += vec4f(dot(a1, b0), dot(a1, b1), dot(a1, b2), dot(a1, b3));
    s2 += vec4f(dot(a2, b0), dot(a2, b1), dot(a2, b2), dot(a2, b3));
    s3 += vec4f(dot(a3, b0), dot(a3, b1), dot(a3, b2), dot(a3, b3));
    s4 += vec4f(dot(a4, b0), dot(a4, b1), dot(a4, b2), dot(a4, b3));
    s5 += vec4f(dot(a5, b0), dot(a5, b1), dot(a5, b2), dot(a5, b3));
    s6 += vec4f(dot(a6, b0), dot(a6, b1), dot(a6, b2), dot(a6, b3));
    s7 += vec4f(dot(a7, b0), dot(a7, b1), dot(a7, b2), dot(a7, b3));
  }
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

// attention mix: 2 x 7 x 64 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = group.x * 8u + local.x;
  if (c >= 16u) { return; }
  let row = group.y * 8u;
  if (row >= 50u) { return; }
  let leftStart = group.z * 650u;
  let rightStart = (group.z / 8u) * 19200u + (group.z % 8u) * 16u + 256u;
  let resultStart = (group.z / 8u) * 6400u + (group.z % 8u) * 16u;
  let l0 = leftStart + min(row, 50u - 1u) * 13u;
  let l1 = leftStart + min(row + 1u, 50u - 1u) * 13u;
  let l2 = leftStart + min(row + 2u, 50u - 1u) * 13u;
  let l3 = leftStart + min(row + 3u, 50u - 1u) * 13u;
  let l4 = leftStart + min(row + 4u, 50u - 1u) * 13u;
  let l5 = leftStart + min(row + 5u, 50u - 1u) * 13u;
  let l6 = leftStart + min(row + 6u, 50u - 1u) * 13u;
  let l7 = leftStart + min(row + 7u, 50u - 1u) * 13u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  for (var k = 0u; k < 12u; k++) {
    let b0 = right[rightStart + (4u * k) * 384u + c];
    let b1 = right[rightStart + (4u * k + 1u) * 384u + c];
    let b2 = right[rightStart + (4u * k + 2u) * 384u + c];
    let b3 = right[rightStart + (4u * k + 3u) * 384u + c];
    let a0 = left[l0 + k];
    let a1 = left[l1 + k];
    let a2 = left[l2 + k];
    let a3 = left[l3 + k];
    let a4 = left[l4 + k];
    let a5 = left[l5 + k];
    let a6 = left[l6 + k];
    let a7 = left[l7 + k];
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
    s4 += a4.x * b0;
    s4 += a4.y * b1;
    s4 += a4.z * b2;
    s4 += a4.w * b3;
    s5 += a5.x * b0;
    s5 += a5.y * b1;
    s5 += a5.z * b2;
    s5 += a5.w * b3;
    s6 += a6.x * b0;
    s6 += a6.y * b1;
    s6 += a6.z * b2;
    s6 += a6.w * b3;
    s7 += a7.x * b0;
    s7 += a7.y * b1;
    s7 += a7.z * b2;
    s7 += a7.w * b3;
  }
  let b0 = right[rightStart + (4u * 12u) * 384u + c];
  let b1 = right[rightStart + (4u * 12u + 1u) * 384u + c];
  let a0 = left[l0 + 12u];
  let a1 = left[l1 + 12u];
  let a2 = left[l2 + 12u];
  let a3 = left[l3 + 12u];
  let a4 = left[l4 + 12u];
  let a5 = left[l5 + 12u];
  let a6 = left[l6 + 12u];
  let a7 = left[l7 + 12u];
  s0 += a0.x * b0;
  s0 += a0.y * b1;
  s1 += a1.x * b0;
  s1 += a1.y * b1;
  s2 += a2.x * b0;
  s2 += a2.y * b1;
  s3 += a3.x * b0;
  s3 += a3.y * b1;
  s4 += a4.x * b0;
  s4 += a4.y * b1;
  s5 += a5.x * b0;
  s5 += a5.y * b1;
  s6 += a6.x * b0;
  s6 += a6.y * b1;
  s7 += a7.x * b0;
  s7 += a7.y * b1;
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
}
