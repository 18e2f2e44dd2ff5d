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
var<workgroup> counts: array<atomic<u32>, 8>;
var<workgroup> own: array<u32, 8>;
var<workgroup> ahead: array<atomic<u32>, 8>;
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
  for (var t = part; t < 400u; t += 32u) {
    let there = t;
    let theirs = urgency[(group.y * 400u + there) * 2u];
    let other0 = theirs;
    let isFirst0 = other0 > urgent || (other0 == urgent && t < token);
    for (var c = 0u; c < 2u; c++) {
      let chosen = choices[base + there * 2u + c];
      let chosen0 = chosen;
      count += select(0u, 1u, chosen0 == expert && (c < mine || (c == mine && isFirst0)));
    }
  }
  atomicAdd(&ahead[lane / 32u], count);
  let begin = group.y * 800u;
  const groups = 1u;
  for (var i = lane; i < groups * 800u; i += 256u) {
    let expert = choices[begin + i];
    if (expert >= 0 && i % 2u < most) { atomicAdd(&counts[u32(expert)], 1u); }
  }
  workgroupBarrier();
  for (var e = lane; e < 8u; e += 256u) { own[e] = min(atomicLoad(&counts[e]), room); }
  workgroupBarrier();
  for (var slot = id.x; slot < 864u; slot += 25600u) {
    if (slot % 108u >= own[slot / 108u]) { tokens[buffers + slot] = -1; }
  }
  if (part > 0u || one >= 800u) { return; }
  let place = select(room, atomicLoad(&ahead[lane / 32u]), expert >= 0 && mine < most);
  let kept = place < room;
  slots[base + i] = select(-1, expert * 108 + i32(place), kept);
  if (kept) {
    tokens[buffers + u32(expert) * 108u + place] = i32(token);
  }
}
