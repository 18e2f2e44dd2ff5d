// gelu: 3200 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x0: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4f>;
fn gelu4(x: vec4f) -> vec4f {
  let bend = 0.7978845834732056f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, vec4f(-10.0f), vec4f(10.0f))));
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= arrayLength(&result)) { return; }
  let t0 = gelu4(x0[i]);
  result[i] = t0;
}
