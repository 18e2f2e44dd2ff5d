// seat tokens, list rows: 2 x 4 x 1 workgroups
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
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let most = u32(clamp(limits[0], 0, 2));
  let room = u32(clamp(limits[1], 0, 8));
  for (var g0 = 0u; g0 < 4u; g0 += 3u) {
    let begin = g0 * 394u;
    let groups = min(3u, 4u - g0);
  for (var i = lane; i < groups * 394u; i += 256u) {
    let expert = choices[begin + i];
    if (expert >= 0 && i % 2u < most) { atomicAdd(&counts[i / 394u * 300u + u32(expert)], 1u); }
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
  let base = group.y * 394u;
  let buffers = group.y * 2400u;
  for (var slot = id.x; slot < 2400u; slot += 512u) {
    if (slot % 8u >= own[slot / 8u]) { tokens[buffers + slot] = -1; }
  }
  for (var e = lane; e < 300u; e += 256u) {
    var row = 0u;
    var tile = 0u;
    for (var c = 0u; c < e; c++) {
      row += total[c];
      tile += (total[c] + 7u) / 8u;
    }
    first[e] += row;
    if (group.x == 0u && group.y == 0u) {
      for (var done = 0u; done < total[e]; done += 8u) {
        tiles[tile] = vec4u(e, row + done, min(8u, total[e] - done), 0u);
        tile++;
      }
      if (e == 299u) {
        for (; tile < 497u; tile++) { tiles[tile] = vec4u(); }
      }
    }
  }
  workgroupBarrier();
  let i = id.x;
  if (i >= 394u) { return; }
  let token = i / 2u;
  let expert = choices[base + i];
  var place = room;
  if (expert >= 0 && i % 2u < most) {
    place = 0u;
    let urgent = urgency[(group.y * 197u + token) * 2u];
    for (var t = 0u; t < 197u; t++) {
      let other = urgency[(group.y * 197u + t) * 2u];
      let isFirst = select((t < token), other > urgent || (other == urgent && t < token), limits[2] == 1);
      // Of each token the choices before this one's place count, and that at the same place where it is served first.
      let end = i % 2u + select(0u, 1u, isFirst);
      for (var c = 0u; c < end; c++) {
        place += select(0u, 1u, choices[base + t * 2u + c] == expert);
      }
    }
  }
  let kept = place < room;
  slots[base + i] = select(-1, expert * 8 + i32(place), kept);
  places[base + i] = 0xffffffffu;
  if (kept) {
    tokens[buffers + u32(expert) * 8u + place] = i32(token);
    let row = first[expert] + place;
    places[base + i] = row;
    sources[row] = group.y * 197u + token;
  }
}

// experts, first layer: 497 x 3 x 1 workgroups
enable subgroups;
diagnostic(off, subgroup_uniformity);
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
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 8u + local.x;
  let c = min(column, 23u);
  let tile = tiles[group.x];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row = local.y * 8u;
  if (row >= rows) { return; }
  let rightStart = tile.x * 9216u;
  let biasStart = tile.x * 24u;
  let l0 = (sources[first + min(row + member, rows - 1u)]) * 96u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  let have = row + member < rows;
  for (var k = 0u; k < 96u; k++) {
    let b0 = right[rightStart + (4u * k) * 24u + c];
    let b1 = right[rightStart + (4u * k + 1u) * 24u + c];
    let b2 = right[rightStart + (4u * k + 2u) * 24u + c];
    let b3 = right[rightStart + (4u * k + 3u) * 24u + c];
    var a0 = vec4f(); if (have) { a0 = left[l0 + k]; }
    s0 += subgroupBroadcast(a0.x, 0u) * b0;
    s0 += subgroupBroadcast(a0.y, 0u) * b1;
    s0 += subgroupBroadcast(a0.z, 0u) * b2;
    s0 += subgroupBroadcast(a0.w, 0u) * b3;
    s1 += subgroupBroadcast(a0.x, 1u) * b0;
    s1 += subgroupBroadcast(a0.y, 1u) * b1;
    s1 += subgroupBroadcast(a0.z, 1u) * b2;
    s1 += subgroupBroadcast(a0.w, 1u) * b3;
    s2 += subgroupBroadcast(a0.x, 2u) * b0;
    s2 += subgroupBroadcast(a0.y, 2u) * b1;
    s2 += subgroupBroadcast(a0.z, 2u) * b2;
    s2 += subgroupBroadcast(a0.w, 2u) * b3;
    s3 += subgroupBroadcast(a0.x, 3u) * b0;
    s3 += subgroupBroadcast(a0.y, 3u) * b1;
    s3 += subgroupBroadcast(a0.z, 3u) * b2;
    s3 += subgroupBroadcast(a0.w, 3u) * b3;
    s4 += subgroupBroadcast(a0.x, 4u) * b0;
    s4 += subgroupBroadcast(a0.y, 4u) * b1;
    s4 += subgroupBroadcast(a0.z, 4u) * b2;
    s4 += subgroupBroadcast(a0.w, 4u) * b3;
    s5 += subgroupBroadcast(a0.x, 5u) * b0;
    s5 += subgroupBroadcast(a0.y, 5u) * b1;
    s5 += subgroupBroadcast(a0.z, 5u) * b2;
    s5 += subgroupBroadcast(a0.w, 5u) * b3;
    s6 += subgroupBroadcast(a0.x, 6u) * b0;
    s6 += subgroupBroadcast(a0.y, 6u) * b1;
    s6 += subgroupBroadcast(a0.z, 6u) * b2;
    s6 += subgroupBroadcast(a0.w, 6u) * b3;
    s7 += subgroupBroadcast(a0.x, 7u) * b0;
    s7 += subgroupBroadcast(a0.y, 7u) * b1;
    s7 += subgroupBroadcast(a0.z, 7u) * b2;
    s7 += subgroupBroadcast(a0.w, 7u) * b3;
  }
  if (column >= 24u) { return; }
  var sums = array(s0, s1, s2, s3, s4, s5, s6, s7);
  for (var i = 0u; i < 8u; i++) {
    let r = row + i;
    if (r >= rows) { break; }
    let s = sums[i];
    result[(first + r) * 24u + c] = gelu4(s + bias[biasStart + c]);
  }
}

// experts, second layer: 497 x 12 x 1 workgroups
enable subgroups;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 8u + local.x;
  let c = min(column, 95u);
  let tile = tiles[group.x];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row = local.y * 8u;
  if (row >= rows) { return; }
  let rightStart = tile.x * 9216u;
  let biasStart = tile.x * 96u;
  let l0 = (first + min(row + member, rows - 1u)) * 24u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  let have = row + member < rows;
  for (var k = 0u; k < 24u; k++) {
    let b0 = right[rightStart + (4u * k) * 96u + c];
    let b1 = right[rightStart + (4u * k + 1u) * 96u + c];
    let b2 = right[rightStart + (4u * k + 2u) * 96u + c];
    let b3 = right[rightStart + (4u * k + 3u) * 96u + c];
    var a0 = vec4f(); if (have) { a0 = left[l0 + k]; }
    s0 += subgroupBroadcast(a0.x, 0u) * b0;
    s0 += subgroupBroadcast(a0.y, 0u) * b1;
    s0 += subgroupBroadcast(a0.z, 0u) * b2;
    s0 += subgroupBroadcast(a0.w, 0u) * b3;
    s1 += subgroupBroadcast(a0.x, 1u) * b0;
    s1 += subgroupBroadcast(a0.y, 1u) * b1;
    s1 += subgroupBroadcast(a0.z, 1u) * b2;
    s1 += subgroupBroadcast(a0.w, 1u) * b3;
    s2 += subgroupBroadcast(a0.x, 2u) * b0;
    s2 += subgroupBroadcast(a0.y, 2u) * b1;
    s2 += subgroupBroadcast(a0.z, 2u) * b2;
    s2 += subgroupBroadcast(a0.w, 2u) * b3;
    s3 += subgroupBroadcast(a0.x, 3u) * b0;
    s3 += subgroupBroadcast(a0.y, 3u) * b1;
    s3 += subgroupBroadcast(a0.z, 3u) * b2;
    s3 += subgroupBroadcast(a0.w, 3u) * b3;
    s4 += subgroupBroadcast(a0.x, 4u) * b0;
    s4 += subgroupBroadcast(a0.y, 4u) * b1;
    s4 += subgroupBroadcast(a0.z, 4u) * b2;
    s4 += subgroupBroadcast(a0.w, 4u) * b3;
    s5 += subgroupBroadcast(a0.x, 5u) * b0;
    s5 += subgroupBroadcast(a0.y, 5u) * b1;
    s5 += subgroupBroadcast(a0.z, 5u) * b2;
    s5 += subgroupBroadcast(a0.w, 5u) * b3;
    s6 += subgroupBroadcast(a0.x, 6u) * b0;
    s6 += subgroupBroadcast(a0.y, 6u) * b1;
    s6 += subgroupBroadcast(a0.z, 6u) * b2;
    s6 += subgroupBroadcast(a0.w, 6u) * b3;
    s7 += subgroupBroadcast(a0.x, 7u) * b0;
    s7 += subgroupBroadcast(a0.y, 7u) * b1;
    s7 += subgroupBroadcast(a0.z, 7u) * b2;
    s7 += subgroupBroadcast(a0.w, 7u) * b3;
  }
  if (column >= 96u) { return; }
  var sums = array(s0, s1, s2, s3, s4, s5, s6, s7);
  for (var i = 0u; i < 8u; i++) {
    let r = row + i;
    if (r >= rows) { break; }
    let s = sums[i];
    result[(first + r) * 96u + c] = s + bias[biasStart + c];
  }
}

// combine: 9456 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> outputs: array<vec4f>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 75648u) { return; }
  let token = i / 96u;
  var sum = vec4f();
  for (var choice = token * 2u; choice < (token + 1u) * 2u; choice++) {
    let row = places[choice];
    let isKept = row != 0xffffffffu;
    if (isKept) { sum += weights[choice] * outputs[row * 96u + i % 96u]; }
  }
  result[i] = sum;
}
