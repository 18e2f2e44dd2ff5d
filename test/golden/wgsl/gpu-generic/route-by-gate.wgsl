// gate: 7 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> choices: array<i32>;
@compute @workgroup_size(64)
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

// seat tokens: 100 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> choices: array<i32>;
@group(0) @binding(1) var<storage, read> urgency: array<f32>;
@group(0) @binding(2) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(3) var<storage, read_write> slots: array<i32>;
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
  if (part > 0u || one >= 800u) { return; }
  var served = 0u;
  for (var j = 0u; j < 32u; j++) { served += ahead[lane + j]; }
  let place = select(room, served, expert >= 0 && mine < most);
  let kept = place < room;
  slots[base + i] = select(-1, expert * 108 + i32(place), kept);
  if (kept) {
    tokens[buffers + u32(expert) * 108u + place] = i32(token);
  }
}
