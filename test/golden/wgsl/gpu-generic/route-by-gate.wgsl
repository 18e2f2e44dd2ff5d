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

// order: 7 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read_write> order: array<i32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 400u) { return; }
  let base = i - i % 400u;
  let own = weights[i * 2u];
  var rank = 0u;
  for (var t = 0u; t < 400u; t++) {
    let other = weights[(base + t) * 2u];
    rank += select(0u, 1u, other > own || (other == own && t < i % 400u));
  }
  order[base + rank] = i32(i % 400u);
}

// assign_slots: 1 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> choices: array<i32>;
@group(0) @binding(1) var<storage, read> order: array<i32>;
@group(0) @binding(2) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(3) var<storage, read_write> slots: array<i32>;
@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let base = group.x * 800u;
  for (var expert = lane; expert < 8u; expert += 8u) {
    let buffer = (group.x * 8u + expert) * 108u;
    var place = 0u;
    for (var j = 0u; j < 2u; j++) {
      for (var i = 0u; i < 400u; i++) {
        let token = u32(order[group.x * 400u + i]);
        let choice = base + token * 2u + j;
        if (choices[choice] == i32(expert)) {
          if (place < 108u) {
            tokens[buffer + place] = i32(token);
            slots[choice] = i32(expert * 108u + place);
            place++;
          } else { slots[choice] = -1; }
        }
      }
    }
    for (; place < 108u; place++) { tokens[buffer + place] = -1; }
  }
  for (var i = lane; i < 800u; i += 8u) {
    if (choices[base + i] < 0) { slots[base + i] = -1; }
  }
}
