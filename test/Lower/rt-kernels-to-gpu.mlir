// RUN: caat-opt %s -split-input-file --rt-kernels-to-gpu --canonicalize --cse --verify-diagnostics | FileCheck %s

// A residual sum and the norm of it, 4096 wide: the block's threads share the elements, four neighbours at a time, each keeps its
// own in registers, and only the sum of squares meets in the middle. The buffer of one element is kept by every thread.

#row = affine_map<(d0, d1) -> (d0, d1)>
#sum = affine_map<(d0, d1) -> (d0)>
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[%n] : memref<?x4096xf32>
    %r = rt.buffer 1[%n] : memref<?x4096xf32>
    %y = rt.buffer 2[%n] : memref<?x4096xf32>
    rt.launch @norm grid(%n) buffers(%x, %r, %y : memref<?x4096xf32>, memref<?x4096xf32>, memref<?x4096xf32>) dims(%n)
    return
  }
  func.func private @norm(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %rp: memref<f32> {llvm.noalias},
                          %yp: memref<f32> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %zero = arith.constant 0.0 : f32
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 4096], strides: [4096, 1] : memref<f32> to memref<?x4096xf32, strided<[4096, 1]>>
    %r = memref.reinterpret_cast %rp to offset: [0], sizes: [%n, 4096], strides: [4096, 1] : memref<f32> to memref<?x4096xf32, strided<[4096, 1]>>
    %y = memref.reinterpret_cast %yp to offset: [0], sizes: [%n, 4096], strides: [4096, 1] : memref<f32> to memref<?x4096xf32, strided<[4096, 1]>>
    %added = memref.alloca() : memref<1x4096xf32>
    %squares = memref.alloca() : memref<1xf32>
    scf.for %row = %begin to %end step %c1 {
      %xr = memref.subview %x[%row, 0] [1, 4096] [1, 1] : memref<?x4096xf32, strided<[4096, 1]>> to memref<1x4096xf32, strided<[4096, 1], offset: ?>>
      %rr = memref.subview %r[%row, 0] [1, 4096] [1, 1] : memref<?x4096xf32, strided<[4096, 1]>> to memref<1x4096xf32, strided<[4096, 1], offset: ?>>
      %yr = memref.subview %y[%row, 0] [1, 4096] [1, 1] : memref<?x4096xf32, strided<[4096, 1]>> to memref<1x4096xf32, strided<[4096, 1], offset: ?>>
      linalg.fill ins(%zero : f32) outs(%squares : memref<1xf32>)
      linalg.generic {indexing_maps = [#row, #row, #row], iterator_types = ["parallel", "parallel"]}
          ins(%xr, %rr : memref<1x4096xf32, strided<[4096, 1], offset: ?>>, memref<1x4096xf32, strided<[4096, 1], offset: ?>>) outs(%added : memref<1x4096xf32>) {
      ^bb0(%a: f32, %b: f32, %old: f32):
        %s = arith.addf %a, %b : f32
        linalg.yield %s : f32
      }
      linalg.generic {indexing_maps = [#row, #sum], iterator_types = ["parallel", "reduction"]}
          ins(%added : memref<1x4096xf32>) outs(%squares : memref<1xf32>) {
      ^bb0(%a: f32, %s: f32):
        %q = arith.mulf %a, %a : f32
        %t = arith.addf %s, %q fastmath<reassoc> : f32
        linalg.yield %t : f32
      }
      linalg.generic {indexing_maps = [#row, #sum, #row], iterator_types = ["parallel", "parallel"]}
          ins(%added, %squares : memref<1x4096xf32>, memref<1xf32>) outs(%yr : memref<1x4096xf32, strided<[4096, 1], offset: ?>>) {
      ^bb0(%a: f32, %s: f32, %old: f32):
        %i = math.rsqrt %s : f32
        %v = arith.mulf %a, %i : f32
        linalg.yield %v : f32
      }
    }
    return
  }
}

// CHECK-LABEL: module attributes {rt.device = "cuda"}
// CHECK: func.func private @norm(index, index, memref<f32>, memref<f32>, memref<f32>, index) attributes {rt.launch = {rows_per_block = 1 : i64, shared = 0 : i64, threads = 512 : i64}}
// What is written loses its noalias where threads meet: LLVM would not see what others write.
// CHECK: gpu.func @norm(%{{.*}}: memref<f32> {llvm.noalias}, %{{.*}}: memref<f32> {llvm.noalias}, %{{.*}}: memref<f32>, %{{.*}}: index, %{{.*}}: index)
// CHECK-SAME: workgroup(%{{.*}} : memref<512xi8, #gpu.address_space<workgroup>> {llvm.align = 16 : i64}) kernel attributes {known_block_size = array<i32: 512, 1, 1>}
// CHECK-DAG: %[[THREAD:.*]] = gpu.thread_id x upper_bound 512
// CHECK-DAG: %[[ROW:.*]] = gpu.block_id x
// CHECK: %[[SQUARES:.*]] = memref.alloca() : memref<1xf32>
// CHECK: memref.store %{{.*}}, %[[SQUARES]]
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<1x4096xf32, strided<[4096, 1], offset: ?>>, vector<4xf32>
// CHECK-NOT: vector.load
// CHECK-NOT: gpu.barrier
// CHECK: gpu.shuffle xor
// CHECK: gpu.barrier
// CHECK-NOT: vector.load
// CHECK-NOT: gpu.barrier
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<1x4096xf32, strided<[4096, 1], offset: ?>>, vector<4xf32>
// CHECK: vector.store
// CHECK-NOT: vector.store
// CHECK: gpu.return

// -----

// Rows of a few elements take a warp each. A row that one thread computes alone (each step needs the one before) is not
// divided: nothing is shared, and no thread waits.

#row = affine_map<(d0, d1) -> (d0, d1)>
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[%n] : memref<?x64xf32>
    rt.launch @negate grid(%n) buffers(%x : memref<?x64xf32>) dims(%n)
    rt.launch @scan grid(%n) buffers(%x : memref<?x64xf32>) dims(%n)
    return
  }
  func.func private @negate(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 64], strides: [64, 1] : memref<f32> to memref<?x64xf32, strided<[64, 1]>>
    scf.for %row = %begin to %end step %c1 {
      %xr = memref.subview %x[%row, 0] [1, 64] [1, 1] : memref<?x64xf32, strided<[64, 1]>> to memref<1x64xf32, strided<[64, 1], offset: ?>>
      linalg.generic {indexing_maps = [#row], iterator_types = ["parallel", "parallel"]} outs(%xr : memref<1x64xf32, strided<[64, 1], offset: ?>>) {
      ^bb0(%a: f32):
        %v = arith.negf %a : f32
        linalg.yield %v : f32
      }
    }
    return
  }
  func.func private @scan(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %n: index) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c63 = arith.constant 63 : index
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 64], strides: [64, 1] : memref<f32> to memref<?x64xf32, strided<[64, 1]>>
    scf.for %row = %begin to %end step %c1 {
      scf.for %i = %c0 to %c63 step %c1 {
        %next = arith.addi %i, %c1 : index
        %a = memref.load %x[%row, %i] : memref<?x64xf32, strided<[64, 1]>>
        %b = memref.load %x[%row, %next] : memref<?x64xf32, strided<[64, 1]>>
        %s = arith.addf %a, %b : f32
        memref.store %s, %x[%row, %next] : memref<?x64xf32, strided<[64, 1]>>
      }
    }
    return
  }
}

// CHECK-LABEL: module attributes {rt.device = "cuda"}
// CHECK: func.func private @negate{{.*}} {rt.launch = {rows_per_block = 4 : i64, shared = 0 : i64, threads = 128 : i64}}
// CHECK: func.func private @scan{{.*}} {rt.launch = {rows_per_block = 128 : i64, shared = 0 : i64, threads = 128 : i64}}
// CHECK: gpu.func @negate(%{{.*}}: memref<f32> {llvm.noalias},
// CHECK:   %[[INSIDE:.*]] = arith.cmpi ult
// CHECK:   scf.if %[[INSIDE]] {
// CHECK:     %[[HAS:.*]] = arith.cmpi ult, %{{.*}}, %c16
// CHECK:     scf.if %[[HAS]]
// CHECK:       vector.load
// CHECK-COUNT-4: arith.negf
// CHECK:       vector.store
// CHECK: gpu.func @scan
// CHECK-NOT: nvvm.bar.warp.sync
// CHECK:   scf.for %{{.*}} = %c0 to %c63 step %c1
// CHECK:   gpu.return

// -----

// Rows of a width that four does not divide go element by element; rows that begin anywhere, as well, but each thread has
// four neighbours all the same.

#row = affine_map<(d0) -> (d0)>
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[%n] : memref<?xf32>
    %y = rt.buffer 1[] : memref<66xf32>
    rt.launch @odd grid(%n) buffers(%x, %y : memref<?xf32>, memref<66xf32>) dims(%n)
    return
  }
  func.func private @odd(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %yp: memref<f32> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n], strides: [1] : memref<f32> to memref<?xf32, strided<[1]>>
    %y = memref.reinterpret_cast %yp to offset: [0], sizes: [66], strides: [1] : memref<f32> to memref<66xf32, strided<[1]>>
    scf.for %row = %begin to %end step %c1 {
      %shifted = memref.subview %x[%row] [64] [1] : memref<?xf32, strided<[1]>> to memref<64xf32, strided<[1], offset: ?>>
      linalg.generic {indexing_maps = [#row], iterator_types = ["parallel"]} outs(%shifted : memref<64xf32, strided<[1], offset: ?>>) {
      ^bb0(%a: f32):
        %v = arith.negf %a : f32
        linalg.yield %v : f32
      }
      linalg.generic {indexing_maps = [#row], iterator_types = ["parallel"]} outs(%y : memref<66xf32, strided<[1]>>) {
      ^bb0(%a: f32):
        %v = math.absf %a : f32
        linalg.yield %v : f32
      }
    }
    return
  }
}

// CHECK-LABEL: module attributes {rt.device = "cuda"}
// CHECK: gpu.func @odd
// CHECK-NOT: vector.load
// CHECK: arith.cmpi ult, %{{.*}}, %c16
// CHECK-COUNT-4: memref.load
// CHECK-COUNT-4: arith.negf
// CHECK-COUNT-4: memref.store
// CHECK-COUNT-3: math.absf
// CHECK-NOT: math.absf

// -----

// A softmax in place: loops whose iterations are independent are divided, what they carry is combined over the team. The
// elements stay with their threads, so a warp waits for nothing else.

module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[%n] : memref<?x128xf32>
    rt.launch @softmax grid(%n) buffers(%x : memref<?x128xf32>) dims(%n)
    return
  }
  func.func private @softmax(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %n: index) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c128 = arith.constant 128 : index
    %zero = arith.constant 0.0 : f32
    %lowest = arith.constant 0xFF800000 : f32
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 128], strides: [128, 1] : memref<f32> to memref<?x128xf32, strided<[128, 1]>>
    scf.for %row = %begin to %end step %c1 {
      %max = scf.for %i = %c0 to %c128 step %c1 iter_args(%m = %lowest) -> f32 {
        %a = memref.load %x[%row, %i] : memref<?x128xf32, strided<[128, 1]>>
        %b = arith.maxnumf %a, %m : f32
        scf.yield %b : f32
      }
      %sum = scf.for %i = %c0 to %c128 step %c1 iter_args(%s = %zero) -> f32 {
        %a = memref.load %x[%row, %i] : memref<?x128xf32, strided<[128, 1]>>
        %b = arith.subf %a, %max : f32
        memref.store %b, %x[%row, %i] : memref<?x128xf32, strided<[128, 1]>>
        %t = arith.addf %s, %b fastmath<reassoc> : f32
        scf.yield %t : f32
      }
      scf.for %i = %c0 to %c128 step %c1 {
        %a = memref.load %x[%row, %i] : memref<?x128xf32, strided<[128, 1]>>
        %b = arith.divf %a, %sum : f32
        memref.store %b, %x[%row, %i] : memref<?x128xf32, strided<[128, 1]>>
      }
      // Only this one reads what others wrote.
      %first = memref.load %x[%row, %c0] : memref<?x128xf32, strided<[128, 1]>>
      memref.store %first, %x[%row, %c1] : memref<?x128xf32, strided<[128, 1]>>
    }
    return
  }
}

// CHECK-LABEL: module attributes {rt.device = "cuda"}
// CHECK: gpu.func @softmax
// CHECK:   scf.for {{.*}} to %c128 step %c32 iter_args
// CHECK:     arith.maxnumf
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK:   scf.for {{.*}} to %c128 step %c32 iter_args
// CHECK:     memref.store
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK-NOT: nvvm.bar.warp.sync
// CHECK:   scf.for {{.*}} to %c128 step %c32 {
// CHECK:   nvvm.bar.warp.sync
// CHECK:   memref.load
// CHECK:   nvvm.bar.warp.sync
// CHECK:   scf.if
// CHECK:     memref.store

// -----

// A sum without leave to change its order stays in one thread, which loads four terms at once.

#row = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[] : memref<512xf32>
    %y = rt.buffer 1[] : memref<f32>
    rt.launch @strict grid(%n) buffers(%x, %y : memref<512xf32>, memref<f32>) dims()
    return
  }
  func.func private @strict(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %yp: memref<f32> {llvm.noalias}) {
    %c1 = arith.constant 1 : index
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [512], strides: [1] : memref<f32> to memref<512xf32, strided<[1]>>
    scf.for %row = %begin to %end step %c1 {
      linalg.generic {indexing_maps = [#row], iterator_types = ["parallel"]} outs(%x : memref<512xf32, strided<[1]>>) {
      ^bb0(%a: f32):
        %v = arith.negf %a : f32
        linalg.yield %v : f32
      }
      linalg.generic {indexing_maps = [#row, #none], iterator_types = ["reduction"]} ins(%x : memref<512xf32, strided<[1]>>) outs(%yp : memref<f32>) {
      ^bb0(%a: f32, %s: f32):
        %t = arith.addf %s, %a : f32
        linalg.yield %t : f32
      }
    }
    return
  }
}

// CHECK-LABEL: module attributes {rt.device = "cuda"}
// CHECK: func.func private @strict{{.*}} {rt.launch = {rows_per_block = 1 : i64, shared = 0 : i64, threads = 64 : i64}}
// CHECK: gpu.func @strict
// CHECK: gpu.barrier
// CHECK: scf.if
// CHECK:   scf.for %{{.*}} = %c0 to %c512 step %c4 iter_args
// CHECK-NOT: gpu.shuffle

// -----

// A few sums over many elements: each is one warp's, the rest of the block waits behind them. What was filled before is
// read from memory by the op behind the sums, not from the registers of who filled it.

#row = affine_map<(d0, d1) -> (d0, d1)>
#sum = affine_map<(d0, d1) -> (d0)>
#one = affine_map<(d0) -> (d0)>
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[] : memref<4x4096xf32>
    %y = rt.buffer 1[] : memref<4xf32>
    rt.launch @sums grid(%n) buffers(%x, %y : memref<4x4096xf32>, memref<4xf32>) dims()
    return
  }
  func.func private @sums(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %yp: memref<f32> {llvm.noalias}) {
    %c1 = arith.constant 1 : index
    %zero = arith.constant 0.0 : f32
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [4, 4096], strides: [4096, 1] : memref<f32> to memref<4x4096xf32, strided<[4096, 1]>>
    %y = memref.reinterpret_cast %yp to offset: [0], sizes: [4], strides: [1] : memref<f32> to memref<4xf32, strided<[1]>>
    scf.for %row = %begin to %end step %c1 {
      linalg.fill ins(%zero : f32) outs(%y : memref<4xf32, strided<[1]>>)
      linalg.generic {indexing_maps = [#row, #sum], iterator_types = ["parallel", "reduction"]} ins(%x : memref<4x4096xf32, strided<[4096, 1]>>) outs(%y : memref<4xf32, strided<[1]>>) {
      ^bb0(%a: f32, %s: f32):
        %t = arith.addf %s, %a fastmath<reassoc> : f32
        linalg.yield %t : f32
      }
      linalg.generic {indexing_maps = [#one], iterator_types = ["parallel"]} outs(%y : memref<4xf32, strided<[1]>>) {
      ^bb0(%a: f32):
        %v = math.sqrt %a : f32
        linalg.yield %v : f32
      }
    }
    return
  }
}

// CHECK-LABEL: module attributes {rt.device = "cuda"}
// CHECK: gpu.func @sums
// CHECK: vector.store
// CHECK: gpu.barrier
// CHECK: %[[WARP:.*]] = arith.divui %{{.*}}, %c32
// CHECK: scf.for %[[SUM:.*]] = %[[WARP]] to %c4 step %c16 {
// CHECK:   scf.for {{.*}} to %c4096 step %c32 iter_args
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK:   nvvm.bar.warp.sync
// CHECK:   memref.store
// CHECK: gpu.barrier
// CHECK: vector.load
// CHECK: math.sqrt

// -----

// A row that is too wide for a block is seven blocks', where no thread needs what another has: what is between stays in
// each thread's registers. A sum over the row keeps it in one.

#row = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[%n] : memref<?x14336xf32>
    %y = rt.buffer 1[%n] : memref<?xf32>
    rt.launch @gate grid(%n) buffers(%x : memref<?x14336xf32>) dims(%n)
    rt.launch @total grid(%n) buffers(%x, %y : memref<?x14336xf32>, memref<?xf32>) dims(%n)
    return
  }
  func.func private @gate(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 14336], strides: [14336, 1] : memref<f32> to memref<?x14336xf32, strided<[14336, 1]>>
    %between = memref.alloca() : memref<14336xf32>
    scf.for %row = %begin to %end step %c1 {
      %xr = memref.subview %x[%row, 0] [1, 14336] [1, 1] : memref<?x14336xf32, strided<[14336, 1]>> to memref<14336xf32, strided<[1], offset: ?>>
      linalg.generic {indexing_maps = [#row, #row], iterator_types = ["parallel"]} ins(%xr : memref<14336xf32, strided<[1], offset: ?>>) outs(%between : memref<14336xf32>) {
      ^bb0(%a: f32, %old: f32):
        %v = arith.negf %a : f32
        linalg.yield %v : f32
      }
      linalg.generic {indexing_maps = [#row, #row], iterator_types = ["parallel"]} ins(%between : memref<14336xf32>) outs(%xr : memref<14336xf32, strided<[1], offset: ?>>) {
      ^bb0(%a: f32, %old: f32):
        %v = math.absf %a : f32
        linalg.yield %v : f32
      }
    }
    return
  }
  func.func private @total(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %yp: memref<f32> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 14336], strides: [14336, 1] : memref<f32> to memref<?x14336xf32, strided<[14336, 1]>>
    %y = memref.reinterpret_cast %yp to offset: [0], sizes: [%n], strides: [1] : memref<f32> to memref<?xf32, strided<[1]>>
    scf.for %row = %begin to %end step %c1 {
      %xr = memref.subview %x[%row, 0] [1, 14336] [1, 1] : memref<?x14336xf32, strided<[14336, 1]>> to memref<14336xf32, strided<[1], offset: ?>>
      %yr = memref.subview %y[%row] [1] [1] : memref<?xf32, strided<[1]>> to memref<f32, strided<[], offset: ?>>
      linalg.generic {indexing_maps = [#row, #none], iterator_types = ["reduction"]} ins(%xr : memref<14336xf32, strided<[1], offset: ?>>) outs(%yr : memref<f32, strided<[], offset: ?>>) {
      ^bb0(%a: f32, %s: f32):
        %t = arith.addf %s, %a fastmath<reassoc> : f32
        linalg.yield %t : f32
      }
    }
    return
  }
}

// CHECK-LABEL: module attributes {rt.device = "cuda"}
// CHECK: func.func private @gate{{.*}} {rt.launch = {blocks_per_row = 7 : i64, rows_per_block = 1 : i64, shared = 0 : i64, threads = 256 : i64}}
// CHECK: func.func private @total{{.*}} {rt.launch = {rows_per_block = 1 : i64, shared = 0 : i64, threads = 512 : i64}}
// CHECK-NOT: gpu.func @total
// CHECK: gpu.func @gate
// CHECK-DAG: %[[THREAD:.*]] = gpu.thread_id x upper_bound 256
// CHECK-DAG: %[[BLOCK:.*]] = gpu.block_id x
// CHECK: %[[PART:.*]] = arith.remui %[[BLOCK]], %c7
// CHECK: %[[FIRST:.*]] = arith.muli %[[PART]], %c256
// CHECK: %[[LANE:.*]] = arith.addi %[[FIRST]], %[[THREAD]]
// CHECK: %[[ROW:.*]] = arith.divui %[[BLOCK]], %c7
// CHECK: memref.subview %{{.*}}[%[[ROW]], 0]
// CHECK: %[[AT:.*]] = arith.muli %[[LANE]], %c4
// CHECK: vector.load %{{.*}}[%[[AT]]]
// CHECK-NOT: gpu.barrier
// CHECK-COUNT-2: vector.store
// CHECK-NOT: vector.store
// CHECK: gpu.func @total
// CHECK: gpu.barrier

// -----

// Where anything has 16 bits, a thread has eight neighbours: 16 bytes of these, twice as many of f32.

#row = affine_map<(d0) -> (d0)>
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[%n] : memref<?x2048xf32>
    %y = rt.buffer 1[%n] : memref<?x2048xbf16>
    %z = rt.buffer 2[%n] : memref<?x128xbf16>
    rt.launch @narrow grid(%n) buffers(%x, %y : memref<?x2048xf32>, memref<?x2048xbf16>) dims(%n)
    rt.launch @small grid(%n) buffers(%z : memref<?x128xbf16>) dims(%n)
    return
  }
  func.func private @narrow(%begin: index, %end: index, %xp: memref<f32> {llvm.noalias}, %yp: memref<bf16> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 2048], strides: [2048, 1] : memref<f32> to memref<?x2048xf32, strided<[2048, 1]>>
    %y = memref.reinterpret_cast %yp to offset: [0], sizes: [%n, 2048], strides: [2048, 1] : memref<bf16> to memref<?x2048xbf16, strided<[2048, 1]>>
    scf.for %row = %begin to %end step %c1 {
      %xr = memref.subview %x[%row, 0] [1, 2048] [1, 1] : memref<?x2048xf32, strided<[2048, 1]>> to memref<2048xf32, strided<[1], offset: ?>>
      %yr = memref.subview %y[%row, 0] [1, 2048] [1, 1] : memref<?x2048xbf16, strided<[2048, 1]>> to memref<2048xbf16, strided<[1], offset: ?>>
      linalg.generic {indexing_maps = [#row, #row], iterator_types = ["parallel"]} ins(%xr : memref<2048xf32, strided<[1], offset: ?>>) outs(%yr : memref<2048xbf16, strided<[1], offset: ?>>) {
      ^bb0(%a: f32, %old: bf16):
        %v = arith.truncf %a : f32 to bf16
        linalg.yield %v : bf16
      }
    }
    return
  }
  func.func private @small(%begin: index, %end: index, %zp: memref<bf16> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %z = memref.reinterpret_cast %zp to offset: [0], sizes: [%n, 128], strides: [128, 1] : memref<bf16> to memref<?x128xbf16, strided<[128, 1]>>
    scf.for %row = %begin to %end step %c1 {
      %zr = memref.subview %z[%row, 0] [1, 128] [1, 1] : memref<?x128xbf16, strided<[128, 1]>> to memref<128xbf16, strided<[1], offset: ?>>
      linalg.generic {indexing_maps = [#row], iterator_types = ["parallel"]} outs(%zr : memref<128xbf16, strided<[1], offset: ?>>) {
      ^bb0(%a: bf16):
        %v = arith.negf %a : bf16
        linalg.yield %v : bf16
      }
    }
    return
  }
}

// CHECK-LABEL: module attributes {rt.device = "cuda"}
// CHECK: func.func private @narrow{{.*}}threads = 256 : i64}}
// CHECK: gpu.func @narrow
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : {{.*}}, vector<8xf32>
// CHECK-NOT: vector.load
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : {{.*}}, vector<8xbf16>
// CHECK-NOT: vector.store
// A row of less goes in fours, so that every thread of the warp has something.
// CHECK: gpu.func @small
// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : {{.*}}, vector<4xbf16>

// -----

module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[] : memref<f64>
    rt.launch @wide grid(%n) buffers(%x : memref<f64>) dims()
    return
  }
  func.func private @wide(%begin: index, %end: index, %x: memref<f64>) {
    %c1 = arith.constant 1 : index
    scf.for %row = %begin to %end step %c1 {
      %a = memref.load %x[] : memref<f64>
      // expected-error@+1 {{'math.exp' of 'f64' cannot be computed by a GPU kernel}}
      %b = math.exp %a : f64
      memref.store %b, %x[] : memref<f64>
    }
    return
  }
}

// -----

module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    rt.launch @endless grid(%n) buffers() dims()
    return
  }
  func.func private @endless(%begin: index, %end: index) {
    %c1 = arith.constant 1 : index
    scf.for %row = %begin to %end step %c1 {
      // expected-error@+1 {{a kernel holds 'scf.while', which cannot run on a GPU}}
      scf.while : () -> () {
        %go = arith.constant false
        scf.condition(%go)
      } do {
        scf.yield
      }
    }
    return
  }
}

// -----

// A kernel that begins with a sum over the ranks: the block's rows, of which the last block has fewer, before anything else; what
// other threads sum up is no argument that nobody else writes.
// CHECK:       gpu.module @kernels
// CHECK-NEXT:       llvm.func @caat_sum_rows_bf16(i64, i64, i64, i64) attributes {convergent
// CHECK:         gpu.func @fill_sum(%[[X:.*]]: memref<bf16>, %[[N:.*]]: index, %[[CALL:.*]]: index, %[[MINE:.*]]: index, %[[ROWS:.*]]: index)
// CHECK-DAG:       %[[BLOCK:.*]] = gpu.block_id x
// CHECK-DAG:       %[[C4:.*]] = arith.constant 4 : index
// CHECK-DAG:       %[[C768:.*]] = arith.constant 768 : index
// CHECK-DAG:       %[[C96:.*]] = arith.constant 96 : index
// CHECK:           %[[FIRST:.*]] = arith.muli %[[BLOCK]], %[[C4]]
// CHECK:           %[[REST:.*]] = arith.subi %[[ROWS]], %[[FIRST]]
// CHECK:           %[[HERE:.*]] = arith.minui %[[REST]], %[[C4]]
// CHECK:           %[[BASE:.*]] = memref.extract_aligned_pointer_as_index %[[X]]
// CHECK:           %[[OFFSET:.*]] = arith.muli %[[BLOCK]], %[[C768]]
// CHECK:           %[[AT:.*]] = arith.addi %[[BASE]], %[[OFFSET]]
// CHECK:           %[[COUNT:.*]] = arith.muli %[[HERE]], %[[C96]]
// CHECK:           %[[A:.*]] = arith.index_cast %[[CALL]]
// CHECK:           %[[B:.*]] = arith.index_cast %[[MINE]]
// CHECK:           %[[C:.*]] = arith.index_cast %[[AT]]
// CHECK:           %[[D:.*]] = arith.index_cast %[[COUNT]]
// CHECK-NEXT:      llvm.call @caat_sum_rows_bf16(%[[A]], %[[B]], %[[C]], %[[D]])
// CHECK:           scf.if
module {
  func.func @caat_forward() {
    %n = rt.dim "n"
    %x = rt.buffer 0[%n] : memref<?x96xbf16>
    %sum = rt.all_reduce_start %x on @mesh ["tp"] : memref<?x96xbf16>
    rt.launch @fill grid(%n) buffers(%x : memref<?x96xbf16>) dims(%n) sums(%sum) by @fill_sum
    return
  }
  tp.mesh @mesh <["tp" = 2]>
  func.func private @fill(%begin: index, %end: index, %xp: memref<bf16> {llvm.noalias}, %n: index) {
    %c1 = arith.constant 1 : index
    %zero = arith.constant 0.0 : bf16
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 96], strides: [96, 1] : memref<bf16> to memref<?x96xbf16, strided<[96, 1]>>
    scf.for %row = %begin to %end step %c1 {
      %r = memref.subview %x[%row, 0] [1, 96] [1, 1] : memref<?x96xbf16, strided<[96, 1]>> to memref<96xbf16, strided<[1], offset: ?>>
      linalg.fill ins(%zero : bf16) outs(%r : memref<96xbf16, strided<[1], offset: ?>>)
    }
    return
  }
  func.func private @fill_sum(%begin: index, %end: index, %xp: memref<bf16> {llvm.noalias}, %n: index, %call: index, %mine: index)
      attributes {rt.sum = {buffer = 0 : i64, elements = 96 : i64}} {
    %c1 = arith.constant 1 : index
    %zero = arith.constant 0.0 : bf16
    %x = memref.reinterpret_cast %xp to offset: [0], sizes: [%n, 96], strides: [96, 1] : memref<bf16> to memref<?x96xbf16, strided<[96, 1]>>
    scf.for %row = %begin to %end step %c1 {
      %r = memref.subview %x[%row, 0] [1, 96] [1, 1] : memref<?x96xbf16, strided<[96, 1]>> to memref<96xbf16, strided<[1], offset: ?>>
      linalg.fill ins(%zero : bf16) outs(%r : memref<96xbf16, strided<[1], offset: ?>>)
    }
    return
  }
}
