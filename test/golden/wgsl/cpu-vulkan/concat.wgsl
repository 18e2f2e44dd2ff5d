// concat: 6400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x0: array<vec4f>;
@group(0) @binding(1) var<storage, read> x1: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;
fn at0(i: u32) -> vec4f {
  if (i % 6400u < 128u) {
    let i0 = i / 6400u * 128u + i % 6400u;
    return x0[i0];
  }
  let i0 = i / 6400u * 6272u + i % 6400u - 128u;
  return x1[i0];
}
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= arrayLength(&result)) { return; }
  let t0 = at0(i);
  result[i] = t0;
}
