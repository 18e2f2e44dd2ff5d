// linear + gelu: 32 x 7 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
fn gelu4(x: vec4f) -> vec4f {
  let bend = 0.7978845834732056f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, vec4f(-10.0f), vec4f(10.0f))));
}
fn epilogue(v: vec4f, i: u32) -> vec4f {
  let t0 = gelu4(v);
  return t0;
}
var<workgroup> held: array<vec4f, 528>;
@compute @workgroup_size(8, 8)
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
  let rightColumn1 = column0 + (lane + 64u) % 16u;
  var right1 = vec4f();
  let rightColumn2 = column0 + (lane + 128u) % 16u;
  var right2 = vec4f();
  let rightColumn3 = column0 + (lane + 192u) % 16u;
  var right3 = vec4f();
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  var s8 = vec4f();
  var s9 = vec4f();
  var s10 = vec4f();
  var s11 = vec4f();
  var s12 = vec4f();
  var s13 = vec4f();
  var s14 = vec4f();
  var s15 = vec4f();
  const begin = 0u;
  const end = 128u;
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
        let k = 4u * k0 + lane / 16u;
        right0 = right[k * 512u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 64u) / 16u;
        right1 = right[k * 512u + rightColumn1];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 16u;
        right2 = right[k * 512u + rightColumn2];
      }
      {
        let k = 4u * k0 + (lane + 192u) / 16u;
        right3 = right[k * 512u + rightColumn3];
      }
    }
    if (k0 > begin) {
      for (var i = 0u; i < 16u; i++) {
        let k = i;
        let b0 = held[k * 16u + local.x + 272u];
        let b1 = held[k * 16u + local.x + 280u];
        let a0 = held[k * 17u + local.y];
        let a1 = held[k * 17u + local.y + 8u];
        s0 = fma(vec4f(a0.x), b0, s0);
        s1 = fma(vec4f(a0.x), b1, s1);
        s2 = fma(vec4f(a0.y), b0, s2);
        s3 = fma(vec4f(a0.y), b1, s3);
        s4 = fma(vec4f(a0.z), b0, s4);
        s5 = fma(vec4f(a0.z), b1, s5);
        s6 = fma(vec4f(a0.w), b0, s6);
        s7 = fma(vec4f(a0.w), b1, s7);
        s8 = fma(vec4f(a1.x), b0, s8);
        s9 = fma(vec4f(a1.x), b1, s9);
        s10 = fma(vec4f(a1.y), b0, s10);
        s11 = fma(vec4f(a1.y), b1, s11);
        s12 = fma(vec4f(a1.z), b0, s12);
        s13 = fma(vec4f(a1.z), b1, s13);
        s14 = fma(vec4f(a1.w), b0, s14);
        s15 = fma(vec4f(a1.w), b1, s15);
      }
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
      {
        held[lane + 400u] = right2;
      }
      {
        held[lane + 464u] = right3;
      }
    }
    workgroupBarrier();
  }
  if (row0 + 4u * local.y < 400u) {
    let m = row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = epilogue(s0 + bias[c0], m * 512u + c0);
    }
    let c1 = column0 + local.x + 8u;
    if (c1 < 512u) {
      result[m * 512u + c1] = epilogue(s1 + bias[c1], m * 512u + c1);
    }
  }
  if (row0 + 4u * local.y + 1u < 400u) {
    let m = row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = epilogue(s2 + bias[c0], m * 512u + c0);
    }
    let c1 = column0 + local.x + 8u;
    if (c1 < 512u) {
      result[m * 512u + c1] = epilogue(s3 + bias[c1], m * 512u + c1);
    }
  }
  if (row0 + 4u * local.y + 2u < 400u) {
    let m = row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = epilogue(s4 + bias[c0], m * 512u + c0);
    }
    let c1 = column0 + local.x + 8u;
    if (c1 < 512u) {
      result[m * 512u + c1] = epilogue(s5 + bias[c1], m * 512u + c1);
    }
  }
  if (row0 + 4u * local.y + 3u < 400u) {
    let m = row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = epilogue(s6 + bias[c0], m * 512u + c0);
    }
    let c1 = column0 + local.x + 8u;
    if (c1 < 512u) {
      result[m * 512u + c1] = epilogue(s7 + bias[c1], m * 512u + c1);
    }
  }
  if (row0 + 4u * (local.y + 8u) < 400u) {
    let m = row0 + 4u * (local.y + 8u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = epilogue(s8 + bias[c0], m * 512u + c0);
    }
    let c1 = column0 + local.x + 8u;
    if (c1 < 512u) {
      result[m * 512u + c1] = epilogue(s9 + bias[c1], m * 512u + c1);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 1u < 400u) {
    let m = row0 + 4u * (local.y + 8u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = epilogue(s10 + bias[c0], m * 512u + c0);
    }
    let c1 = column0 + local.x + 8u;
    if (c1 < 512u) {
      result[m * 512u + c1] = epilogue(s11 + bias[c1], m * 512u + c1);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 2u < 400u) {
    let m = row0 + 4u * (local.y + 8u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = epilogue(s12 + bias[c0], m * 512u + c0);
    }
    let c1 = column0 + local.x + 8u;
    if (c1 < 512u) {
      result[m * 512u + c1] = epilogue(s13 + bias[c1], m * 512u + c1);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 3u < 400u) {
    let m = row0 + 4u * (local.y + 8u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = epilogue(s14 + bias[c0], m * 512u + c0);
    }
    let c1 = column0 + local.x + 8u;
    if (c1 < 512u) {
      result[m * 512u + c1] = epilogue(s15 + bias[c1], m * 512u + c1);
    }
  }
}
