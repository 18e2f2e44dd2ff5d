// softmax: 400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<workgroup> partial0: array<f32, 64>;
var<workgroup> partial1: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x;
  let start = row * 8u;
  var largest = -3.402823e38f;
  for (var j = lane; j < 8u; j += 64u) { largest = max(largest, x[start + j]); }
  partial0[lane] = largest;
  workgroupBarrier();
  if (lane < 8u) {
    for (var j = lane + 8u; j < 64u; j += 8u) { largest = max(largest, partial0[j]); }
    partial0[lane] = largest;
  }
  workgroupBarrier();
  largest = partial0[0];
  for (var j = 1u; j < 8u; j++) { largest = max(largest, partial0[j]); }
  var total = 0.0f;
  for (var j = lane; j < 8u; j += 64u) {
    let power = exp(x[start + j] - largest);
    y[start + j] = power;
    total += power;
  }
  partial1[lane] = total;
  workgroupBarrier();
  if (lane < 8u) {
    for (var j = lane + 8u; j < 64u; j += 8u) { total = total + partial1[j]; }
    partial1[lane] = total;
  }
  workgroupBarrier();
  total = partial1[0];
  for (var j = 1u; j < 8u; j++) { total = total + partial1[j]; }
  for (var j = lane; j < 8u; j += 64u) { y[start + j] = y[start + j] / total; }
}
