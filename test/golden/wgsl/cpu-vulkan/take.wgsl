// take: 1 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 6u) { return; }
  var entry = f32();
  if (indices[i] >= 0) { entry = x[i / 2u * 8u + u32(indices[i])]; }
  result[i] = entry;
}
