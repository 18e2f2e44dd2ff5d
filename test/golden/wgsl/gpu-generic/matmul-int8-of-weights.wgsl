// matmul: 16 x 4 x 8 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
fn rightAt(i: u32) -> vec4f {
  let word = right[i];
  let fields = (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
  return vec4f(fields) - 128.0f;
}
var<workgroup> partial: array<vec4f, 512>;
@compute @workgroup_size(8, 1, 16)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let column = group.x * 8u + local.x;
  let c = min(column, 127u);
  let row = group.y * 4u;
  let leftStart = group.z * 2048u;
  let rightStart = group.z * 65536u;
  let resultStart = group.z * 2048u;
  let scalesStart = group.z * 2048u;
  let l0 = leftStart + min(row, 16u - 1u) * 128u;
  let l1 = leftStart + min(row + 1u, 16u - 1u) * 128u;
  let l2 = leftStart + min(row + 2u, 16u - 1u) * 128u;
  let l3 = leftStart + min(row + 3u, 16u - 1u) * 128u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var k = local.z; k < 128u; k += 16u) {
    let b0 = rightAt(rightStart + (4u * k) * 128u + c) * scales[scalesStart + ((4u * k) / 32u) * 128u + c];
    let b1 = rightAt(rightStart + (4u * k + 1u) * 128u + c) * scales[scalesStart + ((4u * k + 1u) / 32u) * 128u + c];
    let b2 = rightAt(rightStart + (4u * k + 2u) * 128u + c) * scales[scalesStart + ((4u * k + 2u) / 32u) * 128u + c];
    let b3 = rightAt(rightStart + (4u * k + 3u) * 128u + c) * scales[scalesStart + ((4u * k + 3u) / 32u) * 128u + c];
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
  partial[(local.z * 8u + local.x) * 4u] = s0;
  partial[(local.z * 8u + local.x) * 4u + 1u] = s1;
  partial[(local.z * 8u + local.x) * 4u + 2u] = s2;
  partial[(local.z * 8u + local.x) * 4u + 3u] = s3;
  workgroupBarrier();
  for (var z = 1u; z < 16u && local.z == 0u; z++) {
    s0 += partial[(z * 8u + local.x) * 4u];
    s1 += partial[(z * 8u + local.x) * 4u + 1u];
    s2 += partial[(z * 8u + local.x) * 4u + 2u];
    s3 += partial[(z * 8u + local.x) * 4u + 3u];
  }
  if (local.z > 0u) { return; }
  if (column >= 128u) { return; }
  if (row < 16u) {
    result[resultStart + row * 128u + c] = s0;
  }
  if (row + 1u < 16u) {
    result[resultStart + (row + 1u) * 128u + c] = s1;
  }
  if (row + 2u < 16u) {
    result[resultStart + (row + 2u) * 128u + c] = s2;
  }
  if (row + 3u < 16u) {
    result[resultStart + (row + 3u) * 128u + c] = s3;
  }
}
