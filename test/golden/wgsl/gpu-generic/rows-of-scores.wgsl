// softmax + add + top_k + take: 7 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> given0: array<f32>;
@group(0) @binding(1) var<storage, read> given1: array<f32>;
@group(0) @binding(2) var<storage, read_write> y0: array<f32>;
var<private> rowAt: u32;
var<private> r0: array<f32, 8>;
var<private> r1: array<f32, 8>;
var<private> r2: array<f32, 8>;
var<private> r3: array<f32, 2>;
var<private> r4: array<i32, 2>;
var<private> r5: array<f32, 2>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 400u) { return; }
  rowAt = i;
  for (var j = 0u; j < 8u; j++) {
    let i = rowAt * 8u + j;
    r0[j] = given0[i];
  }
  {
    var largest = -3.402823e38f;
    for (var j = 0u; j < 8u; j++) { largest = max(largest, r0[j]); }
    var total = 0.0f;
    for (var j = 0u; j < 8u; j++) {
      let power = exp(r0[j] - largest);
      r1[j] = power;
      total += power;
    }
    for (var j = 0u; j < 8u; j++) { r1[j] = r1[j] / total; }
  }
  for (var j = 0u; j < 8u; j++) {
    let i = rowAt * 8u + j;
    let i0 = i % 8u;
    let t1 = r1[i - rowAt * 8u] + given1[i0];
    r2[j] = t1;
  }
  {
    var last = 0u;
    for (var rank = 0u; rank < 2u; rank++) {
      var best = 8u;
      for (var j = 0u; j < 8u; j++) {
        let isLeft = rank == 0u || r2[j] < r2[last] || (r2[j] == r2[last] && j > last);
        if (isLeft && (best == 8u || r2[j] > r2[best])) { best = j; }
      }
      // Beside entries that are no numbers there may be none.
      last = min(best, 7u);
      r3[rank] = r2[last];
      r4[rank] = i32(last);
    }
  }
  {
    for (var j = 0u; j < 2u; j++) {
      let at = r4[j];
      r5[j] = f32();
      if (at >= 0) { r5[j] = r1[u32(at)]; }
    }
  }
  for (var j = 0u; j < 2u; j++) {
    y0[rowAt * 2u + j] = r5[j];
  }
}
