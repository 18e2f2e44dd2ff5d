// linear + gelu: 16 x 7 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
fn gelu4(x: vec4f) -> vec4f {
  let bend = 0.7978845834732056f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, vec4f(-10.0f), vec4f(10.0f))));
}
fn epilogue(v: vec4f, i: u32) -> vec4f {
  let t0 = gelu4(v);
  return t0;
}
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u) {
  let c = group.x * 8u + local.x;
  if (c >= 128u) { return; }
  let row = group.y * 8u;
  if (row >= 50u) { return; }
  let l0 = min(row, 50u - 1u) * 512u;
  let l1 = min(row + 1u, 50u - 1u) * 512u;
  let l2 = min(row + 2u, 50u - 1u) * 512u;
  let l3 = min(row + 3u, 50u - 1u) * 512u;
  let l4 = min(row + 4u, 50u - 1u) * 512u;
  let l5 = min(row + 5u, 50u - 1u) * 512u;
  let l6 = min(row + 6u, 50u - 1u) * 512u;
  let l7 = min(row + 7u, 50u - 1u) * 512u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  for (var k = 0u; k < 512u; k++) {
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
  if (row < 50u) {
    result[row * 128u + c] = epilogue(s0 + bias[c], row * 128u + c);
  }
  if (row + 1u < 50u) {
    result[(row + 1u) * 128u + c] = epilogue(s1 + bias[c], (row + 1u) * 128u + c);
  }
  if (row + 2u < 50u) {
    result[(row + 2u) * 128u + c] = epilogue(s2 + bias[c], (row + 2u) * 128u + c);
  }
  if (row + 3u < 50u) {
    result[(row + 3u) * 128u + c] = epilogue(s3 + bias[c], (row + 3u) * 128u + c);
  }
  if (row + 4u < 50u) {
    result[(row + 4u) * 128u + c] = epilogue(s4 + bias[c], (row + 4u) * 128u + c);
  }
  if (row + 5u < 50u) {
    result[(row + 5u) * 128u + c] = epilogue(s5 + bias[c], (row + 5u) * 128u + c);
  }
  if (row + 6u < 50u) {
    result[(row + 6u) * 128u + c] = epilogue(s6 + bias[c], (row + 6u) * 128u + c);
  }
  if (row + 7u < 50u) {
    result[(row + 7u) * 128u + c] = epilogue(s7 + bias[c], (row + 7u) * 128u + c);
  }
}
