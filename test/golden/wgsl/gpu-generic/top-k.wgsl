// top_k: 50 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> indices: array<i32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 3200u) { return; }
  let row = i / 400u;
  let own = x[i];
  var rank = 0u;
  for (var j = 0u; j < 400u; j++) {
    let other = x[row * 400u + j];
    rank += select(0u, 1u, other > own || (other == own && j < i % 400u));
  }
  if (rank < 400u) {
    values[row * 400u + rank] = own;
    indices[row * 400u + rank] = i32(i % 400u);
  }
}
