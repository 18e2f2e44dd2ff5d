// concat: 25600 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 204800u) { return; }
  let row = i / 25600u;
  let place = i % 25600u;
  if (place < 512u) { z[i] = x[row * 512u + place]; }
  else { z[i] = y[row * 25088u + place - 512u]; }
}
