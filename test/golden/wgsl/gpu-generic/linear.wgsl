// linear: 32 x 7 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
var<workgroup> held: array<vec4f, 528>;
@compute @workgroup_size(16, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row0 = group.y * 64u;
  let column0 = group.x * 16u;
  let leftRow0_0 = min(row0 + lane / 4u * 4u, 399u) * 128u;
  let leftRow0_1 = min(row0 + lane / 4u * 4u + 1u, 399u) * 128u;
  let leftRow0_2 = min(row0 + lane / 4u * 4u + 2u, 399u) * 128u;
  let leftRow0_3 = min(row0 + lane / 4u * 4u + 3u, 399u) * 128u;
  var left0_0 = vec4f();
  var left0_1 = vec4f();
  var left0_2 = vec4f();
  var left0_3 = vec4f();
  let rightColumn0 = column0 + lane % 16u;
  var right0 = vec4f();
  let rightColumn1 = column0 + (lane + 128u) % 16u;
  var right1 = vec4f();
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  const begin = 0u;
  const end = 128u;
  for (var k0 = begin; k0 < end + 4u; k0 += 4u) {
    if (k0 < end) {
      if (lane < 64u) {
        let k = k0 + lane % 4u;
        left0_0 = left[leftRow0_0 + k];
        left0_1 = left[leftRow0_1 + k];
        left0_2 = left[leftRow0_2 + k];
        left0_3 = left[leftRow0_3 + k];
      }
      {
        let k = 4u * k0 + lane / 16u;
        right0 = right[k * 512u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 16u;
        right1 = right[k * 512u + rightColumn1];
      }
    }
    if (k0 > begin) {
      let start = 0u;
      var b0 = held[start * 16u + local.x + 272u];
      var a0 = held[start * 17u + local.y];
      var a1 = held[start * 17u + local.y + 8u];
      for (var i = 1u; i < 16u; i++) {
        let k = i;
        let next_b0 = held[k * 16u + local.x + 272u];
        let next_a0 = held[k * 17u + local.y];
        let next_a1 = held[k * 17u + local.y + 8u];
        s0 = fma(vec4f(a0.x), b0, s0);
        s1 = fma(vec4f(a0.y), b0, s1);
        s2 = fma(vec4f(a0.z), b0, s2);
        s3 = fma(vec4f(a0.w), b0, s3);
        s4 = fma(vec4f(a1.x), b0, s4);
        s5 = fma(vec4f(a1.y), b0, s5);
        s6 = fma(vec4f(a1.z), b0, s6);
        s7 = fma(vec4f(a1.w), b0, s7);
        b0 = next_b0;
        a0 = next_a0;
        a1 = next_a1;
      }
      s0 = fma(vec4f(a0.x), b0, s0);
      s1 = fma(vec4f(a0.y), b0, s1);
      s2 = fma(vec4f(a0.z), b0, s2);
      s3 = fma(vec4f(a0.w), b0, s3);
      s4 = fma(vec4f(a1.x), b0, s4);
      s5 = fma(vec4f(a1.y), b0, s5);
      s6 = fma(vec4f(a1.z), b0, s6);
      s7 = fma(vec4f(a1.w), b0, s7);
    }
    workgroupBarrier();
    if (k0 < end) {
      if (lane < 64u) {
        held[(lane % 4u * 4u) * 17u + lane / 4u] = vec4f(left0_0.x, left0_1.x, left0_2.x, left0_3.x);
        held[(lane % 4u * 4u + 1u) * 17u + lane / 4u] = vec4f(left0_0.y, left0_1.y, left0_2.y, left0_3.y);
        held[(lane % 4u * 4u + 2u) * 17u + lane / 4u] = vec4f(left0_0.z, left0_1.z, left0_2.z, left0_3.z);
        held[(lane % 4u * 4u + 3u) * 17u + lane / 4u] = vec4f(left0_0.w, left0_1.w, left0_2.w, left0_3.w);
      }
      {
        held[lane + 272u] = right0;
      }
      {
        held[lane + 400u] = right1;
      }
    }
    workgroupBarrier();
  }
  if (row0 + 4u * local.y < 400u) {
    let m = row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = s0 + bias[c0];
    }
  }
  if (row0 + 4u * local.y + 1u < 400u) {
    let m = row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = s1 + bias[c0];
    }
  }
  if (row0 + 4u * local.y + 2u < 400u) {
    let m = row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = s2 + bias[c0];
    }
  }
  if (row0 + 4u * local.y + 3u < 400u) {
    let m = row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = s3 + bias[c0];
    }
  }
  if (row0 + 4u * (local.y + 8u) < 400u) {
    let m = row0 + 4u * (local.y + 8u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = s4 + bias[c0];
    }
  }
  if (row0 + 4u * (local.y + 8u) + 1u < 400u) {
    let m = row0 + 4u * (local.y + 8u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = s5 + bias[c0];
    }
  }
  if (row0 + 4u * (local.y + 8u) + 2u < 400u) {
    let m = row0 + 4u * (local.y + 8u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = s6 + bias[c0];
    }
  }
  if (row0 + 4u * (local.y + 8u) + 3u < 400u) {
    let m = row0 + 4u * (local.y + 8u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = s7 + bias[c0];
    }
  }
}
