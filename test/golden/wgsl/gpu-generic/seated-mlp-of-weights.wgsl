// seat tokens, list rows: 100 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> choices: array<i32>;
@group(0) @binding(1) var<storage, read> urgency: array<f32>;
@group(0) @binding(2) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(3) var<storage, read_write> slots: array<i32>;
@group(0) @binding(4) var<storage, read_write> sources: array<u32>;
@group(0) @binding(5) var<storage, read_write> places: array<u32>;
@group(0) @binding(6) var<storage, read_write> tiles: array<vec4u>;
var<workgroup> counts: array<atomic<u32>, 64>;
var<workgroup> own: array<u32, 8>;
var<workgroup> ahead: array<u32, 256>;
var<workgroup> chosen: array<i32, 832>;
var<workgroup> urgencies: array<f32, 416>;
fn countOf(expert: u32) -> u32 {
  var sum = 0u;
  for (var c = 0u; c < 8u; c++) { sum += atomicLoad(&counts[expert * 8u + c]); }
  return sum;
}
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  const most = 2u;
  const room = 108u;
  let base = group.y * 800u;
  let buffers = group.y * 864u;
  let one = group.x * 8u + lane / 32u;
  let part = lane % 32u;
  let i = one;
  let token = i / 2u;
  let mine = i % 2u;
  let expert = choices[base + i];
  let urgent = urgency[(group.y * 400u + token) * 2u];
  var count = 0u;
  let at0 = lane;
  let at1 = lane + 256u;
  let at2 = lane + 512u;
  let at3 = lane + 768u;
  let chosen0 = choices[base + at0];
  let chosen1 = choices[base + at1];
  let chosen2 = choices[base + at2];
  let chosen3 = select(-1, choices[base + min(at3, 799u)], at3 < 800u);
  let urgency0 = urgency[(group.y * 400u + at0) * 2u];
  let urgency1 = urgency[(group.y * 400u + min(at1, 399u)) * 2u];
  chosen[at0 % 2u * 416u + at0 / 2u] = chosen0;
  if (chosen0 >= 0 && at0 % 2u < most) { atomicAdd(&counts[u32(chosen0) * 8u + lane % 8u], 1u); }
  chosen[at1 % 2u * 416u + at1 / 2u] = chosen1;
  if (chosen1 >= 0 && at1 % 2u < most) { atomicAdd(&counts[u32(chosen1) * 8u + lane % 8u], 1u); }
  chosen[at2 % 2u * 416u + at2 / 2u] = chosen2;
  if (chosen2 >= 0 && at2 % 2u < most) { atomicAdd(&counts[u32(chosen2) * 8u + lane % 8u], 1u); }
  if (at3 < 832u) { chosen[at3 % 2u * 416u + at3 / 2u] = chosen3;
  if (chosen3 >= 0 && at3 % 2u < most) { atomicAdd(&counts[u32(chosen3) * 8u + lane % 8u], 1u); } }
  urgencies[at0] = urgency0;
  if (at1 < 416u) { urgencies[at1] = urgency1; }
  workgroupBarrier();
  for (var t = 0u; t < mine * 416u; t += 32u) { count += select(0u, 1u, chosen[t + part] == expert); }
  for (var t = 0u; t < 416u; t += 32u) {
    let there = t + part;
    let theirs = urgencies[there];
    let isFirst = theirs > urgent || (theirs == urgent && there < token);
    count += select(0u, 1u, chosen[mine * 416u + there] == expert && isFirst);
  }
  ahead[lane] = count;
  for (var e = lane; e < 8u; e += 256u) { own[e] = min(countOf(e), room); }
  workgroupBarrier();
  for (var slot = id.x; slot < 864u; slot += 25600u) {
    if (slot % 108u >= own[slot / 108u]) { tokens[buffers + slot] = -1; }
  }
  if (group.x == 0u && group.y == 0u) {
    for (var tile = lane; tile < 8u; tile += 256u) {
      var entry = vec4u();
      var row = 0u;
      var start = 0u;
      for (var e = 0u; e < 8u; e++) {
        let rows = own[e];
        let count = (rows + 127u) / 128u;
        // Before the expert's first tile the difference wraps around.
        let at = tile - start;
        if (at < count) { entry = vec4u(e, row + at * 128u, min(128u, rows - at * 128u), 0u); }
        row += rows;
        start += count;
      }
      tiles[tile] = entry;
    }
  }
  if (part > 0u || one >= 800u) { return; }
  var served = 0u;
  for (var j = 0u; j < 32u; j++) { served += ahead[lane + j]; }
  let place = select(room, served, expert >= 0 && mine < most);
  let kept = place < room;
  slots[base + i] = select(-1, expert * 108 + i32(place), kept);
  places[base + i] = 0xffffffffu;
  if (kept) {
    tokens[buffers + u32(expert) * 108u + place] = i32(token);
    var row = place;
    for (var e = 0; e < 8; e++) { row += select(0u, own[e], e < expert); }
    places[base + i] = row;
    sources[row] = group.y * 400u + token;
  }
}

// experts, first layer: 16 x 8 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> sources: array<u32>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> result: array<vec4f>;
fn gelu4(x: vec4f) -> vec4f {
  let bend = 0.7978845834732056f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, vec4f(-10.0f), vec4f(10.0f))));
}
var<workgroup> held: array<vec4f, 520>;
@compute @workgroup_size(16, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let tile = tiles[group.y];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row0 = 0u;
  let column0 = group.x * 32u;
  let rightStart = tile.x * 262144u;
  let biasStart = tile.x * 512u;
  let leftRow0_0 = (sources[first + min(row0 + lane / 2u * 4u, rows - 1u)]) * 128u;
  let leftRow0_1 = (sources[first + min(row0 + lane / 2u * 4u + 1u, rows - 1u)]) * 128u;
  let leftRow0_2 = (sources[first + min(row0 + lane / 2u * 4u + 2u, rows - 1u)]) * 128u;
  let leftRow0_3 = (sources[first + min(row0 + lane / 2u * 4u + 3u, rows - 1u)]) * 128u;
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
        right0 = right[rightStart + k * 512u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 32u;
        right1 = right[rightStart + k * 512u + rightColumn1];
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
  if (row0 + 4u * local.y < rows) {
    let m = first + row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s0 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s1 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * local.y + 1u < rows) {
    let m = first + row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s2 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s3 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * local.y + 2u < rows) {
    let m = first + row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s4 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s5 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * local.y + 3u < rows) {
    let m = first + row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s6 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s7 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 8u) < rows) {
    let m = first + row0 + 4u * (local.y + 8u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s8 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s9 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 1u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s10 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s11 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 2u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s12 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s13 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 3u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s14 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s15 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 16u) < rows) {
    let m = first + row0 + 4u * (local.y + 16u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s16 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s17 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 16u) + 1u < rows) {
    let m = first + row0 + 4u * (local.y + 16u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s18 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s19 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 16u) + 2u < rows) {
    let m = first + row0 + 4u * (local.y + 16u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s20 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s21 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 16u) + 3u < rows) {
    let m = first + row0 + 4u * (local.y + 16u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s22 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s23 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 24u) < rows) {
    let m = first + row0 + 4u * (local.y + 24u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s24 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s25 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 24u) + 1u < rows) {
    let m = first + row0 + 4u * (local.y + 24u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s26 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s27 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 24u) + 2u < rows) {
    let m = first + row0 + 4u * (local.y + 24u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s28 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s29 + bias[biasStart + c1]);
    }
  }
  if (row0 + 4u * (local.y + 24u) + 3u < rows) {
    let m = first + row0 + 4u * (local.y + 24u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s30 + bias[biasStart + c0]);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 512u) {
      result[m * 512u + c1] = gelu4(s31 + bias[biasStart + c1]);
    }
  }
}

// experts, second layer: 4 x 8 x 4 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
var<workgroup> held: array<vec4f, 520>;
@compute @workgroup_size(16, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let tile = tiles[group.y];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row0 = 0u;
  let column0 = group.x * 32u;
  let rightStart = tile.x * 262144u;
  let resultStart = group.z * 102400u;
  let biasStart = tile.x * 128u;
  let leftRow0_0 = (first + min(row0 + lane / 2u * 4u, rows - 1u)) * 512u;
  let leftRow0_1 = (first + min(row0 + lane / 2u * 4u + 1u, rows - 1u)) * 512u;
  let leftRow0_2 = (first + min(row0 + lane / 2u * 4u + 2u, rows - 1u)) * 512u;
  let leftRow0_3 = (first + min(row0 + lane / 2u * 4u + 3u, rows - 1u)) * 512u;
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
  let begin = group.z * 128u;
  let end = min(begin + 128u, 512u);
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
        right0 = right[rightStart + k * 128u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 32u;
        right1 = right[rightStart + k * 128u + rightColumn1];
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
  if (row0 + 4u * local.y < rows) {
    let m = first + row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s0 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s1 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * local.y + 1u < rows) {
    let m = first + row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s2 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s3 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * local.y + 2u < rows) {
    let m = first + row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s4 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s5 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * local.y + 3u < rows) {
    let m = first + row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s6 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s7 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 8u) < rows) {
    let m = first + row0 + 4u * (local.y + 8u);
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s8 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s9 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 1u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s10 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s11 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 2u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s12 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s13 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 3u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s14 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s15 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 16u) < rows) {
    let m = first + row0 + 4u * (local.y + 16u);
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s16 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s17 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 16u) + 1u < rows) {
    let m = first + row0 + 4u * (local.y + 16u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s18 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s19 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 16u) + 2u < rows) {
    let m = first + row0 + 4u * (local.y + 16u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s20 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s21 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 16u) + 3u < rows) {
    let m = first + row0 + 4u * (local.y + 16u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s22 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s23 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 24u) < rows) {
    let m = first + row0 + 4u * (local.y + 24u);
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s24 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s25 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 24u) + 1u < rows) {
    let m = first + row0 + 4u * (local.y + 24u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s26 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s27 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 24u) + 2u < rows) {
    let m = first + row0 + 4u * (local.y + 24u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s28 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s29 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 24u) + 3u < rows) {
    let m = first + row0 + 4u * (local.y + 24u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s30 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
    let c1 = column0 + local.x + 16u;
    if (c1 < 128u) {
      result[resultStart + m * 128u + c1] = s31 + select(vec4f(), bias[biasStart + c1], group.z == 0u);
    }
  }
}

// combine: 800 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> outputs: array<vec4f>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 51200u) { return; }
  let token = i / 128u;
  var sum = vec4f();
  var row0 = 0u; var weight0 = 0.0f; var isKept0 = false;
  {
    let choice = token * 2u + 0u;
    let row = places[choice];
    let isKept = row != 0xffffffffu;
    row0 = select(0u, row, isKept);
    weight0 = weights[choice];
    isKept0 = isKept;
  }
  var row1 = 0u; var weight1 = 0.0f; var isKept1 = false;
  {
    let choice = token * 2u + 1u;
    let row = places[choice];
    let isKept = row != 0xffffffffu;
    row1 = select(0u, row, isKept);
    weight1 = weights[choice];
    isKept1 = isKept;
  }
  let term0 = weight0 * (outputs[row0 * 128u + i % 128u] + outputs[(row0 + 800u) * 128u + i % 128u] + outputs[(row0 + 1600u) * 128u + i % 128u] + outputs[(row0 + 2400u) * 128u + i % 128u]);
  let term1 = weight1 * (outputs[row1 * 128u + i % 128u] + outputs[(row1 + 800u) * 128u + i % 128u] + outputs[(row1 + 1600u) * 128u + i % 128u] + outputs[(row1 + 2400u) * 128u + i % 128u]);
  sum += select(vec4f(), term0, isKept0);
  sum += select(vec4f(), term1, isKept1);
  result[i] = sum;
}
