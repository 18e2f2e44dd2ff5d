// gate: 50 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> choices: array<i32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 400u) { return; }
  var gates: array<f32, 8>;
  var largest = -3.402823e38f;
  for (var e = 0u; e < 8u; e++) { largest = max(largest, logits[i * 8u + e]); }
  var total = 0.0f;
  for (var e = 0u; e < 8u; e++) {
    gates[e] = exp(logits[i * 8u + e] - largest);
    total += gates[e];
  }
  for (var e = 0u; e < 8u; e++) { gates[e] /= total; }
  // Gates are compared as they are, after the softmax; of equal ones the lower expert comes first.
  for (var j = 0u; j < 2u; j++) {
    var best = 0u;
    var gate = -1.0f;
    for (var e = 0u; e < 8u; e++) {
      if (gates[e] > gate) { best = e; gate = gates[e]; }
    }
    weights[i * 2u + j] = gate;
    choices[i * 2u + j] = i32(best);
    gates[best] = -1.0f;
  }
}

// seat tokens: 4 x 1 x 1 workgroups
enable subgroups;
@group(0) @binding(0) var<storage, read> choices: array<i32>;
@group(0) @binding(1) var<storage, read> urgency: array<f32>;
@group(0) @binding(2) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(3) var<storage, read_write> slots: array<i32>;
var<workgroup> counts: array<atomic<u32>, 8>;
var<workgroup> own: array<u32, 8>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) member: u32) {
  const most = 2u;
  const room = 108u;
  let begin = group.y * 800u;
  const groups = 1u;
  for (var i = lane; i < groups * 800u; i += 256u) {
    let expert = choices[begin + i];
    if (expert >= 0 && i % 2u < most) { atomicAdd(&counts[u32(expert)], 1u); }
  }
  workgroupBarrier();
  for (var e = lane; e < 8u; e += 256u) { own[e] = min(atomicLoad(&counts[e]), room); }
  workgroupBarrier();
  let base = group.y * 800u;
  let buffers = group.y * 864u;
  for (var slot = id.x; slot < 864u; slot += 1024u) {
    if (slot % 108u >= own[slot / 108u]) { tokens[buffers + slot] = -1; }
  }
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
  if (kept) {
    tokens[buffers + u32(expert) * 108u + place] = i32(token);
  }
}
