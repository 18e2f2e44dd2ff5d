// gelu: 51200 x 2 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
fn gelu(x: f32) -> f32 {
  let bend = 0.7978845834732056f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, f32(-10.0f), f32(10.0f))));
}
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * 409600u;
  if (i >= arrayLength(&result)) { return; }
  let a = x[i];
  result[i] = gelu(a);
}
