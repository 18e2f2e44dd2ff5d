// linear + gelu: 64 x 100 x 1 workgroups
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
  if (c >= 512u) { return; }
  let row = group.y * 4u;
  if (row >= 400u) { return; }
  let l0 = row * 128u;
  let l1 = (row + 1u) * 128u;
  let l2 = (row + 2u) * 128u;
  let l3 = (row + 3u) * 128u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var k = 0u; k < 128u; k++) {
    let b0 = right[(4u * k) * 512u + c];
    let b1 = right[(4u * k + 1u) * 512u + c];
    let b2 = right[(4u * k + 2u) * 512u + c];
    let b3 = right[(4u * k + 3u) * 512u + c];
    let a0 = left[l0 + k];
    let a1 = left[l1 + k];
    let a2 = left[l2 + k];
    let a3 = left[l3 + k];
    s0 += a0.x * b0 + a0.y * b1 + a0.z * b2 + a0.w * b3;
    s1 += a1.x * b0 + a1.y * b1 + a1.z * b2 + a1.w * b3;
    s2 += a2.x * b0 + a2.y * b1 + a2.z * b2 + a2.w * b3;
    s3 += a3.x * b0 + a3.y * b1 + a3.z * b2 + a3.w * b3;
  }
  result[row * 512u + c] = epilogue(s0 + bias[c], row * 512u + c);
  result[(row + 1u) * 512u + c] = epilogue(s1 + bias[c], (row + 1u) * 512u + c);
  result[(row + 2u) * 512u + c] = epilogue(s2 + bias[c], (row + 2u) * 512u + c);
  result[(row + 3u) * 512u + c] = epilogue(s3 + bias[c], (row + 3u) * 512u + c);
}
