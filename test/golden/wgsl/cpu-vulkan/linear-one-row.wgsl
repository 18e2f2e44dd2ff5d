// linear: 32 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = group.x * 8u + local.x;
  if (c >= 250u) { return; }
  let row = group.y * 1u;
  if (row >= 1u) { return; }
  let l0 = row * 128u;
  var s0 = vec4f();
  for (var k = 0u; k < 128u; k++) {
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
  result[row * 250u + c] = s0 + bias[c];
}
