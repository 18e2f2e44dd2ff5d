// linear: 32 x 1 x 1 workgroups
@group(0) @binding(0) var<storage, read> left: array<vec4f>;
@group(0) @binding(1) var<storage, read> right: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
var<workgroup> held: array<vec4f, 704>;
@compute @workgroup_size(8, 2, 8)
fn main(@builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let row0 = group.y * 8u;
  let column0 = group.x * 8u;
  let leftRow0_0 = min(row0 + lane / 16u * 4u, 0u) * 128u;
  let leftRow0_1 = min(row0 + lane / 16u * 4u + 1u, 0u) * 128u;
  let leftRow0_2 = min(row0 + lane / 16u * 4u + 2u, 0u) * 128u;
  let leftRow0_3 = min(row0 + lane / 16u * 4u + 3u, 0u) * 128u;
  var left0_0 = vec4f();
  var left0_1 = vec4f();
  var left0_2 = vec4f();
  var left0_3 = vec4f();
  let rightColumn0 = min(column0 + lane % 8u, 249u);
  var right0 = vec4f();
  let rightColumn1 = min(column0 + (lane + 128u) % 8u, 249u);
  var right1 = vec4f();
  let rightColumn2 = min(column0 + (lane + 256u) % 8u, 249u);
  var right2 = vec4f();
  let rightColumn3 = min(column0 + (lane + 384u) % 8u, 249u);
  var right3 = vec4f();
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  const begin = 0u;
  const end = 128u;
  for (var k0 = begin; k0 < end + 16u; k0 += 16u) {
    if (k0 < end) {
      if (lane < 32u) {
        let k = k0 + lane % 16u;
        left0_0 = left[leftRow0_0 + k];
        left0_1 = left[leftRow0_1 + k];
        left0_2 = left[leftRow0_2 + k];
        left0_3 = left[leftRow0_3 + k];
      }
      {
        let k = 4u * k0 + lane / 8u;
        right0 = right[k * 250u + rightColumn0];
      }
      {
        let k = 4u * k0 + (lane + 128u) / 8u;
        right1 = right[k * 250u + rightColumn1];
      }
      {
        let k = 4u * k0 + (lane + 256u) / 8u;
        right2 = right[k * 250u + rightColumn2];
      }
      {
        let k = 4u * k0 + (lane + 384u) / 8u;
        right3 = right[k * 250u + rightColumn3];
      }
    }
    if (k0 > begin) {
      for (var i = 0u; i < 8u; i++) {
        let k = local.z * 8u + i;
        let b0 = held[k * 8u + local.x + 192u];
        let a0 = held[k * 3u + local.y];
        s0 = fma(vec4f(a0.x), b0, s0);
        s1 = fma(vec4f(a0.y), b0, s1);
        s2 = fma(vec4f(a0.z), b0, s2);
        s3 = fma(vec4f(a0.w), b0, s3);
      }
    }
    workgroupBarrier();
    if (k0 < end) {
      if (lane < 32u) {
        held[(lane % 16u * 4u) * 3u + lane / 16u] = vec4f(left0_0.x, left0_1.x, left0_2.x, left0_3.x);
        held[(lane % 16u * 4u + 1u) * 3u + lane / 16u] = vec4f(left0_0.y, left0_1.y, left0_2.y, left0_3.y);
        held[(lane % 16u * 4u + 2u) * 3u + lane / 16u] = vec4f(left0_0.z, left0_1.z, left0_2.z, left0_3.z);
        held[(lane % 16u * 4u + 3u) * 3u + lane / 16u] = vec4f(left0_0.w, left0_1.w, left0_2.w, left0_3.w);
      }
      {
        held[lane + 192u] = right0;
      }
      {
        held[lane + 320u] = right1;
      }
      {
        held[lane + 448u] = right2;
      }
      {
        held[lane + 576u] = right3;
      }
    }
    workgroupBarrier();
  }
  if (local.z >= 4u && local.z < 8u) {
    held[((local.z - 4u) * 4u) * 16u + lane % 16u] = s0;
    held[((local.z - 4u) * 4u + 1u) * 16u + lane % 16u] = s1;
    held[((local.z - 4u) * 4u + 2u) * 16u + lane % 16u] = s2;
    held[((local.z - 4u) * 4u + 3u) * 16u + lane % 16u] = s3;
  }
  workgroupBarrier();
  if (local.z < 4u) {
    s0 += held[(local.z * 4u) * 16u + lane % 16u];
    s1 += held[(local.z * 4u + 1u) * 16u + lane % 16u];
    s2 += held[(local.z * 4u + 2u) * 16u + lane % 16u];
    s3 += held[(local.z * 4u + 3u) * 16u + lane % 16u];
  }
  workgroupBarrier();
  if (local.z >= 2u && local.z < 4u) {
    held[((local.z - 2u) * 4u) * 16u + lane % 16u] = s0;
    held[((local.z - 2u) * 4u + 1u) * 16u + lane % 16u] = s1;
    held[((local.z - 2u) * 4u + 2u) * 16u + lane % 16u] = s2;
    held[((local.z - 2u) * 4u + 3u) * 16u + lane % 16u] = s3;
  }
  workgroupBarrier();
  if (local.z < 2u) {
    s0 += held[(local.z * 4u) * 16u + lane % 16u];
    s1 += held[(local.z * 4u + 1u) * 16u + lane % 16u];
    s2 += held[(local.z * 4u + 2u) * 16u + lane % 16u];
    s3 += held[(local.z * 4u + 3u) * 16u + lane % 16u];
  }
  workgroupBarrier();
  if (local.z >= 1u && local.z < 2u) {
    held[((local.z - 1u) * 4u) * 16u + lane % 16u] = s0;
    held[((local.z - 1u) * 4u + 1u) * 16u + lane % 16u] = s1;
    held[((local.z - 1u) * 4u + 2u) * 16u + lane % 16u] = s2;
    held[((local.z - 1u) * 4u + 3u) * 16u + lane % 16u] = s3;
  }
  workgroupBarrier();
  if (local.z < 1u) {
    s0 += held[(local.z * 4u) * 16u + lane % 16u];
    s1 += held[(local.z * 4u + 1u) * 16u + lane % 16u];
    s2 += held[(local.z * 4u + 2u) * 16u + lane % 16u];
    s3 += held[(local.z * 4u + 3u) * 16u + lane % 16u];
  }
  if (local.z > 0u) { return; }
  if (row0 + 4u * local.y < 1u) {
    let m = row0 + 4u * local.y;
    let c0 = column0 + local.x;
    if (c0 < 250u) {
      result[m * 250u + c0] = s0 + bias[c0];
    }
  }
  if (row0 + 4u * local.y + 1u < 1u) {
    let m = row0 + 4u * local.y + 1u;
    let c0 = column0 + local.x;
    if (c0 < 250u) {
      result[m * 250u + c0] = s1 + bias[c0];
    }
  }
  if (row0 + 4u * local.y + 2u < 1u) {
    let m = row0 + 4u * local.y + 2u;
    let c0 = column0 + local.x;
    if (c0 < 250u) {
      result[m * 250u + c0] = s2 + bias[c0];
    }
  }
  if (row0 + 4u * local.y + 3u < 1u) {
    let m = row0 + 4u * local.y + 3u;
    let c0 = column0 + local.x;
    if (c0 < 250u) {
      result[m * 250u + c0] = s3 + bias[c0];
    }
  }
}
