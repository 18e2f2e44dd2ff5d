// norm and gate: 400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> kernel: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> items: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> choices: array<i32>;
@group(0) @binding(6) var<storage, read_write> weights: array<f32>;
fn bfloat4(x: vec4f) -> vec4f {
  let bits = bitcast<vec4u>(x);
  return bitcast<vec4f>((bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u));
}
var<workgroup> partial0: array<f32, 64>;
var<workgroup> partial1: array<f32, 64>;
var<workgroup> row: array<f32, 512>;
var<workgroup> sums: array<vec4f, 64>;
var<workgroup> powers: array<f32, 8>;
var<workgroup> gates: array<f32, 8>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let token = group.x;
  let start = token * 128u;
  let x0 = x[start + lane]; let scale0 = scale[lane]; let bias0 = bias[lane];
  let x1 = x[start + lane + 64u]; let scale1 = scale[lane + 64u]; let bias1 = bias[lane + 64u];
  let k0 = kernel[lane];
  let k1 = kernel[lane + 64u];
  let k2 = kernel[lane + 128u];
  let k3 = kernel[lane + 192u];
  let k4 = kernel[lane + 256u];
  let k5 = kernel[lane + 320u];
  let k6 = kernel[lane + 384u];
  let k7 = kernel[lane + 448u];
  let k8 = kernel[lane + 512u];
  let k9 = kernel[lane + 576u];
  let k10 = kernel[lane + 640u];
  let k11 = kernel[lane + 704u];
  let k12 = kernel[lane + 768u];
  let k13 = kernel[lane + 832u];
  let k14 = kernel[lane + 896u];
  let k15 = kernel[lane + 960u];
  let sum = x0 + x1;
  var mean = sum.x + sum.y + sum.z + sum.w;
  partial0[lane] = mean;
  workgroupBarrier();
  if (lane < 8u) {
    for (var j = lane + 8u; j < 64u; j += 8u) { mean = mean + partial0[j]; }
    partial0[lane] = mean;
  }
  workgroupBarrier();
  mean = partial0[0];
  for (var j = 1u; j < 8u; j++) { mean = mean + partial0[j]; }
  mean /= 512.0f;
  let centred0 = x0 - mean;
  let centred1 = x1 - mean;
  let squares = centred0 * centred0 + centred1 * centred1;
  var variance = squares.x + squares.y + squares.z + squares.w;
  partial1[lane] = variance;
  workgroupBarrier();
  if (lane < 8u) {
    for (var j = lane + 8u; j < 64u; j += 8u) { variance = variance + partial1[j]; }
    partial1[lane] = variance;
  }
  workgroupBarrier();
  variance = partial1[0];
  for (var j = 1u; j < 8u; j++) { variance = variance + partial1[j]; }
  let factor = 1.0f / sqrt(variance / 512.0f + 9.999999974752427e-7f);
  { let n = centred0 * factor * scale0 + bias0; items[start + lane] = bfloat4(n); row[4u * (lane) + 0u] = n.x; row[4u * (lane) + 1u] = n.y; row[4u * (lane) + 2u] = n.z; row[4u * (lane) + 3u] = n.w; }
  { let n = centred1 * factor * scale1 + bias1; items[start + lane + 64u] = bfloat4(n); row[4u * (lane + 64u) + 0u] = n.x; row[4u * (lane + 64u) + 1u] = n.y; row[4u * (lane + 64u) + 2u] = n.z; row[4u * (lane + 64u) + 3u] = n.w; }
  workgroupBarrier();
  let part = lane / 2u;
  var own = vec4f();
  let d0 = part; own += row[d0] * k0;
  let d1 = part + 32u; own += row[d1] * k1;
  let d2 = part + 64u; own += row[d2] * k2;
  let d3 = part + 96u; own += row[d3] * k3;
  let d4 = part + 128u; own += row[d4] * k4;
  let d5 = part + 160u; own += row[d5] * k5;
  let d6 = part + 192u; own += row[d6] * k6;
  let d7 = part + 224u; own += row[d7] * k7;
  let d8 = part + 256u; own += row[d8] * k8;
  let d9 = part + 288u; own += row[d9] * k9;
  let d10 = part + 320u; own += row[d10] * k10;
  let d11 = part + 352u; own += row[d11] * k11;
  let d12 = part + 384u; own += row[d12] * k12;
  let d13 = part + 416u; own += row[d13] * k13;
  let d14 = part + 448u; own += row[d14] * k14;
  let d15 = part + 480u; own += row[d15] * k15;
  sums[lane] = own;
  workgroupBarrier();
  for (var e = lane; e < 8u; e += 64u) {
    var logit = 0.0f;
    for (var p = 0u; p < 32u; p++) { logit += sums[p * 2u + e / 4u][e % 4u]; }
    gates[e] = logit;
  }
  workgroupBarrier();
  var largest = -3.402823e38f;
  for (var e = 0u; e < 8u; e++) { largest = max(largest, gates[e]); }
  for (var e = lane; e < 8u; e += 64u) { powers[e] = exp(gates[e] - largest); }
  workgroupBarrier();
  var total = 0.0f;
  for (var e = 0u; e < 8u; e++) { total += powers[e]; }
  for (var e = lane; e < 8u; e += 64u) { gates[e] = powers[e] / total; }
  workgroupBarrier();
  for (var e = lane; e < 8u; e += 64u) {
    let gate = gates[e];
    var rank = 0u;
    for (var c = 0u; c < 8u; c++) { rank += select(0u, 1u, gates[c] > gate || (gates[c] == gate && c < e)); }
    if (rank < 2u) {
      weights[token * 2u + rank] = gate;
      choices[token * 2u + rank] = i32(e);
    }
  }
}
