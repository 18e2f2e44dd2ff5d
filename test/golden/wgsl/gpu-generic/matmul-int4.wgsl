// matmul: 16 x 1 x 8 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
fn rightAt(i: u32) -> vec4f {
  let word = right[i / 2u] >> (16u * (i % 2u));
  let fields = (vec4u(word) >> vec4u(0u, 4u, 8u, 12u)) & vec4u(15u);
  return vec4f(fields) - 8.0f;
}
var<workgroup> held: array<vec4f, 520>;
@compute @workgroup_size(16, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row0 = group.y * 128u;
  let column0 = group.x * 32u;
  let leftStart = group.z * 13824u;
  let rightStart = group.z * 262144u;
  let resultStart = group.z * 55296u;
  let scalesStart = group.z * 8192u;
  let leftRow0_0 = leftStart + min(row0 + lane / 2u * 4u, 107u) * 128u;
  let leftRow0_1 = leftStart + min(row0 + lane / 2u * 4u + 1u, 107u) * 128u;
  let leftRow0_2 = leftStart + min(row0 + lane / 2u * 4u + 2u, 107u) * 128u;
  let leftRow0_3 = leftStart + min(row0 + lane / 2u * 4u + 3u, 107u) * 128u;
  var left0_0 = vec4f();
  var left0_1 = vec4f();
  var left0_2 = vec4f();
  var left0_3 = vec4f();
  let rightColumn0 = column0 + lane % 32u;
  var right0 = vec4f();
  let rightColumn1 = column0 + (lane + 128u) % 32u;
  var right1 = vec4f();
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
  var s16 = vec4f();
  var s17 = vec4f();
  var s18 = vec4f();
  var s19 = vec4f();
  var s20 = vec4f();
  var s21 = vec4f();
  var s22 = vec4f();
  var s23 = vec4f();
  var s24 = vec4f();
  var s25 = vec4f();
  var s26 = vec4f();
  var s27 = vec4f();
  var s28 = vec4f();
  var s29 = vec4f();
  var s30 = vec4f();
  var s31 = vec4f();
  const begin = 0u;
  const end = 128u;
  for (var k0 = begin; k0 < end + 2u; k0 += 2u) {
    if (k0 < end) {
      if (lane < 64u) {
        let k = k0 + lane % 2u;
        left0_0 = left[leftRow0_0 + k];
        left0_1 = left[leftRow0_1 + k];
        left0_2 = left[leftRow0_2 + k];
        left0_3 = left[leftRow0_3 + k];
      }
      {
        let k = 4u * k0 + lane / 32u;
        right0 = rightAt(rightStart + k * 512u + rightColumn0) * scales[scalesStart + (k / 32u) * 512u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 32u;
        right1 = rightAt(rightStart + k * 512u + rightColumn1) * scales[scalesStart + (k / 32u) * 512u + rightColumn1];
      }
    }
    if (k0 > begin) {
      for (var i = 0u; i < 8u; i++) {
        let k = i;
        let b0 = held[k * 32u + local.x + 264u];
        let b1 = held[k * 32u + local.x + 280u];
        let a0 = held[k * 33u + local.y];
        let a1 = held[k * 33u + local.y + 8u];
        let a2 = held[k * 33u + local.y + 16u];
        let a3 = held[k * 33u + local.y + 24u];
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
        s16 = fma(vec4f(a2.x), b0, s16);
        s17 = fma(vec4f(a2.x), b1, s17);
        s18 = fma(vec4f(a2.y), b0, s18);
        s19 = fma(vec4f(a2.y), b1, s19);
        s20 = fma(vec4f(a2.z), b0, s20);
        s21 = fma(vec4f(a2.z), b1, s21);
        s22 = fma(vec4f(a2.w), b0, s22);
        s23 = fma(vec4f(a2.w), b1, s23);
        s24 = fma(vec4f(a3.x), b0, s24);
        s25 = fma(vec4f(a3.x), b1, s25);
        s26 = fma(vec4f(a3.y), b0, s26);
        s27 = fma(vec4f(a3.y), b1, s27);
        s28 = fma(vec4f(a3.z), b0, s28);
        s29 = fma(vec4f(a3.z), b1, s29);
        s30 = fma(vec4f(a3.w), b0, s30);
        s31 = fma(vec4f(a3.w), b1, s31);
      }
    }
    workgroupBarrier();
    if (k0 < end) {
      if (lane < 64u) {
        held[(lane % 2u * 4u) * 33u + lane / 2u] = vec4f(left0_0.x, left0_1.x, left0_2.x, left0_3.x);
        held[(lane % 2u * 4u + 1u) * 33u + lane / 2u] = vec4f(left0_0.y, left0_1.y, left0_2.y, left0_3.y);
        held[(lane % 2u * 4u + 2u) * 33u + lane / 2u] = vec4f(left0_0.z, left0_1.z, left0_2.z, left0_3.z);
        held[(lane % 2u * 4u + 3u) * 33u + lane / 2u] = vec4f(left0_0.w, left0_1.w, left0_2.w, left0_3.w);
      }
      {
        held[lane + 264u] = right0;
      }
      {
        held[lane + 392u] = right1;
      }
    }
    workgroupBarrier();
  }
  if (row0 + 4u * local.y < 108u) {
    let m = row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s0;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s1;
    }
  }
  if (row0 + 4u * local.y + 1u < 108u) {
    let m = row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s2;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s3;
    }
  }
  if (row0 + 4u * local.y + 2u < 108u) {
    let m = row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s4;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s5;
    }
  }
  if (row0 + 4u * local.y + 3u < 108u) {
    let m = row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s6;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s7;
    }
  }
  if (row0 + 4u * (local.y + 8u) < 108u) {
    let m = row0 + 4u * (local.y + 8u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s8;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s9;
    }
  }
  if (row0 + 4u * (local.y + 8u) + 1u < 108u) {
    let m = row0 + 4u * (local.y + 8u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s10;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s11;
    }
  }
  if (row0 + 4u * (local.y + 8u) + 2u < 108u) {
    let m = row0 + 4u * (local.y + 8u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s12;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s13;
    }
  }
  if (row0 + 4u * (local.y + 8u) + 3u < 108u) {
    let m = row0 + 4u * (local.y + 8u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s14;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s15;
    }
  }
  if (row0 + 4u * (local.y + 16u) < 108u) {
    let m = row0 + 4u * (local.y + 16u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s16;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s17;
    }
  }
  if (row0 + 4u * (local.y + 16u) + 1u < 108u) {
    let m = row0 + 4u * (local.y + 16u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s18;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s19;
    }
  }
  if (row0 + 4u * (local.y + 16u) + 2u < 108u) {
    let m = row0 + 4u * (local.y + 16u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s20;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s21;
    }
  }
  if (row0 + 4u * (local.y + 16u) + 3u < 108u) {
    let m = row0 + 4u * (local.y + 16u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s22;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s23;
    }
  }
  if (row0 + 4u * (local.y + 24u) < 108u) {
    let m = row0 + 4u * (local.y + 24u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s24;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s25;
    }
  }
  if (row0 + 4u * (local.y + 24u) + 1u < 108u) {
    let m = row0 + 4u * (local.y + 24u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s26;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s27;
    }
  }
  if (row0 + 4u * (local.y + 24u) + 2u < 108u) {
    let m = row0 + 4u * (local.y + 24u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s28;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s29;
    }
  }
  if (row0 + 4u * (local.y + 24u) + 3u < 108u) {
    let m = row0 + 4u * (local.y + 24u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[resultStart + m * 512u + c0] = s30;
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[resultStart + m * 512u + c1] = s31;
    }
  }
}
