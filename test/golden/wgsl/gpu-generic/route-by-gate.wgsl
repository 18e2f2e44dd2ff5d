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

// seat tokens: 4 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> choices: array<i32>;
@group(0) @binding(1) var<storage, read> urgency: array<f32>;
@group(0) @binding(2) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(3) var<storage, read_write> slots: array<i32>;
var<workgroup> counts: array<atomic<u32>, 8>;
var<workgroup> own: array<u32, 8>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
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
  let i = id.x;
  if (i >= 800u) { return; }
  let token = i / 2u;
  let expert = choices[base + i];
  var place = room;
  if (expert >= 0 && i % 2u < most) {
    place = 0u;
    let urgent = urgency[(group.y * 400u + token) * 2u];
    for (var t = 0u; t < 400u; t++) {
      let other = urgency[(group.y * 400u + t) * 2u];
      let isFirst = other > urgent || (other == urgent && t < token);
      // Of each token the choices before this one's place count, and that at the same place where it is served first.
      let end = i % 2u + select(0u, 1u, isFirst);
      for (var c = 0u; c < end; c++) {
        place += select(0u, 1u, choices[base + t * 2u + c] == expert);
      }
    }
  }
  let kept = place < room;
  slots[base + i] = select(-1, expert * 108 + i32(place), kept);
  if (kept) {
    tokens[buffers + u32(expert) * 108u + place] = i32(token);
  }
}
