// list expert rows: 1 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> tokens: array<i32>;
@group(0) @binding(1) var<storage, read_write> sources: array<u32>;
@group(0) @binding(2) var<storage, read_write> places: array<u32>;
@group(0) @binding(3) var<storage, read_write> tiles: array<vec4u>;
var<workgroup> counts: array<u32, 8>;
@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32) {
  for (var e = lane; e < 8u; e += 8u) {
    var count = 0u;
    for (var g = 0u; g < 1u; g++) {
      for (var c = 0u; c < 108u; c++) {
        count += select(0u, 1u, tokens[(g * 8u + e) * 108u + c] >= 0);
      }
    }
    counts[e] = count;
  }
  workgroupBarrier();
  for (var e = lane; e < 8u; e += 8u) {
    var row = 0u;
    var tile = 0u;
    for (var before = 0u; before < e; before++) {
      row += counts[before];
      tile += (counts[before] + 31u) / 32u;
    }
    for (var first = 0u; first < counts[e]; first += 32u) {
      tiles[tile] = vec4u(e, row + first, min(32u, counts[e] - first), 0u);
      tile++;
    }
    for (var g = 0u; g < 1u; g++) {
      for (var c = 0u; c < 108u; c++) {
        let slot = (g * 8u + e) * 108u + c;
        let token = tokens[slot];
        if (token >= 0) {
          sources[row] = g * 400u + u32(token);
          places[slot] = row;
          row++;
        }
      }
    }
    if (e == 7u) {
      for (; tile < 32u; tile++) { tiles[tile] = vec4u(); }
    }
  }
}

// round tokens: 3200 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> items: array<f32>;
fn bfloat(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>((bits + 0x7fffu + ((bits >> u32(16u)) & u32(1u))) & u32(0xffff0000u));
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 204800u) { return; }
  items[i] = bfloat(x[i]);
}

// experts, first layer: 64 x 32 x 1 workgroups
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
var<workgroup> leftTile: array<vec4f, 256>;
var<workgroup> rightTile: array<vec4f, 256>;
@compute @workgroup_size(8, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let tile = tiles[group.y];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row0 = 0u;
  let column0 = group.x * 8u;
  let rightStart = tile.x * 262144u;
  let biasStart = tile.x * 512u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var k0 = 0u; k0 < 128u; k0 += 8u) {
    for (var i = lane; i < 256u; i += 64u) {
      let r = row0 + i / 8u;
      let k = k0 + i % 8u;
      var v = vec4f();
      if (r < rows) { v = left[sources[first + r] * 128u + k]; }
      leftTile[i] = v;
    }
    for (var i = lane; i < 256u; i += 64u) {
      let k = 4u * k0 + i / 8u;
      let c = column0 + i % 8u;
      let v = right[rightStart + k * 512u + c];
      rightTile[i] = v;
    }
    workgroupBarrier();
    for (var q = 0u; q < 8u; q++) {
      let b0 = rightTile[4u * q * 8u + local.x];
      let b1 = rightTile[(4u * q + 1u) * 8u + local.x];
      let b2 = rightTile[(4u * q + 2u) * 8u + local.x];
      let b3 = rightTile[(4u * q + 3u) * 8u + local.x];
      let a0 = leftTile[(local.y * 4u) * 8u + q];
      s0 += a0.x * b0 + a0.y * b1 + a0.z * b2 + a0.w * b3;
      let a1 = leftTile[(local.y * 4u + 1u) * 8u + q];
      s1 += a1.x * b0 + a1.y * b1 + a1.z * b2 + a1.w * b3;
      let a2 = leftTile[(local.y * 4u + 2u) * 8u + q];
      s2 += a2.x * b0 + a2.y * b1 + a2.z * b2 + a2.w * b3;
      let a3 = leftTile[(local.y * 4u + 3u) * 8u + q];
      s3 += a3.x * b0 + a3.y * b1 + a3.z * b2 + a3.w * b3;
    }
    workgroupBarrier();
  }
  if (row0 + local.y * 4u < rows) {
    let m = first + row0 + local.y * 4u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s0 + bias[biasStart + c0]);
    }
  }
  if (row0 + local.y * 4u + 1u < rows) {
    let m = first + row0 + local.y * 4u + 1u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s1 + bias[biasStart + c0]);
    }
  }
  if (row0 + local.y * 4u + 2u < rows) {
    let m = first + row0 + local.y * 4u + 2u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s2 + bias[biasStart + c0]);
    }
  }
  if (row0 + local.y * 4u + 3u < rows) {
    let m = first + row0 + local.y * 4u + 3u;
    let c0 = column0 + local.x;
    if (c0 < 512u) {
      result[m * 512u + c0] = gelu4(s3 + bias[biasStart + c0]);
    }
  }
}

// experts, second layer: 16 x 32 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
fn bfloat4(x: vec4f) -> vec4f {
  let bits = bitcast<vec4u>(x);
  return bitcast<vec4f>((bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u));
}
var<workgroup> leftTile: array<vec4f, 256>;
var<workgroup> rightTile: array<vec4f, 256>;
@compute @workgroup_size(8, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let tile = tiles[group.y];
  if (tile.z == 0u) { return; }
  let first = tile.y;
  let rows = tile.z;
  let row0 = 0u;
  let column0 = group.x * 8u;
  let rightStart = tile.x * 262144u;
  let biasStart = tile.x * 128u;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var k0 = 0u; k0 < 512u; k0 += 8u) {
    for (var i = lane; i < 256u; i += 64u) {
      let r = row0 + i / 8u;
      let k = k0 + i % 8u;
      var v = vec4f();
      if (r < rows) { v = left[(first + r) * 512u + k]; }
      leftTile[i] = v;
    }
    for (var i = lane; i < 256u; i += 64u) {
      let k = 4u * k0 + i / 8u;
      let c = column0 + i % 8u;
      let v = right[rightStart + k * 128u + c];
      rightTile[i] = v;
    }
    workgroupBarrier();
    for (var q = 0u; q < 8u; q++) {
      let b0 = rightTile[4u * q * 8u + local.x];
      let b1 = rightTile[(4u * q + 1u) * 8u + local.x];
      let b2 = rightTile[(4u * q + 2u) * 8u + local.x];
      let b3 = rightTile[(4u * q + 3u) * 8u + local.x];
      let a0 = leftTile[(local.y * 4u) * 8u + q];
      s0 += a0.x * b0 + a0.y * b1 + a0.z * b2 + a0.w * b3;
      let a1 = leftTile[(local.y * 4u + 1u) * 8u + q];
      s1 += a1.x * b0 + a1.y * b1 + a1.z * b2 + a1.w * b3;
      let a2 = leftTile[(local.y * 4u + 2u) * 8u + q];
      s2 += a2.x * b0 + a2.y * b1 + a2.z * b2 + a2.w * b3;
      let a3 = leftTile[(local.y * 4u + 3u) * 8u + q];
      s3 += a3.x * b0 + a3.y * b1 + a3.z * b2 + a3.w * b3;
    }
    workgroupBarrier();
  }
  if (row0 + local.y * 4u < rows) {
    let m = first + row0 + local.y * 4u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[m * 128u + c0] = bfloat4(s0 + bias[biasStart + c0]);
    }
  }
  if (row0 + local.y * 4u + 1u < rows) {
    let m = first + row0 + local.y * 4u + 1u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[m * 128u + c0] = bfloat4(s1 + bias[biasStart + c0]);
    }
  }
  if (row0 + local.y * 4u + 2u < rows) {
    let m = first + row0 + local.y * 4u + 2u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[m * 128u + c0] = bfloat4(s2 + bias[biasStart + c0]);
    }
  }
  if (row0 + local.y * 4u + 3u < rows) {
    let m = first + row0 + local.y * 4u + 3u;
    let c0 = column0 + local.x;
    if (c0 < 128u) {
      result[m * 128u + c0] = bfloat4(s3 + bias[biasStart + c0]);
    }
  }
}

// combine: 800 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> outputs: array<vec4f>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read> slots: array<i32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x;
  if (i >= 51200u) { return; }
  let token = i / 128u;
  var sum = vec4f();
  for (var choice = token * 2u; choice < (token + 1u) * 2u; choice++) {
    let slot = slots[choice];
    let isKept = slot >= 0;
    let row = places[(token / 400u) * 864u + u32(max(slot, 0))];
    if (isKept) { sum += weights[choice] * outputs[row * 128u + i % 128u]; }
  }
  result[i] = sum;
}
