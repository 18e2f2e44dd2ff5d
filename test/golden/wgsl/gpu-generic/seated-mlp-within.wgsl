// seat tokens, list rows: 50 x 4 x 1 workgroups
@group(0) @binding(0) var<storage, read> choices: array<i32>;
@group(0) @binding(1) var<storage, read> urgency: array<f32>;
@group(0) @binding(2) var<storage, read> limits: array<i32>;
@group(0) @binding(3) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(4) var<storage, read_write> slots: array<i32>;
@group(0) @binding(5) var<storage, read_write> sources: array<u32>;
@group(0) @binding(6) var<storage, read_write> places: array<u32>;
@group(0) @binding(7) var<storage, read_write> tiles: array<vec4u>;
var<workgroup> counts: array<atomic<u32>, 900>;
var<workgroup> own: array<u32, 300>;
var<workgroup> total: array<u32, 300>;
var<workgroup> first: array<u32, 300>;
var<workgroup> ahead: array<u32, 256>;
var<workgroup> chosen: array<i32, 448>;
var<workgroup> urgencies: array<f32, 224>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let most = u32(clamp(limits[0], 0, 2));
  let room = u32(clamp(limits[1], 0, 8));
  let base = group.y * 394u;
  let buffers = group.y * 2400u;
  let one = group.x * 8u + lane / 32u;
  let part = lane % 32u;
  let i = min(one, 393u);
  let token = i / 2u;
  let mine = i % 2u;
  let expert = choices[base + i];
  let urgent = urgency[(group.y * 197u + token) * 2u];
  var count = 0u;
  let at0 = lane;
  let at1 = lane + 256u;
  let chosen0 = choices[base + at0];
  let chosen1 = select(-1, choices[base + min(at1, 393u)], at1 < 394u);
  let urgency0 = urgency[(group.y * 197u + min(at0, 196u)) * 2u];
  chosen[at0 % 2u * 224u + at0 / 2u] = chosen0;
  if (at1 < 448u) { chosen[at1 % 2u * 224u + at1 / 2u] = chosen1; }
  if (at0 < 224u) { urgencies[at0] = urgency0; }
  workgroupBarrier();
  for (var t = 0u; t < mine * 224u; t += 32u) { count += select(0u, 1u, chosen[t + part] == expert); }
  for (var t = 0u; t < 224u; t += 32u) {
    let there = t + part;
    let theirs = urgencies[there];
    let isFirst = select((there < token), theirs > urgent || (theirs == urgent && there < token), limits[2] == 1);
    count += select(0u, 1u, chosen[mine * 224u + there] == expert && isFirst);
  }
  ahead[lane] = count;
  for (var g0 = 0u; g0 < 4u; g0 += 3u) {
    let begin = g0 * 394u;
    let groups = min(3u, 4u - g0);
  for (var i = lane; i < groups * 394u; i += 1280u) {
  let at0 = i;
  let at1 = i + 256u;
  let at2 = i + 512u;
  let at3 = i + 768u;
  let at4 = i + 1024u;
  let chosen0 = choices[min(begin + at0, 1575u)];
  let chosen1 = choices[min(begin + at1, 1575u)];
  let chosen2 = choices[min(begin + at2, 1575u)];
  let chosen3 = choices[min(begin + at3, 1575u)];
  let chosen4 = choices[min(begin + at4, 1575u)];
  if (at0 < groups * 394u) { if (chosen0 >= 0 && at0 % 2u < most) { atomicAdd(&counts[at0 / 394u * 300u + u32(chosen0)], 1u); } }
  if (at1 < groups * 394u) { if (chosen1 >= 0 && at1 % 2u < most) { atomicAdd(&counts[at1 / 394u * 300u + u32(chosen1)], 1u); } }
  if (at2 < groups * 394u) { if (chosen2 >= 0 && at2 % 2u < most) { atomicAdd(&counts[at2 / 394u * 300u + u32(chosen2)], 1u); } }
  if (at3 < groups * 394u) { if (chosen3 >= 0 && at3 % 2u < most) { atomicAdd(&counts[at3 / 394u * 300u + u32(chosen3)], 1u); } }
  if (at4 < groups * 394u) { if (chosen4 >= 0 && at4 % 2u < most) { atomicAdd(&counts[at4 / 394u * 300u + u32(chosen4)], 1u); } }
  }
  workgroupBarrier();
  for (var e = lane; e < 300u; e += 256u) {
    for (var g = 0u; g < groups; g++) {
      let count = min(atomicLoad(&counts[g * 300u + e]), room);
      total[e] += count;
      if (g0 + g < group.y) { first[e] += count; }
      if (g0 + g == group.y) { own[e] = count; }
    }
  }
  workgroupBarrier();
    for (var c = lane; c < 900u; c += 256u) { atomicStore(&counts[c], 0u); }
    workgroupBarrier();
  }
  for (var slot = id.x; slot < 2400u; slot += 12800u) {
    if (slot % 8u >= own[slot / 8u]) { tokens[buffers + slot] = -1; }
  }
  if (group.x == 0u && group.y == 0u) {
    for (var tile = lane; tile < 398u; tile += 256u) {
      var entry = vec4u();
      var row = 0u;
      var start = 0u;
      for (var e = 0u; e < 300u; e++) {
        let rows = total[e];
        let count = (rows + 15u) / 16u;
        // Before the expert's first tile the difference wraps around.
        let at = tile - start;
        if (at < count) { entry = vec4u(e, row + at * 16u, min(16u, rows - at * 16u), 0u); }
        row += rows;
        start += count;
      }
      tiles[tile] = entry;
    }
  }
  if (part > 0u || one >= 394u) { return; }
  var served = 0u;
  for (var j = 0u; j < 32u; j++) { served += ahead[lane + j]; }
  let place = select(room, served, expert >= 0 && mine < most);
  let kept = place < room;
  slots[base + i] = select(-1, expert * 8 + i32(place), kept);
  places[base + i] = 0xffffffffu;
  if (kept) {
    tokens[buffers + u32(expert) * 8u + place] = i32(token);
    var row = first[expert] + place;
    for (var e = 0; e < 300; e++) { row += select(0u, total[e], e < expert); }
    places[base + i] = row;
    sources[row] = group.y * 197u + token;
  }
}

// experts, first layer: 3 x 398 x 1 workgroups
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
var<workgroup> held: array<vec4f, 416>;
@compute @workgroup_size(8, 4)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let tile = tiles[group.y];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row0 = 0u;
  let column0 = group.x * 8u;
  let rightStart = tile.x * 9216u;
  let biasStart = tile.x * 24u;
  let leftRow0_0 = (sources[first + min(row0 + lane / 8u * 4u, rows - 1u)]) * 96u;
  let leftRow0_1 = (sources[first + min(row0 + lane / 8u * 4u + 1u, rows - 1u)]) * 96u;
  let leftRow0_2 = (sources[first + min(row0 + lane / 8u * 4u + 2u, rows - 1u)]) * 96u;
  let leftRow0_3 = (sources[first + min(row0 + lane / 8u * 4u + 3u, rows - 1u)]) * 96u;
  var left0_0 = vec4f();
  var left0_1 = vec4f();
  var left0_2 = vec4f();
  var left0_3 = vec4f();
  let rightColumn0 = column0 + lane % 8u;
  var right0 = vec4f();
  let rightColumn1 = column0 + (lane + 32u) % 8u;
  var right1 = vec4f();
  let rightColumn2 = column0 + (lane + 64u) % 8u;
  var right2 = vec4f();
  let rightColumn3 = column0 + (lane + 96u) % 8u;
  var right3 = vec4f();
  let rightColumn4 = column0 + (lane + 128u) % 8u;
  var right4 = vec4f();
  let rightColumn5 = column0 + (lane + 160u) % 8u;
  var right5 = vec4f();
  let rightColumn6 = column0 + (lane + 192u) % 8u;
  var right6 = vec4f();
  let rightColumn7 = column0 + (lane + 224u) % 8u;
  var right7 = vec4f();
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  const begin = 0u;
  const end = 96u;
  for (var k0 = begin; k0 < end + 8u; k0 += 8u) {
    if (k0 < end) {
      {
        let k = k0 + lane % 8u;
        left0_0 = left[leftRow0_0 + k];
        left0_1 = left[leftRow0_1 + k];
        left0_2 = left[leftRow0_2 + k];
        left0_3 = left[leftRow0_3 + k];
      }
      {
        let k = 4u * k0 + lane / 8u;
        right0 = right[rightStart + k * 24u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 32u) / 8u;
        right1 = right[rightStart + k * 24u + rightColumn1];
      }
      {
        let k = 4u * k0 + (lane + 64u) / 8u;
        right2 = right[rightStart + k * 24u + rightColumn2];
      }
      {
        let k = 4u * k0 + (lane + 96u) / 8u;
        right3 = right[rightStart + k * 24u + rightColumn3];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 8u;
        right4 = right[rightStart + k * 24u + rightColumn4];
      }
      {
        let k = 4u * k0 + (lane + 160u) / 8u;
        right5 = right[rightStart + k * 24u + rightColumn5];
      }
      {
        let k = 4u * k0 + (lane + 192u) / 8u;
        right6 = right[rightStart + k * 24u + rightColumn6];
      }
      {
        let k = 4u * k0 + (lane + 224u) / 8u;
        right7 = right[rightStart + k * 24u + rightColumn7];
      }
    }
    if (k0 > begin) {
      let start = 0u;
      var b0 = held[start * 8u + local.x + 160u];
      var a0 = held[start * 5u + local.y];
      for (var i = 1u; i < 32u; i++) {
        let k = i;
        let next_b0 = held[k * 8u + local.x + 160u];
        let next_a0 = held[k * 5u + local.y];
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
    workgroupBarrier();
    if (k0 < end) {
      {
        held[(lane % 8u * 4u) * 5u + lane / 8u] = vec4f(left0_0.x, left0_1.x, left0_2.x, left0_3.x);
        held[(lane % 8u * 4u + 1u) * 5u + lane / 8u] = vec4f(left0_0.y, left0_1.y, left0_2.y, left0_3.y);
        held[(lane % 8u * 4u + 2u) * 5u + lane / 8u] = vec4f(left0_0.z, left0_1.z, left0_2.z, left0_3.z);
        held[(lane % 8u * 4u + 3u) * 5u + lane / 8u] = vec4f(left0_0.w, left0_1.w, left0_2.w, left0_3.w);
      }
      {
        held[lane + 160u] = right0;
      }
      {
        held[lane + 192u] = right1;
      }
      {
        held[lane + 224u] = right2;
      }
      {
        held[lane + 256u] = right3;
      }
      {
        held[lane + 288u] = right4;
      }
      {
        held[lane + 320u] = right5;
      }
      {
        held[lane + 352u] = right6;
      }
      {
        held[lane + 384u] = right7;
      }
    }
    workgroupBarrier();
  }
  if (row0 + 4u * local.y < rows) {
    let m = first + row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 24u) {
      result[m * 24u + c0] = gelu4(s0 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * local.y + 1u < rows) {
    let m = first + row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 24u) {
      result[m * 24u + c0] = gelu4(s1 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * local.y + 2u < rows) {
    let m = first + row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 24u) {
      result[m * 24u + c0] = gelu4(s2 + bias[biasStart + c0]);
    }
  }
  if (row0 + 4u * local.y + 3u < rows) {
    let m = first + row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 24u) {
      result[m * 24u + c0] = gelu4(s3 + bias[biasStart + c0]);
    }
  }
}

// experts, second layer: 12 x 398 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
var<workgroup> held: array<vec4f, 416>;
@compute @workgroup_size(8, 4)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let tile = tiles[group.y];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row0 = 0u;
  let column0 = group.x * 8u;
  let rightStart = tile.x * 9216u;
  let biasStart = tile.x * 96u;
  let leftRow0_0 = (first + min(row0 + lane / 8u * 4u, rows - 1u)) * 24u;
  let leftRow0_1 = (first + min(row0 + lane / 8u * 4u + 1u, rows - 1u)) * 24u;
  let leftRow0_2 = (first + min(row0 + lane / 8u * 4u + 2u, rows - 1u)) * 24u;
  let leftRow0_3 = (first + min(row0 + lane / 8u * 4u + 3u, rows - 1u)) * 24u;
  var left0_0 = vec4f();
  var left0_1 = vec4f();
  var left0_2 = vec4f();
  var left0_3 = vec4f();
  let rightColumn0 = column0 + lane % 8u;
  var right0 = vec4f();
  let rightColumn1 = column0 + (lane + 32u) % 8u;
  var right1 = vec4f();
  let rightColumn2 = column0 + (lane + 64u) % 8u;
  var right2 = vec4f();
  let rightColumn3 = column0 + (lane + 96u) % 8u;
  var right3 = vec4f();
  let rightColumn4 = column0 + (lane + 128u) % 8u;
  var right4 = vec4f();
  let rightColumn5 = column0 + (lane + 160u) % 8u;
  var right5 = vec4f();
  let rightColumn6 = column0 + (lane + 192u) % 8u;
  var right6 = vec4f();
  let rightColumn7 = column0 + (lane + 224u) % 8u;
  var right7 = vec4f();
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  const begin = 0u;
  const end = 24u;
  for (var k0 = begin; k0 < end + 8u; k0 += 8u) {
    if (k0 < end) {
      {
        let k = k0 + lane % 8u;
        left0_0 = left[leftRow0_0 + k];
        left0_1 = left[leftRow0_1 + k];
        left0_2 = left[leftRow0_2 + k];
        left0_3 = left[leftRow0_3 + k];
      }
      {
        let k = 4u * k0 + lane / 8u;
        right0 = right[rightStart + k * 96u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 32u) / 8u;
        right1 = right[rightStart + k * 96u + rightColumn1];
      }
      {
        let k = 4u * k0 + (lane + 64u) / 8u;
        right2 = right[rightStart + k * 96u + rightColumn2];
      }
      {
        let k = 4u * k0 + (lane + 96u) / 8u;
        right3 = right[rightStart + k * 96u + rightColumn3];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 8u;
        right4 = right[rightStart + k * 96u + rightColumn4];
      }
      {
        let k = 4u * k0 + (lane + 160u) / 8u;
        right5 = right[rightStart + k * 96u + rightColumn5];
      }
      {
        let k = 4u * k0 + (lane + 192u) / 8u;
        right6 = right[rightStart + k * 96u + rightColumn6];
      }
      {
        let k = 4u * k0 + (lane + 224u) / 8u;
        right7 = right[rightStart + k * 96u + rightColumn7];
      }
    }
    if (k0 > begin) {
      let start = 0u;
      var b0 = held[start * 8u + local.x + 160u];
      var a0 = held[start * 5u + local.y];
      for (var i = 1u; i < 32u; i++) {
        let k = i;
        let next_b0 = held[k * 8u + local.x + 160u];
        let next_a0 = held[k * 5u + local.y];
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
    workgroupBarrier();
    if (k0 < end) {
      {
        held[(lane % 8u * 4u) * 5u + lane / 8u] = vec4f(left0_0.x, left0_1.x, left0_2.x, left0_3.x);
        held[(lane % 8u * 4u + 1u) * 5u + lane / 8u] = vec4f(left0_0.y, left0_1.y, left0_2.y, left0_3.y);
        held[(lane % 8u * 4u + 2u) * 5u + lane / 8u] = vec4f(left0_0.z, left0_1.z, left0_2.z, left0_3.z);
        held[(lane % 8u * 4u + 3u) * 5u + lane / 8u] = vec4f(left0_0.w, left0_1.w, left0_2.w, left0_3.w);
      }
      {
        held[lane + 160u] = right0;
      }
      {
        held[lane + 192u] = right1;
      }
      {
        held[lane + 224u] = right2;
      }
      {
        held[lane + 256u] = right3;
      }
      {
        held[lane + 288u] = right4;
      }
      {
        held[lane + 320u] = right5;
      }
      {
        held[lane + 352u] = right6;
      }
      {
        held[lane + 384u] = right7;
      }
    }
    workgroupBarrier();
  }
  if (row0 + 4u * local.y < rows) {
    let m = first + row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 96u) {
      result[m * 96u + c0] = s0 + bias[biasStart + c0];
    }
  }
  if (row0 + 4u * local.y + 1u < rows) {
    let m = first + row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 96u) {
      result[m * 96u + c0] = s1 + bias[biasStart + c0];
    }
  }
  if (row0 + 4u * local.y + 2u < rows) {
    let m = first + row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 96u) {
      result[m * 96u + c0] = s2 + bias[biasStart + c0];
    }
  }
  if (row0 + 4u * local.y + 3u < rows) {
    let m = first + row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 96u) {
      result[m * 96u + c0] = s3 + bias[biasStart + c0];
    }
  }
}

// combine: 1182 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> outputs: array<vec4f>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 75648u) { return; }
  let token = i / 96u;
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
  let term0 = weight0 * outputs[row0 * 96u + i % 96u];
  let term1 = weight1 * outputs[row1 * 96u + i % 96u];
  sum += select(vec4f(), term0, isKept0);
  sum += select(vec4f(), term1, isKept1);
  result[i] = sum;
}
