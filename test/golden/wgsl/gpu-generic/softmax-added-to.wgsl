// softmax: 400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<workgroup> partial: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x;
  let start = row * 8u;
  var largest = -3.402823e38f;
  for (var j = lane; j < 8u; j += 64u) { largest = max(largest, x[start + j]); }
  partial[lane] = largest;
  workgroupBarrier();
  for (var step = 32u; step > 0u; step /= 2u) {
    if (lane < step) { partial[lane] = max(partial[lane], partial[lane + step]); }
    workgroupBarrier();
  }
  largest = partial[0];
  workgroupBarrier();
  var total = 0.0f;
  for (var j = lane; j < 8u; j += 64u) {
    let power = exp(x[start + j] - largest);
    y[start + j] = power;
    total += power;
  }
  partial[lane] = total;
  workgroupBarrier();
  for (var step = 32u; step > 0u; step /= 2u) {
    if (lane < step) { partial[lane] = partial[lane] + partial[lane + step]; }
    workgroupBarrier();
  }
  total = partial[0];
  workgroupBarrier();
  for (var j = lane; j < 8u; j += 64u) { y[start + j] = y[start + j] / total; }
}

// add: 13 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x0: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= arrayLength(&result)) { return; }
  let t0 = result[i] + x0[i];
  result[i] = t0;
}
