// add: 6400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x0: array<vec4f>;
@group(0) @binding(1) var<storage, read> x1: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= arrayLength(&result)) { return; }
  let t0 = x0[i] + x1[i];
  result[i] = t0;
}
