// layer_norm: 400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;
var<workgroup> partial: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x;
  let start = row * 512u;
  var mean = 0.0f;
  for (var j = lane; j < 512u; j += 64u) { mean += x[start + j]; }
  partial[lane] = mean;
  workgroupBarrier();
  for (var step = 32u; step > 0u; step /= 2u) {
    if (lane < step) { partial[lane] = partial[lane] + partial[lane + step]; }
    workgroupBarrier();
  }
  mean = partial[0];
  workgroupBarrier();
  mean /= 512.0f;
  var variance = 0.0f;
  for (var j = lane; j < 512u; j += 64u) { let centred = x[start + j] - mean; variance += centred * centred; }
  partial[lane] = variance;
  workgroupBarrier();
  for (var step = 32u; step > 0u; step /= 2u) {
    if (lane < step) { partial[lane] = partial[lane] + partial[lane + step]; }
    workgroupBarrier();
  }
  variance = partial[0];
  workgroupBarrier();
  let factor = 1.0f / sqrt(variance / 512.0f + 9.999999974752427e-7f);
  for (var j = lane; j < 512u; j += 64u) {
    result[start + j] = (x[start + j] - mean) * factor * scale[j] + bias[j];
  }
}
