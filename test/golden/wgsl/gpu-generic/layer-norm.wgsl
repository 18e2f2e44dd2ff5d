// layer_norm: 400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
var<workgroup> partial0: array<f32, 64>;
var<workgroup> partial1: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x;
  let start = row * 128u;
  let x0 = x[start + lane]; let scale0 = scale[lane]; let bias0 = bias[lane];
  let x1 = x[start + lane + 64u]; let scale1 = scale[lane + 64u]; let bias1 = bias[lane + 64u];
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
  { result[start + lane] = centred0 * factor * scale0 + bias0; }
  { result[start + lane + 64u] = centred1 * factor * scale1 + bias1; }
}
