// linear: 16 x 49 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = group.x * 8u + local.x;
  if (c >= 128u) { return; }
  let row = group.y * 8u;
  if (row >= 392u) { return; }
  let l0 = ((row) / 7u) * 5376u + ((row) % 7u) * 24u;
  let l1 = ((row + 1u) / 7u) * 5376u + ((row + 1u) % 7u) * 24u;
  let l2 = ((row + 2u) / 7u) * 5376u + ((row + 2u) % 7u) * 24u;
  let l3 = ((row + 3u) / 7u) * 5376u + ((row + 3u) % 7u) * 24u;
  let l4 = ((row + 4u) / 7u) * 5376u + ((row + 4u) % 7u) * 24u;
  let l5 = ((row + 5u) / 7u) * 5376u + ((row + 5u) % 7u) * 24u;
  let l6 = ((row + 6u) / 7u) * 5376u + ((row + 6u) % 7u) * 24u;
  let l7 = ((row + 7u) / 7u) * 5376u + ((row + 7u) % 7u) * 24u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  for (var k = 0u; k < 768u; k++) {
    let b0 = right[(4u * k) * 128u + c];
    let b1 = right[(4u * k + 1u) * 128u + c];
    let b2 = right[(4u * k + 2u) * 128u + c];
    let b3 = right[(4u * k + 3u) * 128u + c];
    let a0 = left[l0 + (k / 24u) * 168u + k % 24u];
    let a1 = left[l1 + (k / 24u) * 168u + k % 24u];
    let a2 = left[l2 + (k / 24u) * 168u + k % 24u];
    let a3 = left[l3 + (k / 24u) * 168u + k % 24u];
    let a4 = left[l4 + (k / 24u) * 168u + k % 24u];
    let a5 = left[l5 + (k / 24u) * 168u + k % 24u];
    let a6 = left[l6 + (k / 24u) * 168u + k % 24u];
    let a7 = left[l7 + (k / 24u) * 168u + k % 24u];
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
  result[row * 128u + c] = s0 + bias[c];
  result[(row + 1u) * 128u + c] = s1 + bias[c];
  result[(row + 2u) * 128u + c] = s2 + bias[c];
  result[(row + 3u) * 128u + c] = s3 + bias[c];
  result[(row + 4u) * 128u + c] = s4 + bias[c];
  result[(row + 5u) * 128u + c] = s5 + bias[c];
  result[(row + 6u) * 128u + c] = s6 + bias[c];
  result[(row + 7u) * 128u + c] = s7 + bias[c];
}
