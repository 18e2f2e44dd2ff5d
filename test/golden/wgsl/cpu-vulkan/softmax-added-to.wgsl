// softmax: 50 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= 400u) { return; }
  let start = row * 8u;
  var largest = -3.402823e38f;
  for (var j = 0u; j < 8u; j++) { largest = max(largest, x[start + j]); }
  var total = 0.0f;
  for (var j = 0u; j < 8u; j++) {
    let power = exp(x[start + j] - largest);
    y[start + j] = power;
    total += power;
  }
  for (var j = 0u; j < 8u; j++) { y[start + j] = y[start + j] / total; }
}

// add: 100 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x0: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= arrayLength(&result)) { return; }
  let t0 = result[i] + x0[i];
  result[i] = t0;
}
