// multiply + broadcast + add + cast: 800 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x0: array<vec4f>;
@group(0) @binding(1) var<storage, read> x1: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;
fn bfloat4(x: vec4f) -> vec4f {
  let bits = bitcast<vec4u>(x);
  return bitcast<vec4f>((bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u));
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= arrayLength(&result)) { return; }
  let t0 = vec4f(0.125f);
  let t1 = x0[i] * t0;
  let i2 = i % 128u;
  let t3 = t1 + x1[i2];
  let t4 = bfloat4(t3);
  result[i] = t4;
}
