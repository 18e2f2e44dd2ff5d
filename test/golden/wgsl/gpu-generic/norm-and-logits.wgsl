// norm and logits: 395 x 1 x 1 workgroups
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
var<workgroup> partial0: array<f32, 60>;
var<workgroup> partial1: array<f32, 60>;
var<workgroup> row: array<f32, 70>;
var<workgroup> sums: array<f32, 60>;
@compute @workgroup_size(60)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let token = group.x;
  let start = token * 70u;
  let x0 = x[start + lane]; let scale0 = scale[lane]; let bias0 = bias[lane];
  var x1 = f32(); var scale1 = f32(); var bias1 = f32();
  if (lane < 10u) { x1 = x[start + lane + 60u]; scale1 = scale[lane + 60u]; bias1 = bias[lane + 60u]; }
  let k0 = kernel[lane];
  let k1 = kernel[lane + 60u];
  let k2 = kernel[lane + 120u];
  let k3 = kernel[lane + 180u];
  let k4 = kernel[lane + 240u];
  let k5 = kernel[lane + 300u];
  let k6 = kernel[lane + 360u];
  let sum = x0 + x1;
  var mean = sum;
  partial0[lane] = mean;
  workgroupBarrier();
  if (lane < 8u) {
    for (var j = lane + 8u; j < 60u; j += 8u) { mean = mean + partial0[j]; }
    partial0[lane] = mean;
  }
  workgroupBarrier();
  mean = partial0[0];
  for (var j = 1u; j < 8u; j++) { mean = mean + partial0[j]; }
  mean /= 70.0f;
  let centred0 = x0 - mean;
  let centred1 = select(f32(), x1 - mean, lane < 10u);
  let squares = centred0 * centred0 + centred1 * centred1;
  var variance = squares;
  partial1[lane] = variance;
  workgroupBarrier();
  if (lane < 8u) {
    for (var j = lane + 8u; j < 60u; j += 8u) { variance = variance + partial1[j]; }
    partial1[lane] = variance;
  }
  workgroupBarrier();
  variance = partial1[0];
  for (var j = 1u; j < 8u; j++) { variance = variance + partial1[j]; }
  let factor = 1.0f / sqrt(variance / 70.0f + 9.999999974752427e-7f);
  { let n = centred0 * factor * scale0 + bias0; items[start + lane] = bfloat(n); row[lane] = n; }
  if (lane < 10u) { let n = centred1 * factor * scale1 + bias1; items[start + lane + 60u] = bfloat(n); row[lane + 60u] = n; }
  workgroupBarrier();
  let part = lane / 6u;
  var own = f32();
  own += row[part] * k0;
  own += row[part + 10u] * k1;
  own += row[part + 20u] * k2;
  own += row[part + 30u] * k3;
  own += row[part + 40u] * k4;
  own += row[part + 50u] * k5;
  own += row[part + 60u] * k6;
  sums[(part) * 6u + lane % 6u] = own;
  workgroupBarrier();
  for (var i = lane; i < 6u; i += 60u) {
    let e = i;
    var logit = 0.0f;
    for (var p = 0u; p < 10u; p++) { logit += sums[p * 6u + e]; }
    logits[token * 6u + i] = logit;
  }
}
