// norm and logits: 50 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> kernel: array<f32>;
@group(0) @binding(4) var<storage, read_write> items: array<f32>;
@group(0) @binding(5) var<storage, read_write> logits: array<f32>;
fn bfloat(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>((bits + 0x7fffu + ((bits >> u32(16u)) & u32(1u))) & u32(0xffff0000u));
}
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 395u) { return; }
  let start = i * 70u;
  var mean = 0.0f;
  for (var d = 0u; d < 70u; d++) { let v = x[start + d]; mean += v; }
  mean /= 70.0f;
  var variance = 0.0f;
  for (var d = 0u; d < 70u; d++) { let v = x[start + d] - mean; variance += v * v; }
  let factor = 1.0f / sqrt(variance / 70.0f + 9.999999974752427e-7f);
  for (var first = 0u; first < 6u; first += 6u) {
    var s0 = f32(); var s1 = f32(); var s2 = f32(); var s3 = f32(); var s4 = f32(); var s5 = f32();
    for (var d = 0u; d < 70u; d++) {
      let n = (x[start + d] - mean) * factor * scale[d] + bias[d];
      if (first == 0u) { items[start + d] = bfloat(n); }
      let at = d * 6u + first;
      s0 += n * kernel[at + 0u];
      s1 += n * kernel[at + 1u];
      s2 += n * kernel[at + 2u];
      s3 += n * kernel[at + 3u];
      s4 += n * kernel[at + 4u];
      s5 += n * kernel[at + 5u];
    }
    logits[i * 6u + 1u * (first + 0u) + 0u] = s0;
    logits[i * 6u + 1u * (first + 1u) + 0u] = s1;
    logits[i * 6u + 1u * (first + 2u) + 0u] = s2;
    logits[i * 6u + 1u * (first + 3u) + 0u] = s3;
    logits[i * 6u + 1u * (first + 4u) + 0u] = s4;
    logits[i * 6u + 1u * (first + 5u) + 0u] = s5;
  }
}
