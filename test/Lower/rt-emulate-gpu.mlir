// RUN: caat-opt %s --rt-kernels-to-gpu --rt-emulate-gpu --canonicalize | FileCheck %s

// A thread of a kernel is a function, whose arguments are in slots; what concerns several threads is a call.

#row = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[] : memref<512xf32>
    %y = rt.buffer 1[] : memref<f32>
    rt.launch @sum grid(%n) buffers(%x, %y : memref<512xf32>, memref<f32>) dims()
    return
  }
  func.func private @sum(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %yp: memref<f32> {llvm.noalias}) {
    %c1 = arith.constant 1 : index
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [512], strides: [1] : memref<f32> to memref<512xf32, strided<[1]>>
    scf.for %row = %begin to %end step %c1 {
      linalg.generic {indexing_maps = [#row, #none], iterator_types = ["reduction"]} ins(%x : memref<512xf32, strided<[1]>>) outs(%yp : memref<f32>) {
      ^bb0(%a: f32, %s: f32):
        %t = arith.addf %s, %a fastmath<reassoc> : f32
        linalg.yield %t : f32
      }
    }
    return
  }
}

// CHECK: func.func private @caat_emulate((i64, i64, i64, i64) -> (), i64, i64, i64, i64)
// CHECK: func.func private @sum(%{{.*}}: index, %[[ROWS:.*]]: index, %[[X:.*]]: memref<f32>, %{{.*}}: memref<f32>)
// CHECK-DAG: %[[FUNCTION:.*]] = constant @sum_thread
// CHECK-DAG: memref.alloca() : memref<3xi64>
// CHECK:   memref.extract_aligned_pointer_as_index %[[X]]
// CHECK:   call @caat_emulate(%[[FUNCTION]], %{{.*}}, %{{.*}}, %c64_i64, %c512_i64)
// CHECK-NOT: gpu.
// CHECK: func.func private @sum_thread(%[[AT:.*]]: i64, %[[THREAD:.*]]: i64, %[[BLOCK:.*]]: i64, %[[SHARED:.*]]: i64)
// CHECK:   call @sum_body(%{{.*}}, %{{.*}}, %{{.*}}, %[[THREAD]], %[[BLOCK]], %[[SHARED]])

// What one thread may take for granted of its buffers is what a thread on the GPU may.
// CHECK: func.func private @sum_body(%{{.*}}: memref<f32> {llvm.noalias}, %{{.*}}: memref<f32>, %{{.*}}: index, %{{.*}}: i64, %{{.*}}: i64, %[[SHARED_AT:.*]]: i64)
// CHECK:   llvm.inttoptr %[[SHARED_AT]]
// CHECK:   call @caat_emulate_shuffle
// CHECK:   call @caat_emulate_barrier
