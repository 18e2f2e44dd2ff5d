// linear, in parts: 16 x 1 x 8 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;
var<workgroup> held: array<vec4f, 400>;
@compute @workgroup_size(8, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row0 = group.y * 64u;
  let column0 = group.x * 8u;
  let resultStart = group.z * 6400u;
  let leftRow0_0 = min(row0 + lane / 4u * 4u, 49u) * 512u;
  let leftRow0_1 = min(row0 + lane / 4u * 4u + 1u, 49u) * 512u;
  let leftRow0_2 = min(row0 + lane / 4u * 4u + 2u, 49u) * 512u;
  let leftRow0_3 = min(row0 + lane / 4u * 4u + 3u, 49u) * 512u;
  var left0_0 = vec4f();
  var left0_1 = vec4f();
  var left0_2 = vec4f();
  var left0_3 = vec4f();
  let rightColumn0 = column0 + lane % 8u;
  var right0 = vec4f();
  let rightColumn1 = column0 + (lane + 64u) % 8u;
  var right1 = vec4f();
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  let begin = group.z * 64u;
  let end = min(begin + 64u, 512u);
  for (var k0 = begin; k0 < end + 4u; k0 += 4u) {
    if (k0 < end) {
      {
        let k = k0 + lane % 4u;
        left0_0 = left[leftRow0_0 + k];
        left0_1 = left[leftRow0_1 + k];
        left0_2 = left[leftRow0_2 + k];
        left0_3 = left[leftRow0_3 + k];
      }
      {
        let k = 4u * k0 + lane / 8u;
        right0 = right[k * 128u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 64u) / 8u;
        right1 = right[k * 128u + rightColumn1];
      }
    }
    if (k0 > begin) {
      let start = 0u;
      var b0 = held[start * 8u + local.x + 272u];
      var a0 = held[start * 17u + local.y];
      var a1 = held[start * 17u + local.y + 8u];
      for (var i = 1u; i < 16u; i++) {
        let k = i;
        let next_b0 = held[k * 8u + local.x + 272u];
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
      {
        held[(lane % 4u * 4u) * 17u + lane / 4u] = vec4f(left0_0.x, left0_1.x, left0_2.x, left0_3.x);
        held[(lane % 4u * 4u + 1u) * 17u + lane / 4u] = vec4f(left0_0.y, left0_1.y, left0_2.y, left0_3.y);
        held[(lane % 4u * 4u + 2u) * 17u + lane / 4u] = vec4f(left0_0.z, left0_1.z, left0_2.z, left0_3.z);
        held[(lane % 4u * 4u + 3u) * 17u + lane / 4u] = vec4f(left0_0.w, left0_1.w, left0_2.w, left0_3.w);
      }
      {
        held[lane + 272u] = right0;
      }
      {
        held[lane + 336u] = right1;
      }
    }
    workgroupBarrier();
  }
  if (row0 + 4u * local.y < 50u) {
    let m = row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s0;
    }
  }
  if (row0 + 4u * local.y + 1u < 50u) {
    let m = row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s1;
    }
  }
  if (row0 + 4u * local.y + 2u < 50u) {
    let m = row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s2;
    }
  }
  if (row0 + 4u * local.y + 3u < 50u) {
    let m = row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s3;
    }
  }
  if (row0 + 4u * (local.y + 8u) < 50u) {
    let m = row0 + 4u * (local.y + 8u);
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s4;
    }
  }
  if (row0 + 4u * (local.y + 8u) + 1u < 50u) {
    let m = row0 + 4u * (local.y + 8u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s5;
    }
  }
  if (row0 + 4u * (local.y + 8u) + 2u < 50u) {
    let m = row0 + 4u * (local.y + 8u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s6;
    }
  }
  if (row0 + 4u * (local.y + 8u) + 3u < 50u) {
    let m = row0 + 4u * (local.y + 8u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s7;
    }
  }
}

// linear + gelu: 100 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> parts: array<vec4f>;
@group(0) @binding(1) var<storage, read> bias: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<vec4f>;
fn gelu4(x: vec4f) -> vec4f {
  let bend = 0.7978845834732056f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, vec4f(-10.0f), vec4f(10.0f))));
}
fn epilogue(v: vec4f, i: u32) -> vec4f {
  let t0 = gelu4(v);
  return t0;
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 6400u) { return; }
  var s = parts[i];
  for (var part = 1u; part < 8u; part++) { s += parts[part * 6400u + i]; }
  let m = i / 128u;
  let c = i % 128u;
  result[m * 128u + c] = epilogue(s + bias[c], m * 128u + c);
}
