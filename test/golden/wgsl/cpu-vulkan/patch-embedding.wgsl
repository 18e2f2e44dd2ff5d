// patchify: 37632 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x0: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= arrayLength(&result)) { return; }
  let i0 = (i / 5376u) * 5376u + (i / 768u % 7u) * 24u + (i / 24u % 32u) * 168u + i % 24u;
  result[i] = x0[i0];
}

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
  let l0 = row * 768u;
  let l1 = (row + 1u) * 768u;
  let l2 = (row + 2u) * 768u;
  let l3 = (row + 3u) * 768u;
  let l4 = (row + 4u) * 768u;
  let l5 = (row + 5u) * 768u;
  let l6 = (row + 6u) * 768u;
  let l7 = (row + 7u) * 768u;
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
  result[row * 128u + c] = s0 + bias[c];
  result[(row + 1u) * 128u + c] = s1 + bias[c];
  result[(row + 2u) * 128u + c] = s2 + bias[c];
  result[(row + 3u) * 128u + c] = s3 + bias[c];
  result[(row + 4u) * 128u + c] = s4 + bias[c];
  result[(row + 5u) * 128u + c] = s5 + bias[c];
  result[(row + 6u) * 128u + c] = s6 + bias[c];
  result[(row + 7u) * 128u + c] = s7 + bias[c];
}
