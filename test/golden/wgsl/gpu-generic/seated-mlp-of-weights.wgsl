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
    for (var tile = lane; tile < 16u; tile += 256u) {
      var entry = vec4u();
      var row = 0u;
      var start = 0u;
      for (var e = 0u; e < 8u; e++) {
        let rows = own[e];
        let count = (rows + 63u) / 64u;
        // Before the expert's first tile the difference wraps around.
        let at = tile - start;
        if (at < count) { entry = vec4u(e, row + at * 64u, min(64u, rows - at * 64u), 0u); }
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

// experts, first layer: 32 x 16 x 1 workgroups
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
var<workgroup> held: array<vec4f, 528>;
@compute @workgroup_size(16, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let tile = tiles[group.y];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row0 = 0u;
  let column0 = group.x * 16u;
  let rightStart = tile.x * 262144u;
  let biasStart = tile.x * 512u;
  let leftRow0_0 = (sources[first + min(row0 + lane / 4u * 4u, rows - 1u)]) * 128u;
  let leftRow0_1 = (sources[first + min(row0 + lane / 4u * 4u + 1u, rows - 1u)]) * 128u;
  let leftRow0_2 = (sources[first + min(row0 + lane / 4u * 4u + 2u, rows - 1u)]) * 128u;
  let leftRow0_3 = (sources[first + min(row0 + lane / 4u * 4u + 3u, rows - 1u)]) * 128u;
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
        right0 = right[rightStart + k * 512u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 16u;
        right1 = right[rightStart + k * 512u + rightColumn1];
      }
    }
    if (k0 > begin) {
      if (rows > 32u) {
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
      } else {
        let start = 0u;
        var b0 = held[start * 16u + local.x + 272u];
        var a0 = held[start * 17u + local.y];
        for (var i = 1u; i < 16u; i++) {
          let k = i;
          let next_b0 = held[k * 16u + local.x + 272u];
          let next_a0 = held[k * 17u + local.y];
          s0 = fma(vec4f(a0.x), b0, s0);
          s1 = fma(vec4f(a0.y), b0, s1);
          s2 = fma(vec4f(a0.z), b0, s2);
          s3 = fma(vec4f(a0.w), b0, s3);
          b0 = next_b0;
          a0 = next_a0;
        }
        s0 = fma(vec4f(a0.x), b0, s0);
        s1 = fma(vec4f(a0.y), b0, s1);
        s2 = fma(vec4f(a0.z), b0, s2);
        s3 = fma(vec4f(a0.w), b0, s3);
      }
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
  if (row0 + 4u * local.y < rows) {
    let m = first + row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s0 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * local.y + 1u < rows) {
    let m = first + row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s1 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * local.y + 2u < rows) {
    let m = first + row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s2 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * local.y + 3u < rows) {
    let m = first + row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s3 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * (local.y + 8u) < rows) {
    let m = first + row0 + 4u * (local.y + 8u);
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s4 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 1u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s5 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 2u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s6 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 3u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s7 + bias[biasStart + c0]);
    }
  }
}

// experts, second layer: 8 x 16 x 4 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
var<workgroup> held: array<vec4f, 528>;
@compute @workgroup_size(16, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let tile = tiles[group.y];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row0 = 0u;
  let column0 = group.x * 16u;
  let rightStart = tile.x * 262144u;
  let resultStart = group.z * 102400u;
  let biasStart = tile.x * 128u;
  let leftRow0_0 = (first + min(row0 + lane / 4u * 4u, rows - 1u)) * 512u;
  let leftRow0_1 = (first + min(row0 + lane / 4u * 4u + 1u, rows - 1u)) * 512u;
  let leftRow0_2 = (first + min(row0 + lane / 4u * 4u + 2u, rows - 1u)) * 512u;
  let leftRow0_3 = (first + min(row0 + lane / 4u * 4u + 3u, rows - 1u)) * 512u;
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
  let begin = group.z * 128u;
  let end = min(begin + 128u, 512u);
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
        right0 = right[rightStart + k * 128u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 16u;
        right1 = right[rightStart + k * 128u + rightColumn1];
      }
    }
    if (k0 > begin) {
      if (rows > 32u) {
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
      } else {
        let start = 0u;
        var b0 = held[start * 16u + local.x + 272u];
        var a0 = held[start * 17u + local.y];
        for (var i = 1u; i < 16u; i++) {
          let k = i;
          let next_b0 = held[k * 16u + local.x + 272u];
          let next_a0 = held[k * 17u + local.y];
          s0 = fma(vec4f(a0.x), b0, s0);
          s1 = fma(vec4f(a0.y), b0, s1);
          s2 = fma(vec4f(a0.z), b0, s2);
          s3 = fma(vec4f(a0.w), b0, s3);
          b0 = next_b0;
          a0 = next_a0;
        }
        s0 = fma(vec4f(a0.x), b0, s0);
        s1 = fma(vec4f(a0.y), b0, s1);
        s2 = fma(vec4f(a0.z), b0, s2);
        s3 = fma(vec4f(a0.w), b0, s3);
      }
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
  if (row0 + 4u * local.y < rows) {
    let m = first + row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s0 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
  }
  if (row0 + 4u * local.y + 1u < rows) {
    let m = first + row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s1 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
  }
  if (row0 + 4u * local.y + 2u < rows) {
    let m = first + row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s2 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
  }
  if (row0 + 4u * local.y + 3u < rows) {
    let m = first + row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s3 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 8u) < rows) {
    let m = first + row0 + 4u * (local.y + 8u);
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s4 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 1u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s5 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 2u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s6 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
    }
  }
  if (row0 + 4u * (local.y + 8u) + 3u < rows) {
    let m = first + row0 + 4u * (local.y + 8u) + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[resultStart + m * 128u + c0] = s7 + select(vec4f(), bias[biasStart + c0], group.z == 0u);
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
