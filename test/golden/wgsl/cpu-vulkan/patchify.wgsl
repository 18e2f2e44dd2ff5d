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
