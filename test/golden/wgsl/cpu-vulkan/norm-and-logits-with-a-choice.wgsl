// norm_and_logits + softmax + add + top_k + take: 50 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> kernel: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> items: array<vec4f>;
@group(0) @binding(5) var<storage, read> given0: array<f32>;
@group(0) @binding(6) var<storage, read_write> y0: array<f32>;
fn bfloat4(x: vec4f) -> vec4f {
  let bits = bitcast<vec4u>(x);
  return bitcast<vec4f>((bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u));
}
var<private> rowAt: u32;
var<private> r0: array<f32, 8>;
var<private> r1: array<f32, 8>;
var<private> r2: array<f32, 8>;
var<private> r3: array<f32, 2>;
var<private> r4: array<i32, 2>;
var<private> r5: array<f32, 2>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 400u) { return; }
  let start = i * 128u;
  var mean = 0.0f;
  for (var d = 0u; d < 128u; d++) { let v = x[start + d]; mean += v.x; mean += v.y; mean += v.z; mean += v.w; }
  mean /= 512.0f;
  var variance = 0.0f;
  for (var d = 0u; d < 128u; d++) { let v = x[start + d] - mean; variance += v.x * v.x; variance += v.y * v.y; variance += v.z * v.z; variance += v.w * v.w; }
  let factor = 1.0f / sqrt(variance / 512.0f + 9.999999974752427e-7f);
  for (var first = 0u; first < 2u; first += 2u) {
    var s0 = vec4f(); var s1 = vec4f();
    for (var d = 0u; d < 128u; d++) {
      let n = (x[start + d] - mean) * factor * scale[d] + bias[d];
      if (first == 0u) { items[start + d] = bfloat4(n); }
      let at = d * 8u + first;
      s0 += n.x * kernel[at + 0u]; s0 += n.y * kernel[at + 2u]; s0 += n.z * kernel[at + 4u]; s0 += n.w * kernel[at + 6u];
      s1 += n.x * kernel[at + 1u]; s1 += n.y * kernel[at + 3u]; s1 += n.z * kernel[at + 5u]; s1 += n.w * kernel[at + 7u];
    }
    r0[4u * (first + 0u) + 0u] = s0.x; r0[4u * (first + 0u) + 1u] = s0.y; r0[4u * (first + 0u) + 2u] = s0.z; r0[4u * (first + 0u) + 3u] = s0.w;
    r0[4u * (first + 1u) + 0u] = s1.x; r0[4u * (first + 1u) + 1u] = s1.y; r0[4u * (first + 1u) + 2u] = s1.z; r0[4u * (first + 1u) + 3u] = s1.w;
  }
  rowAt = i;
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
    let t1 = r1[i - rowAt * 8u] + given0[i0];
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
