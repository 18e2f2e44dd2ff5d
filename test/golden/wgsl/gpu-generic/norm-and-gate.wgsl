// norm and gate: 400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> kernel: array<f32>;
@group(0) @binding(4) var<storage, read_write> items: array<f32>;
@group(0) @binding(5) var<storage, read_write> choices: array<i32>;
@group(0) @binding(6) var<storage, read_write> weights: array<f32>;
fn bfloat(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>((bits + 0x7fffu + ((bits >> u32(16u)) & u32(1u))) & u32(0xffff0000u));
}

var<workgroup> partial: array<f32, 64>;
var<workgroup> sums: array<f32, 64>;
var<workgroup> gates: array<f32, 8>;
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
    let n = (x[start + j] - mean) * factor * scale[j] + bias[j];
    items[start + j] = bfloat(n);
  }
  for (var q = lane; q < 64u; q += 64u) {
    var sum = 0.0f;
    for (var d = q / 8u; d < 512u; d += 8u) {
      let n = (x[start + d] - mean) * factor * scale[d] + bias[d];
      sum += n * kernel[d * 8u + q % 8u];
    }
    sums[q] = sum;
  }
  workgroupBarrier();
  for (var e = lane; e < 8u; e += 64u) {
    var logit = 0.0f;
    for (var q = e; q < 64u; q += 8u) { logit += sums[q]; }
    gates[e] = logit;
  }
  workgroupBarrier();
  var largest = -3.402823e38f;
  for (var e = 0u; e < 8u; e++) { largest = max(largest, gates[e]); }
  for (var e = lane; e < 8u; e += 64u) { sums[e] = exp(gates[e] - largest); }
  workgroupBarrier();
  var total = 0.0f;
  for (var e = 0u; e < 8u; e++) { total += sums[e]; }
  for (var e = lane; e < 8u; e += 64u) { gates[e] = sums[e] / total; }
  workgroupBarrier();
  // Gates are compared as they are, after the softmax; of equal ones the lower expert comes first.
  for (var e = lane; e < 8u; e += 64u) {
    let gate = gates[e];
    var rank = 0u;
    for (var c = 0u; c < 8u; c++) { rank += select(0u, 1u, gates[c] > gate || (gates[c] == gate && c < e)); }
    if (rank < 2u) {
      weights[row * 2u + rank] = gate;
      choices[row * 2u + rank] = i32(e);
    }
  }
}
