// norm_and_logits + softmax + add + top_k + take: 200 x 1 x 1 workgroups
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
var<workgroup> partial0: array<vec2f, 128>;
var<workgroup> partial1: array<vec2f, 128>;
var<workgroup> row: array<vec2f, 512>;
var<workgroup> sums: array<vec4f, 256>;
var<workgroup> gates: array<f32, 16>;
var<private> rowAt: u32;
var<private> r0: array<f32, 8>;
var<private> r1: array<f32, 8>;
var<private> r2: array<f32, 8>;
var<private> r3: array<f32, 2>;
var<private> r4: array<i32, 2>;
var<private> r5: array<f32, 2>;
@compute @workgroup_size(128)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let team = group.x;
  let token = team * 2u;
  let start = token * 128u; let start_1 = (token + 1u) * 128u;
  let x0 = x[start + lane]; let x0_1 = x[start_1 + lane]; let scale0 = scale[lane]; let bias0 = bias[lane];
  let k0 = kernel[lane];
  let k1 = kernel[lane + 128u];
  let k2 = kernel[lane + 256u];
  let k3 = kernel[lane + 384u];
  let k4 = kernel[lane + 512u];
  let k5 = kernel[lane + 640u];
  let k6 = kernel[lane + 768u];
  let k7 = kernel[lane + 896u];
  let sum = x0;
  let sum_1 = x0_1;
  var mean = vec2f(sum.x + sum.y + sum.z + sum.w, sum_1.x + sum_1.y + sum_1.z + sum_1.w);
  partial0[lane] = mean;
  workgroupBarrier();
  if (lane < 16u) {
    for (var j = lane + 16u; j < 128u; j += 16u) { mean = mean + partial0[j]; }
    partial0[lane] = mean;
  }
  workgroupBarrier();
  mean = partial0[0];
  for (var j = 1u; j < 16u; j++) { mean = mean + partial0[j]; }
  mean /= 512.0f;
  let centred0 = x0 - mean.x;
  let centred0_1 = x0_1 - mean.y;
  let squares = centred0 * centred0;
  let squares_1 = centred0_1 * centred0_1;
  var variance = vec2f(squares.x + squares.y + squares.z + squares.w, squares_1.x + squares_1.y + squares_1.z + squares_1.w);
  partial1[lane] = variance;
  workgroupBarrier();
  if (lane < 16u) {
    for (var j = lane + 16u; j < 128u; j += 16u) { variance = variance + partial1[j]; }
    partial1[lane] = variance;
  }
  workgroupBarrier();
  variance = partial1[0];
  for (var j = 1u; j < 16u; j++) { variance = variance + partial1[j]; }
  let factor = 1.0f / sqrt(variance / 512.0f + 9.999999974752427e-7f);
  { let n = centred0 * factor.x * scale0 + bias0; let n_1 = centred0_1 * factor.y * scale0 + bias0; items[start + lane] = bfloat4(n); items[start_1 + lane] = bfloat4(n_1); row[4u * (lane) + 0u] = vec2f(n.x, n_1.x); row[4u * (lane) + 1u] = vec2f(n.y, n_1.y); row[4u * (lane) + 2u] = vec2f(n.z, n_1.z); row[4u * (lane) + 3u] = vec2f(n.w, n_1.w); }
  workgroupBarrier();
  let part = lane / 2u;
  var own = vec4f(); var own_1 = vec4f();
  { let r = row[part]; let k = k0; own += r.x * k; own_1 += r.y * k; }
  { let r = row[part + 64u]; let k = k1; own += r.x * k; own_1 += r.y * k; }
  { let r = row[part + 128u]; let k = k2; own += r.x * k; own_1 += r.y * k; }
  { let r = row[part + 192u]; let k = k3; own += r.x * k; own_1 += r.y * k; }
  { let r = row[part + 256u]; let k = k4; own += r.x * k; own_1 += r.y * k; }
  { let r = row[part + 320u]; let k = k5; own += r.x * k; own_1 += r.y * k; }
  { let r = row[part + 384u]; let k = k6; own += r.x * k; own_1 += r.y * k; }
  { let r = row[part + 448u]; let k = k7; own += r.x * k; own_1 += r.y * k; }
  sums[((0u) * 64u + part) * 2u + lane % 2u] = own; sums[((0u + 1u) * 64u + part) * 2u + lane % 2u] = own_1;
  workgroupBarrier();
  for (var i = lane; i < 16u; i += 128u) {
    let e = i % 8u;
    var logit = 0.0f;
    for (var p = 0u; p < 64u; p++) { logit += sums[(i / 8u * 64u + p) * 2u + e / 4u][e % 4u]; }
    gates[i] = logit;
  }
  workgroupBarrier();
  if (lane < 2u) {
    for (var e = 0u; e < 8u; e++) { r0[e] = gates[lane * 8u + e]; }
    rowAt = token + lane;
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
}
