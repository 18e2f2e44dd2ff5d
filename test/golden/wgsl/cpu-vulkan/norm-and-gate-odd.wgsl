// norm and gate: 50 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> kernel: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> items: array<f32>;
@group(0) @binding(5) var<storage, read_write> choices: array<i32>;
@group(0) @binding(6) var<storage, read_write> weights: array<f32>;
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
  var gates: array<f32, 8>;
  for (var first = 0u; first < 2u; first += 2u) {
    var s0 = vec4f(); var s1 = vec4f();
    for (var d = 0u; d < 70u; d++) {
      let n = (x[start + d] - mean) * factor * scale[d] + bias[d];
      if (first == 0u) { items[start + d] = n; }
      let at = d * 2u + first;
      s0 += n * kernel[at + 0u];
      s1 += n * kernel[at + 1u];
    }
    gates[4u * (first + 0u) + 0u] = s0.x; gates[4u * (first + 0u) + 1u] = s0.y; gates[4u * (first + 0u) + 2u] = s0.z; gates[4u * (first + 0u) + 3u] = s0.w;
    gates[4u * (first + 1u) + 0u] = s1.x; gates[4u * (first + 1u) + 1u] = s1.y; gates[4u * (first + 1u) + 2u] = s1.z; gates[4u * (first + 1u) + 3u] = s1.w;
  }
  var largest = -3.402823e38f;
  for (var e = 0u; e < 8u; e++) { largest = max(largest, gates[e]); }
  var total = 0.0f;
  for (var e = 0u; e < 8u; e++) {
    gates[e] = exp(gates[e] - largest);
    total += gates[e];
  }
  for (var e = 0u; e < 8u; e++) { gates[e] /= total; }
  // Gates are compared as they are, after the softmax; of equal ones the lower expert comes first.
  for (var j = 0u; j < 2u; j++) {
    var best = 0u;
    var gate = -1.0f;
    for (var e = 0u; e < 8u; e++) {
      if (gates[e] > gate) { best = e; gate = gates[e]; }
    }
    weights[i * 2u + j] = gate;
    choices[i * 2u + j] = i32(best);
    gates[best] = -1.0f;
  }
}
