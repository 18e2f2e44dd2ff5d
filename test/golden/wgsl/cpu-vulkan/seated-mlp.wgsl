// seat tokens, list rows: 4 x 1 x 1 workgroups
enable subgroups;
@group(0) @binding(0) var<storage, read> choices: array<i32>;
@group(0) @binding(1) var<storage, read> urgency: array<f32>;
@group(0) @binding(2) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(3) var<storage, read_write> slots: array<i32>;
@group(0) @binding(4) var<storage, read_write> sources: array<u32>;
@group(0) @binding(5) var<storage, read_write> places: array<u32>;
@group(0) @binding(6) var<storage, read_write> tiles: array<vec4u>;
var<workgroup> counts: array<atomic<u32>, 8>;
var<workgroup> own: array<u32, 8>;
var<workgroup> total: array<u32, 8>;
var<workgroup> first: array<u32, 8>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
        const most = 2u;
        const room = 108u;
  const begin = 0u;
  const g0 = 0u;
  const groups = 1u;
        for (var i = lane; i < groups * 800u; i += 256u) {
          let expert = choices[begin + i];
          if (expert >= 0 && i % 2u < most) { atomicAdd(&counts[u32(expert)], 1u); }
        }
        workgroupBarrier();
        for (var e = lane; e < 8u; e += 256u) {
          for (var g = 0u; g < groups; g++) {
            let count = min(atomicLoad(&counts[g * 8u + e]), room);
            total[e] += count;
            if (g0 + g < group.y) { first[e] += count; }
            if (g0 + g == group.y) { own[e] = count; }
          }
        }
        workgroupBarrier();
        let base = group.y * 800u;
        let buffers = group.y * 864u;
        for (var slot = id.x; slot < 864u; slot += 1024u) {
          if (slot % 108u >= own[slot / 108u]) { tokens[buffers + slot] = -1; }
        }
        for (var e = lane; e < 8u; e += 256u) {
          var row = 0u;
          var tile = 0u;
          for (var c = 0u; c < e; c++) {
            row += total[c];
            tile += (total[c] + 21u) / 22u;
          }
          first[e] += row;
          if (group.x == 0u && group.y == 0u) {
            for (var done = 0u; done < total[e]; done += 22u) {
              tiles[tile] = vec4u(e, row + done, min(22u, total[e] - done), 0u);
              tile++;
            }
            if (e == 7u) {
              for (; tile < 40u; tile++) { tiles[tile] = vec4u(); }
            }
          }
        }
        workgroupBarrier();
        let i = min(id.x, 799u);
        let token = i / 2u;
        let mine = i % 2u;
        let expert = choices[base + i];
        let urgent = urgency[(group.y * 400u + token) * 2u];
        var count = 0u;
        for (var t = 0u; t < 400u; t += 8u) {
          let there = min(t + member, 399u);
          let theirs = urgency[(group.y * 400u + there) * 2u];
          let other0 = subgroupBroadcast(theirs, 0u);
            let other1 = subgroupBroadcast(theirs, 1u);
            let other2 = subgroupBroadcast(theirs, 2u);
            let other3 = subgroupBroadcast(theirs, 3u);
            let other4 = subgroupBroadcast(theirs, 4u);
            let other5 = subgroupBroadcast(theirs, 5u);
            let other6 = subgroupBroadcast(theirs, 6u);
            let other7 = subgroupBroadcast(theirs, 7u);
          let isFirst0 = other0 > urgent || (other0 == urgent && t < token);
            let isFirst1 = other1 > urgent || (other1 == urgent && t + 1u < token);
            let isFirst2 = other2 > urgent || (other2 == urgent && t + 2u < token);
            let isFirst3 = other3 > urgent || (other3 == urgent && t + 3u < token);
            let isFirst4 = other4 > urgent || (other4 == urgent && t + 4u < token);
            let isFirst5 = other5 > urgent || (other5 == urgent && t + 5u < token);
            let isFirst6 = other6 > urgent || (other6 == urgent && t + 6u < token);
            let isFirst7 = other7 > urgent || (other7 == urgent && t + 7u < token);
          for (var c = 0u; c < 2u; c++) {
            let chosen = choices[base + there * 2u + c];
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
        if (id.x >= 800u) { return; }
        let place = select(room, count, expert >= 0 && mine < most);
        let kept = place < room;
        slots[base + i] = select(-1, expert * 108 + i32(place), kept);
        places[base + i] = 0xffffffffu;
        if (kept) {
          tokens[buffers + u32(expert) * 108u + place] = i32(token);
          let row = first[expert] + place;
          places[base + i] = row;
          sources[row] = group.y * 400u + token;
        }
}

// experts, first layer: 40 x 64 x 1 workgroups
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
  let c = min(column, 511u);
  let tile = tiles[group.x];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row = local.y * 22u;
  if (row >= rows) { return; }
  let rightStart = tile.x * 262144u;
  let biasStart = tile.x * 512u;
  let l0 = (sources[first + min(row + member, rows - 1u)]) * 128u;
  let l1 = (sources[first + min(row + 8u + member, rows - 1u)]) * 128u;
  let l2 = (sources[first + min(row + 16u + member, rows - 1u)]) * 128u;
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
  if (rows > 16u) {
    let have = member < 6u && row + 16u + member < rows;
    for (var k = 0u; k < 128u; k++) {
      let b0 = right[rightStart + (4u * k) * 512u + c];
      let b1 = right[rightStart + (4u * k + 1u) * 512u + c];
      let b2 = right[rightStart + (4u * k + 2u) * 512u + c];
      let b3 = right[rightStart + (4u * k + 3u) * 512u + c];
      let a0 = left[l0 + k];
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
      let a1 = left[l1 + k];
      s8 += subgroupBroadcast(a1.x, 0u) * b0;
      s8 += subgroupBroadcast(a1.y, 0u) * b1;
      s8 += subgroupBroadcast(a1.z, 0u) * b2;
      s8 += subgroupBroadcast(a1.w, 0u) * b3;
      s9 += subgroupBroadcast(a1.x, 1u) * b0;
      s9 += subgroupBroadcast(a1.y, 1u) * b1;
      s9 += subgroupBroadcast(a1.z, 1u) * b2;
      s9 += subgroupBroadcast(a1.w, 1u) * b3;
      s10 += subgroupBroadcast(a1.x, 2u) * b0;
      s10 += subgroupBroadcast(a1.y, 2u) * b1;
      s10 += subgroupBroadcast(a1.z, 2u) * b2;
      s10 += subgroupBroadcast(a1.w, 2u) * b3;
      s11 += subgroupBroadcast(a1.x, 3u) * b0;
      s11 += subgroupBroadcast(a1.y, 3u) * b1;
      s11 += subgroupBroadcast(a1.z, 3u) * b2;
      s11 += subgroupBroadcast(a1.w, 3u) * b3;
      s12 += subgroupBroadcast(a1.x, 4u) * b0;
      s12 += subgroupBroadcast(a1.y, 4u) * b1;
      s12 += subgroupBroadcast(a1.z, 4u) * b2;
      s12 += subgroupBroadcast(a1.w, 4u) * b3;
      s13 += subgroupBroadcast(a1.x, 5u) * b0;
      s13 += subgroupBroadcast(a1.y, 5u) * b1;
      s13 += subgroupBroadcast(a1.z, 5u) * b2;
      s13 += subgroupBroadcast(a1.w, 5u) * b3;
      s14 += subgroupBroadcast(a1.x, 6u) * b0;
      s14 += subgroupBroadcast(a1.y, 6u) * b1;
      s14 += subgroupBroadcast(a1.z, 6u) * b2;
      s14 += subgroupBroadcast(a1.w, 6u) * b3;
      s15 += subgroupBroadcast(a1.x, 7u) * b0;
      s15 += subgroupBroadcast(a1.y, 7u) * b1;
      s15 += subgroupBroadcast(a1.z, 7u) * b2;
      s15 += subgroupBroadcast(a1.w, 7u) * b3;
      var a2 = vec4f(); if (have) { a2 = left[l2 + k]; }
      s16 += subgroupBroadcast(a2.x, 0u) * b0;
      s16 += subgroupBroadcast(a2.y, 0u) * b1;
      s16 += subgroupBroadcast(a2.z, 0u) * b2;
      s16 += subgroupBroadcast(a2.w, 0u) * b3;
      s17 += subgroupBroadcast(a2.x, 1u) * b0;
      s17 += subgroupBroadcast(a2.y, 1u) * b1;
      s17 += subgroupBroadcast(a2.z, 1u) * b2;
      s17 += subgroupBroadcast(a2.w, 1u) * b3;
      s18 += subgroupBroadcast(a2.x, 2u) * b0;
      s18 += subgroupBroadcast(a2.y, 2u) * b1;
      s18 += subgroupBroadcast(a2.z, 2u) * b2;
      s18 += subgroupBroadcast(a2.w, 2u) * b3;
      s19 += subgroupBroadcast(a2.x, 3u) * b0;
      s19 += subgroupBroadcast(a2.y, 3u) * b1;
      s19 += subgroupBroadcast(a2.z, 3u) * b2;
      s19 += subgroupBroadcast(a2.w, 3u) * b3;
      s20 += subgroupBroadcast(a2.x, 4u) * b0;
      s20 += subgroupBroadcast(a2.y, 4u) * b1;
      s20 += subgroupBroadcast(a2.z, 4u) * b2;
      s20 += subgroupBroadcast(a2.w, 4u) * b3;
      s21 += subgroupBroadcast(a2.x, 5u) * b0;
      s21 += subgroupBroadcast(a2.y, 5u) * b1;
      s21 += subgroupBroadcast(a2.z, 5u) * b2;
      s21 += subgroupBroadcast(a2.w, 5u) * b3;
    }
  } else {
    let have = row + 8u + member < rows;
    for (var k = 0u; k < 128u; k++) {
      let b0 = right[rightStart + (4u * k) * 512u + c];
      let b1 = right[rightStart + (4u * k + 1u) * 512u + c];
      let b2 = right[rightStart + (4u * k + 2u) * 512u + c];
      let b3 = right[rightStart + (4u * k + 3u) * 512u + c];
      let a0 = left[l0 + k];
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
      var a1 = vec4f(); if (have) { a1 = left[l1 + k]; }
      s8 += subgroupBroadcast(a1.x, 0u) * b0;
      s8 += subgroupBroadcast(a1.y, 0u) * b1;
      s8 += subgroupBroadcast(a1.z, 0u) * b2;
      s8 += subgroupBroadcast(a1.w, 0u) * b3;
      s9 += subgroupBroadcast(a1.x, 1u) * b0;
      s9 += subgroupBroadcast(a1.y, 1u) * b1;
      s9 += subgroupBroadcast(a1.z, 1u) * b2;
      s9 += subgroupBroadcast(a1.w, 1u) * b3;
      s10 += subgroupBroadcast(a1.x, 2u) * b0;
      s10 += subgroupBroadcast(a1.y, 2u) * b1;
      s10 += subgroupBroadcast(a1.z, 2u) * b2;
      s10 += subgroupBroadcast(a1.w, 2u) * b3;
      s11 += subgroupBroadcast(a1.x, 3u) * b0;
      s11 += subgroupBroadcast(a1.y, 3u) * b1;
      s11 += subgroupBroadcast(a1.z, 3u) * b2;
      s11 += subgroupBroadcast(a1.w, 3u) * b3;
      s12 += subgroupBroadcast(a1.x, 4u) * b0;
      s12 += subgroupBroadcast(a1.y, 4u) * b1;
      s12 += subgroupBroadcast(a1.z, 4u) * b2;
      s12 += subgroupBroadcast(a1.w, 4u) * b3;
      s13 += subgroupBroadcast(a1.x, 5u) * b0;
      s13 += subgroupBroadcast(a1.y, 5u) * b1;
      s13 += subgroupBroadcast(a1.z, 5u) * b2;
      s13 += subgroupBroadcast(a1.w, 5u) * b3;
      s14 += subgroupBroadcast(a1.x, 6u) * b0;
      s14 += subgroupBroadcast(a1.y, 6u) * b1;
      s14 += subgroupBroadcast(a1.z, 6u) * b2;
      s14 += subgroupBroadcast(a1.w, 6u) * b3;
      s15 += subgroupBroadcast(a1.x, 7u) * b0;
      s15 += subgroupBroadcast(a1.y, 7u) * b1;
      s15 += subgroupBroadcast(a1.z, 7u) * b2;
      s15 += subgroupBroadcast(a1.w, 7u) * b3;
    }
  }
  if (column >= 512u) { return; }
  var sums = array(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15, s16, s17, s18, s19, s20, s21);
  for (var i = 0u; i < 22u; i++) {
    let r = row + i;
    if (r >= rows) { break; }
    let s = sums[i];
    result[(first + r) * 512u + c] = gelu4(s + bias[biasStart + c]);
  }
}

// experts, second layer: 40 x 16 x 1 workgroups
enable subgroups;
diagnostic(off, subgroup_uniformity);
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
fn bfloat4(x: vec4f) -> vec4f {
  let bits = bitcast<vec4u>(x);
  return bitcast<vec4f>((bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u));
}
@compute @workgroup_size(8, 1)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  let column = group.y * 8u + local.x;
  let c = min(column, 127u);
  let tile = tiles[group.x];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row = local.y * 22u;
  if (row >= rows) { return; }
  let rightStart = tile.x * 262144u;
  let biasStart = tile.x * 128u;
  let l0 = (first + min(row + member, rows - 1u)) * 512u;
  let l1 = (first + min(row + 8u + member, rows - 1u)) * 512u;
  let l2 = (first + min(row + 16u + member, rows - 1u)) * 512u;
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
  if (rows > 16u) {
    let have = member < 6u && row + 16u + member < rows;
    for (var k = 0u; k < 512u; k++) {
      let b0 = right[rightStart + (4u * k) * 128u + c];
      let b1 = right[rightStart + (4u * k + 1u) * 128u + c];
      let b2 = right[rightStart + (4u * k + 2u) * 128u + c];
      let b3 = right[rightStart + (4u * k + 3u) * 128u + c];
      let a0 = left[l0 + k];
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
      let a1 = left[l1 + k];
      s8 += subgroupBroadcast(a1.x, 0u) * b0;
      s8 += subgroupBroadcast(a1.y, 0u) * b1;
      s8 += subgroupBroadcast(a1.z, 0u) * b2;
      s8 += subgroupBroadcast(a1.w, 0u) * b3;
      s9 += subgroupBroadcast(a1.x, 1u) * b0;
      s9 += subgroupBroadcast(a1.y, 1u) * b1;
      s9 += subgroupBroadcast(a1.z, 1u) * b2;
      s9 += subgroupBroadcast(a1.w, 1u) * b3;
      s10 += subgroupBroadcast(a1.x, 2u) * b0;
      s10 += subgroupBroadcast(a1.y, 2u) * b1;
      s10 += subgroupBroadcast(a1.z, 2u) * b2;
      s10 += subgroupBroadcast(a1.w, 2u) * b3;
      s11 += subgroupBroadcast(a1.x, 3u) * b0;
      s11 += subgroupBroadcast(a1.y, 3u) * b1;
      s11 += subgroupBroadcast(a1.z, 3u) * b2;
      s11 += subgroupBroadcast(a1.w, 3u) * b3;
      s12 += subgroupBroadcast(a1.x, 4u) * b0;
      s12 += subgroupBroadcast(a1.y, 4u) * b1;
      s12 += subgroupBroadcast(a1.z, 4u) * b2;
      s12 += subgroupBroadcast(a1.w, 4u) * b3;
      s13 += subgroupBroadcast(a1.x, 5u) * b0;
      s13 += subgroupBroadcast(a1.y, 5u) * b1;
      s13 += subgroupBroadcast(a1.z, 5u) * b2;
      s13 += subgroupBroadcast(a1.w, 5u) * b3;
      s14 += subgroupBroadcast(a1.x, 6u) * b0;
      s14 += subgroupBroadcast(a1.y, 6u) * b1;
      s14 += subgroupBroadcast(a1.z, 6u) * b2;
      s14 += subgroupBroadcast(a1.w, 6u) * b3;
      s15 += subgroupBroadcast(a1.x, 7u) * b0;
      s15 += subgroupBroadcast(a1.y, 7u) * b1;
      s15 += subgroupBroadcast(a1.z, 7u) * b2;
      s15 += subgroupBroadcast(a1.w, 7u) * b3;
      var a2 = vec4f(); if (have) { a2 = left[l2 + k]; }
      s16 += subgroupBroadcast(a2.x, 0u) * b0;
      s16 += subgroupBroadcast(a2.y, 0u) * b1;
      s16 += subgroupBroadcast(a2.z, 0u) * b2;
      s16 += subgroupBroadcast(a2.w, 0u) * b3;
      s17 += subgroupBroadcast(a2.x, 1u) * b0;
      s17 += subgroupBroadcast(a2.y, 1u) * b1;
      s17 += subgroupBroadcast(a2.z, 1u) * b2;
      s17 += subgroupBroadcast(a2.w, 1u) * b3;
      s18 += subgroupBroadcast(a2.x, 2u) * b0;
      s18 += subgroupBroadcast(a2.y, 2u) * b1;
      s18 += subgroupBroadcast(a2.z, 2u) * b2;
      s18 += subgroupBroadcast(a2.w, 2u) * b3;
      s19 += subgroupBroadcast(a2.x, 3u) * b0;
      s19 += subgroupBroadcast(a2.y, 3u) * b1;
      s19 += subgroupBroadcast(a2.z, 3u) * b2;
      s19 += subgroupBroadcast(a2.w, 3u) * b3;
      s20 += subgroupBroadcast(a2.x, 4u) * b0;
      s20 += subgroupBroadcast(a2.y, 4u) * b1;
      s20 += subgroupBroadcast(a2.z, 4u) * b2;
      s20 += subgroupBroadcast(a2.w, 4u) * b3;
      s21 += subgroupBroadcast(a2.x, 5u) * b0;
      s21 += subgroupBroadcast(a2.y, 5u) * b1;
      s21 += subgroupBroadcast(a2.z, 5u) * b2;
      s21 += subgroupBroadcast(a2.w, 5u) * b3;
    }
  } else {
    let have = row + 8u + member < rows;
    for (var k = 0u; k < 512u; k++) {
      let b0 = right[rightStart + (4u * k) * 128u + c];
      let b1 = right[rightStart + (4u * k + 1u) * 128u + c];
      let b2 = right[rightStart + (4u * k + 2u) * 128u + c];
      let b3 = right[rightStart + (4u * k + 3u) * 128u + c];
      let a0 = left[l0 + k];
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
      var a1 = vec4f(); if (have) { a1 = left[l1 + k]; }
      s8 += subgroupBroadcast(a1.x, 0u) * b0;
      s8 += subgroupBroadcast(a1.y, 0u) * b1;
      s8 += subgroupBroadcast(a1.z, 0u) * b2;
      s8 += subgroupBroadcast(a1.w, 0u) * b3;
      s9 += subgroupBroadcast(a1.x, 1u) * b0;
      s9 += subgroupBroadcast(a1.y, 1u) * b1;
      s9 += subgroupBroadcast(a1.z, 1u) * b2;
      s9 += subgroupBroadcast(a1.w, 1u) * b3;
      s10 += subgroupBroadcast(a1.x, 2u) * b0;
      s10 += subgroupBroadcast(a1.y, 2u) * b1;
      s10 += subgroupBroadcast(a1.z, 2u) * b2;
      s10 += subgroupBroadcast(a1.w, 2u) * b3;
      s11 += subgroupBroadcast(a1.x, 3u) * b0;
      s11 += subgroupBroadcast(a1.y, 3u) * b1;
      s11 += subgroupBroadcast(a1.z, 3u) * b2;
      s11 += subgroupBroadcast(a1.w, 3u) * b3;
      s12 += subgroupBroadcast(a1.x, 4u) * b0;
      s12 += subgroupBroadcast(a1.y, 4u) * b1;
      s12 += subgroupBroadcast(a1.z, 4u) * b2;
      s12 += subgroupBroadcast(a1.w, 4u) * b3;
      s13 += subgroupBroadcast(a1.x, 5u) * b0;
      s13 += subgroupBroadcast(a1.y, 5u) * b1;
      s13 += subgroupBroadcast(a1.z, 5u) * b2;
      s13 += subgroupBroadcast(a1.w, 5u) * b3;
      s14 += subgroupBroadcast(a1.x, 6u) * b0;
      s14 += subgroupBroadcast(a1.y, 6u) * b1;
      s14 += subgroupBroadcast(a1.z, 6u) * b2;
      s14 += subgroupBroadcast(a1.w, 6u) * b3;
      s15 += subgroupBroadcast(a1.x, 7u) * b0;
      s15 += subgroupBroadcast(a1.y, 7u) * b1;
      s15 += subgroupBroadcast(a1.z, 7u) * b2;
      s15 += subgroupBroadcast(a1.w, 7u) * b3;
    }
  }
  if (column >= 128u) { return; }
  var sums = array(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15, s16, s17, s18, s19, s20, s21);
  for (var i = 0u; i < 22u; i++) {
    let r = row + i;
    if (r >= rows) { break; }
    let s = sums[i];
    result[(first + r) * 128u + c] = bfloat4(s + bias[biasStart + c]);
  }
}

// combine: 6400 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> outputs: array<vec4f>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 51200u) { return; }
  let token = i / 128u;
  var sum = vec4f();
  for (var choice = token * 2u; choice < (token + 1u) * 2u; choice++) {
    let row = places[choice];
    let isKept = row != 0xffffffffu;
    if (isKept) { sum += weights[choice] * outputs[row * 128u + i % 128u]; }
  }
  result[i] = sum;
}
