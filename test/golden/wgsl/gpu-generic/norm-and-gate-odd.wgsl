// norm and gate: 198 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> kernel: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> items: array<f32>;
@group(0) @binding(5) var<storage, read_write> choices: array<i32>;
@group(0) @binding(6) var<storage, read_write> weights: array<f32>;
var<workgroup> partial0: array<vec2f, 64>;
var<workgroup> partial1: array<vec2f, 64>;
var<workgroup> row: array<vec2f, 70>;
var<workgroup> sums: array<vec4f, 128>;
var<workgroup> powers: array<f32, 16>;
var<workgroup> gates: array<f32, 16>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let team = group.x;
  let token = team * 2u;
  let start = token * 70u; let start_1 = min(token + 1u, 394u) * 70u;
  let x0 = x[start + lane]; let x0_1 = x[start_1 + lane]; let scale0 = scale[lane]; let bias0 = bias[lane];
  var x1 = f32(); var x1_1 = f32(); var scale1 = f32(); var bias1 = f32();
  if (lane < 6u) { x1 = x[start + lane + 64u]; x1_1 = x[start_1 + lane + 64u]; scale1 = scale[lane + 64u]; bias1 = bias[lane + 64u]; }
  let k0 = kernel[lane];
  let k1 = kernel[lane + 64u];
  var k2 = vec4f(); if (lane < 12u) { k2 = kernel[lane + 128u]; }
  let sum = x0 + x1;
  let sum_1 = x0_1 + x1_1;
  var mean = vec2f(sum, sum_1);
  partial0[lane] = mean;
  workgroupBarrier();
  if (lane < 8u) {
    for (var j = lane + 8u; j < 64u; j += 8u) { mean = mean + partial0[j]; }
    partial0[lane] = mean;
  }
  workgroupBarrier();
  mean = partial0[0];
  for (var j = 1u; j < 8u; j++) { mean = mean + partial0[j]; }
  mean /= 70.0f;
  let centred0 = x0 - mean.x;
  let centred1 = select(f32(), x1 - mean.x, lane < 6u);
  let centred0_1 = x0_1 - mean.y;
  let centred1_1 = select(f32(), x1_1 - mean.y, lane < 6u);
  let squares = centred0 * centred0 + centred1 * centred1;
  let squares_1 = centred0_1 * centred0_1 + centred1_1 * centred1_1;
  var variance = vec2f(squares, squares_1);
  partial1[lane] = variance;
  workgroupBarrier();
  if (lane < 8u) {
    for (var j = lane + 8u; j < 64u; j += 8u) { variance = variance + partial1[j]; }
    partial1[lane] = variance;
  }
  workgroupBarrier();
  variance = partial1[0];
  for (var j = 1u; j < 8u; j++) { variance = variance + partial1[j]; }
  let factor = 1.0f / sqrt(variance / 70.0f + 9.999999974752427e-7f);
  { let n = centred0 * factor.x * scale0 + bias0; let n_1 = centred0_1 * factor.y * scale0 + bias0; items[start + lane] = n; items[start_1 + lane] = n_1; row[lane] = vec2f(n, n_1); }
  if (lane < 6u) { let n = centred1 * factor.x * scale1 + bias1; let n_1 = centred1_1 * factor.y * scale1 + bias1; items[start + lane + 64u] = n; items[start_1 + lane + 64u] = n_1; row[lane + 64u] = vec2f(n, n_1); }
  workgroupBarrier();
  let part = lane / 2u;
  var own = vec4f(); var own_1 = vec4f();
  { let r = row[part]; let k = k0; own += r.x * k; own_1 += r.y * k; }
  { let r = row[part + 32u]; let k = k1; own += r.x * k; own_1 += r.y * k; }
  if (lane < 12u) { let r = row[part + 64u]; let k = k2; own += r.x * k; own_1 += r.y * k; }
  sums[((0u) * 32u + part) * 2u + lane % 2u] = own; sums[((0u + 1u) * 32u + part) * 2u + lane % 2u] = own_1;
  workgroupBarrier();
  for (var i = lane; i < 16u; i += 64u) {
    let e = i % 8u;
    var logit = 0.0f;
    for (var p = 0u; p < 32u; p++) { logit += sums[(i / 8u * 32u + p) * 2u + e / 4u][e % 4u]; }
    gates[i] = logit;
  }
  workgroupBarrier();
  for (var i = lane; i < 16u; i += 64u) {
    var largest = -3.402823e38f;
    for (var c = i / 8u * 8u; c < i / 8u * 8u + 8u; c++) { largest = max(largest, gates[c]); }
    powers[i] = exp(gates[i] - largest);
  }
  workgroupBarrier();
  for (var i = lane; i < 16u; i += 64u) {
    var total = 0.0f;
    for (var c = i / 8u * 8u; c < i / 8u * 8u + 8u; c++) { total += powers[c]; }
    gates[i] = powers[i] / total;
  }
  workgroupBarrier();
  for (var i = lane; i < 16u; i += 64u) {
    let gate = gates[i];
    var rank = 0u;
    for (var c = i / 8u * 8u; c < i / 8u * 8u + 8u; c++) { rank += select(0u, 1u, gates[c] > gate || (gates[c] == gate && c < i)); }
    if (rank < 2u && token + i / 8u < 395u) {
      let at = (token + i / 8u) * 2u + rank;
      weights[at] = gate;
      choices[at] = i32(i % 8u);
    }
  }
}
