// linear + gelu: 32 x 13 x 1 workgroups
enable f16;
enable subgroups;
enable subgroup_size_control;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
fn gelu4(x: vec4f) -> vec4f {
  let bend = 0.7978845834732056f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + tanh(clamp(bend, vec4f(-10.0f), vec4f(10.0f))));
}
fn epilogue(v: vec4f, i: u32) -> vec4f {
  let t0 = gelu4(v);
  return t0;
}
var<workgroup> leftTile: array<vec4<f16>, 192>;
var<workgroup> rightTile: array<vec4<f16>, 288>;
var<workgroup> resultTile: array<vec4f, 256>;
@compute @workgroup_size(128) @subgroup_size(32)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u, @builtin(subgroup_id) subgroup: u32) {
  let row0 = group.y * 32u;
  let column0 = group.x * 16u;
  let ownRow = subgroup / 2u * 16u;
  let ownColumn = subgroup % 2u * 8u;
  var sums: array<subgroup_matrix_result<f32, 16, 16>, 2>;
  const begin = 0u;
  const end = 128u;
  for (var k0 = begin; k0 < end; k0 += 4u) {
    var left0 = vec4f();
    {
      let r = row0 + lane / 4u;
      let k = k0 + lane % 4u;
      if (r < 400u) { left0 = left[r * 128u + k]; }
    }
    var right0 = vec4f();
    {
      let k = 4u * k0 + lane / 16u;
      let c = column0 + lane % 16u;
      right0 = right[k * 512u + c];
    }
    var right1 = vec4f();
    {
      let k = 4u * k0 + (lane + 128u) / 16u;
      let c = column0 + (lane + 128u) % 16u;
      right1 = right[k * 512u + c];
    }
    leftTile[lane + lane / 4u * 2u] = vec4<f16>(left0);
    rightTile[lane + lane / 16u * 2u] = vec4<f16>(right0);
    rightTile[(lane + 128u) + (lane + 128u) / 16u * 2u] = vec4<f16>(right1);
    workgroupBarrier();
    let b0_0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&rightTile, 0u + ownColumn, 18u);
    let b0_1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&rightTile, 4u + ownColumn, 18u);
    let a0_0 = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&leftTile, ownRow * 6u + 0u, 6u);
    sums[0] = subgroupMatrixMultiplyAccumulate(a0_0, b0_0, sums[0]);
    sums[1] = subgroupMatrixMultiplyAccumulate(a0_0, b0_1, sums[1]);
    workgroupBarrier();
  }
  subgroupMatrixStore<row_major>(&resultTile, subgroup * 64u, sums[0], 4u);
  workgroupBarrier();
  for (var i = lane; i < 256u; i += 128u) {
    let r = row0 + i / 64u / 2u * 16u + i % 64u / 4u + 0u;
    let c = column0 + i / 64u % 2u * 8u + i % 4u + 0u;
    if (r < 400u && c < 512u) {
      let m = r;
      let s = resultTile[i];
      result[m * 512u + c] = epilogue(s + bias[c], m * 512u + c);
    }
  }
  workgroupBarrier();
  subgroupMatrixStore<row_major>(&resultTile, subgroup * 64u, sums[1], 4u);
  workgroupBarrier();
  for (var i = lane; i < 256u; i += 128u) {
    let r = row0 + i / 64u / 2u * 16u + i % 64u / 4u + 0u;
    let c = column0 + i / 64u % 2u * 8u + i % 4u + 4u;
    if (r < 400u && c < 512u) {
      let m = r;
      let s = resultTile[i];
      result[m * 512u + c] = epilogue(s + bias[c], m * 512u + c);
    }
  }
  workgroupBarrier();
}
