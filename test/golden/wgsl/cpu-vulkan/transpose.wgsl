// transpose: 50176 x 3 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * 401408u;
  if (i >= 1204224u) { return; }
  y[i] = x[(i / 21504u) * 21504u + (i / 3072u % 7u) * 96u + (i / 96u % 32u) * 672u + i % 96u];
}
