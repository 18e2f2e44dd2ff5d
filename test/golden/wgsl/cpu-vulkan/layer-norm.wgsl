// layer_norm: 50 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= 400u) { return; }
  let start = row * 512u;
  var mean = 0.0f;
  for (var j = 0u; j < 512u; j++) { mean += x[start + j]; }
  mean /= 512.0f;
  var variance = 0.0f;
  for (var j = 0u; j < 512u; j++) { let centred = x[start + j] - mean; variance += centred * centred; }
  let factor = 1.0f / sqrt(variance / 512.0f + 9.999999974752427e-7f);
  for (var j = 0u; j < 512u; j++) {
    result[start + j] = (x[start + j] - mean) * factor * scale[j] + bias[j];
  }
}
