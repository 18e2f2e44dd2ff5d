// seat tokens, list rows: 2 x 4 x 1 workgroups
enable subgroups;
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
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
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
  let i = min(id.x, 393u);
  let token = i / 2u;
  let mine = i % 2u;
  let expert = choices[base + i];
  let urgent = urgency[(group.y * 197u + token) * 2u];
  var count = 0u;
  for (var t = 0u; t < 197u; t += 8u) {
    let there = min(t + member, 196u);
    let theirs = urgency[(group.y * 197u + there) * 2u];
    let other0 = subgroupBroadcast(theirs, 0u);
      let other1 = subgroupBroadcast(theirs, 1u);
      let other2 = subgroupBroadcast(theirs, 2u);
      let other3 = subgroupBroadcast(theirs, 3u);
      let other4 = subgroupBroadcast(theirs, 4u);
      let other5 = subgroupBroadcast(theirs, 5u);
      let other6 = subgroupBroadcast(theirs, 6u);
      let other7 = subgroupBroadcast(theirs, 7u);
    let isFirst0 = select((t < token), other0 > urgent || (other0 == urgent && t < token), limits[2] == 1);
      let isFirst1 = select((t + 1u < token), other1 > urgent || (other1 == urgent && t + 1u < token), limits[2] == 1);
      let isFirst2 = select((t + 2u < token), other2 > urgent || (other2 == urgent && t + 2u < token), limits[2] == 1);
      let isFirst3 = select((t + 3u < token), other3 > urgent || (other3 == urgent && t + 3u < token), limits[2] == 1);
      let isFirst4 = select((t + 4u < token), other4 > urgent || (other4 == urgent && t + 4u < token), limits[2] == 1);
      let isFirst5 = select((t + 5u < token), other5 > urgent || (other5 == urgent && t + 5u < token), limits[2] == 1);
      let isFirst6 = select((t + 6u < token), other6 > urgent || (other6 == urgent && t + 6u < token), limits[2] == 1);
      let isFirst7 = select((t + 7u < token), other7 > urgent || (other7 == urgent && t + 7u < token), limits[2] == 1);
    for (var c = 0u; c < 2u; c++) {
      let chosen = select(-1, choices[base + there * 2u + c], t + member < 197u);
      let chosen0 = subgroupBroadcast(chosen, 0u);
      let chosen1 = subgroupBroadcast(chosen, 1u);
      let chosen2 = subgroupBroadcast(chosen, 2u);
      let chosen3 = subgroupBroadcast(chosen, 3u);
      let chosen4 = subgroupBroadcast(chosen, 4u);
      let chosen5 = subgroupBroadcast(chosen, 5u);
      let chosen6 = subgroupBroadcast(chosen, 6u);
      let chosen7 = subgroupBroadcast(chosen, 7u);
      count += select(0u, 1u, chosen0 == expert && (c < mine || (c == mine && isFirst0)));
      count += select(0u, 1u, chosen1 == expert && (c < mine || (c == mine && isFirst1)));
      count += select(0u, 1u, chosen2 == expert && (c < mine || (c == mine && isFirst2)));
      count += select(0u, 1u, chosen3 == expert && (c < mine || (c == mine && isFirst3)));
      count += select(0u, 1u, chosen4 == expert && (c < mine || (c == mine && isFirst4)));
      count += select(0u, 1u, chosen5 == expert && (c < mine || (c == mine && isFirst5)));
      count += select(0u, 1u, chosen6 == expert && (c < mine || (c == mine && isFirst6)));
      count += select(0u, 1u, chosen7 == expert && (c < mine || (c == mine && isFirst7)));
    }
  }
  if (id.x >= 394u) { return; }
  let place = select(room, count, expert >= 0 && mine < most);
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
  if (rows > 6u) {
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
  } else if (rows > 4u) {
    let have = member < 6u && row + member < rows;
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
    }
  } else {
    let have = member < 4u && row + member < rows;
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
    }
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
  if (rows > 6u) {
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
  } else if (rows > 4u) {
    let have = member < 6u && row + member < rows;
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
    }
  } else {
    let have = member < 4u && row + member < rows;
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
    }
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
