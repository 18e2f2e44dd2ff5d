// linear: 32 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
var<workgroup> partial: array<vec4f, 128>;
@compute @workgroup_size(8, 1, 16)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let column = group.x * 8u + local.x;
  let c = min(column, 249u);
  let row = group.y * 1u;
  let l0 = min(row, 1u - 1u) * 128u;
  var s0 = vec4f();
  for (var k = local.z; k < 128u; k += 16u) {
    let b0 = right[(4u * k) * 250u + c];
    let b1 = right[(4u * k + 1u) * 250u + c];
    let b2 = right[(4u * k + 2u) * 250u + c];
    let b3 = right[(4u * k + 3u) * 250u + c];
    let a0 = left[l0 + k];
    s0 += a0.x * b0;
    s0 += a0.y * b1;
    s0 += a0.z * b2;
    s0 += a0.w * b3;
  }
  partial[(local.z * 8u + local.x) * 1u] = s0;
  workgroupBarrier();
  for (var z = 1u; z < 16u && local.z == 0u; z++) {
    s0 += partial[(z * 8u + local.x) * 1u];
  }
  if (local.z > 0u) { return; }
  if (column >= 250u) { return; }
  if (row < 1u) {
    result[row * 250u + c] = s0 + bias[c];
  }
}
