// RUN: caat-opt %s --split-input-file --rt-sum-in-kernels | FileCheck %s
// RUN: caat-opt %s --split-input-file --rt-sum-in-kernels --remarks-filter=caat 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// A sum that stands by itself is started, and one of two parts is left as it is: the kernels behind wait. They have their own
// rows of it, counted by one index or by two, and touch them as a whole or in parts.
// CHECK-LABEL: func.func private @rows(
// CHECK-LABEL: func.func private @rows_sum(
// CHECK-SAME:    %[[X:.*]]: memref<f32>, %[[Y:.*]]: memref<f32>, %{{.*}}: index, %{{.*}}: index, %{{.*}}: index)
// CHECK-SAME:    attributes {rt.sum = {buffer = 1 : i64, elements = 8 : i64}}
// CHECK-LABEL: func.func private @tokens(
// CHECK-LABEL: func.func private @tokens_sum(
// CHECK-SAME:    attributes {rt.sum = {buffer = 0 : i64, elements = 8 : i64}}
// CHECK-LABEL: func.func @caat_forward(
// CHECK:         %[[A:.*]] = memref.alloc(%{{.*}}) : memref<?x8xf32>
// CHECK:         %[[SUM:.*]] = rt.all_reduce_start %[[A]] on @mesh ["tp"] {left, site = "embed"} : memref<?x8xf32>
// CHECK-NEXT:    memref.alloc
// CHECK-NEXT:    rt.launch @rows grid(%{{.*}}) buffers({{.*}}) dims(%{{.*}}) sums(%[[SUM]]) by @rows_sum
// CHECK-NEXT:    %[[FIRST:.*]] = rt.all_reduce_start %{{.*}} {parts = 2 : i64, site = "mlp"}
// CHECK-NEXT:    %[[SECOND:.*]] = rt.all_reduce_start %{{.*}} {part = 1 : i64, parts = 2 : i64, site = "mlp"}
// CHECK-NEXT:    rt.launch @tokens {{.*}} sums(%[[FIRST]], %[[SECOND]]) by @tokens_sum
// CHECK-NEXT:    %[[LAST:.*]] = rt.all_reduce_start
// CHECK-NEXT:    rt.launch @rows {{.*}} sums(%[[LAST]]) by @rows_sum
// CHECK:         rt.launch @picked {{.*}} sums(%{{.*}}) by @picked_sum
// CHECK-NEXT:    return
// REMARK-DAG:    embed: the kernel that follows can make it
// REMARK-DAG:    mlp: the kernel that follows can make it
tp.mesh @mesh <["tp" = 2]>
func.func private @rows(%begin: index, %end: index, %x: memref<f32>, %y: memref<f32>, %n: index) {
  %c1 = arith.constant 1 : index
  %a = memref.reinterpret_cast %x to offset: [0], sizes: [%n, 8], strides: [8, 1] : memref<f32> to memref<?x8xf32, strided<[8, 1]>>
  %b = memref.reinterpret_cast %y to offset: [0], sizes: [%n, 8], strides: [8, 1] : memref<f32> to memref<?x8xf32, strided<[8, 1]>>
  scf.for %i = %begin to %end step %c1 {
    %p = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<?x8xf32, strided<[8, 1]>> to memref<8xf32, strided<[1], offset: ?>>
    %q = memref.subview %b[%i, 0] [1, 8] [1, 1] : memref<?x8xf32, strided<[8, 1]>> to memref<8xf32, strided<[1], offset: ?>>
    linalg.add ins(%p, %q : memref<8xf32, strided<[1], offset: ?>>, memref<8xf32, strided<[1], offset: ?>>) outs(%p : memref<8xf32, strided<[1], offset: ?>>)
  }
  return
}
func.func private @tokens(%begin: index, %end: index, %x: memref<f32>, %y: memref<f32>, %m: index, %n: index) {
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %s = arith.muli %n, %c8 : index
  %a = memref.reinterpret_cast %x to offset: [0], sizes: [%m, %n, 8], strides: [%s, 8, 1] : memref<f32> to memref<?x?x8xf32, strided<[?, 8, 1]>>
  %b = memref.reinterpret_cast %y to offset: [0], sizes: [%m, %n, 8], strides: [%s, 8, 1] : memref<f32> to memref<?x?x8xf32, strided<[?, 8, 1]>>
  scf.for %i = %begin to %end step %c1 {
    %token = arith.remui %i, %n : index
    %batch = arith.divui %i, %n : index
    %p = memref.subview %a[%batch, %token, 4] [1, 1, 4] [1, 1, 1] : memref<?x?x8xf32, strided<[?, 8, 1]>> to memref<4xf32, strided<[1], offset: ?>>
    %q = memref.subview %b[%batch, %token, 0] [1, 1, 4] [1, 1, 1] : memref<?x?x8xf32, strided<[?, 8, 1]>> to memref<4xf32, strided<[1], offset: ?>>
    linalg.copy ins(%p : memref<4xf32, strided<[1], offset: ?>>) outs(%q : memref<4xf32, strided<[1], offset: ?>>)
  }
  return
}
func.func private @picked(%begin: index, %end: index, %x: memref<bf16>, %y: memref<f32>, %n: index) {
  %c1 = arith.constant 1 : index
  %a = memref.reinterpret_cast %x to offset: [0], sizes: [1, %n, 8], strides: [1, 8, 1] : memref<bf16> to memref<1x?x8xbf16, strided<[1, 8, 1]>>
  %c0 = arith.constant 0 : index
  scf.for %i = %begin to %end step %c1 {
    %v = memref.load %y[] : memref<f32>
    %j = arith.fptoui %v : f32 to i32
    %k = arith.index_cast %j : i32 to index
    %p = memref.load %a[%c0, %i, %k] : memref<1x?x8xbf16, strided<[1, 8, 1]>>
    memref.store %p, %a[%c0, %i, %c0] : memref<1x?x8xbf16, strided<[1, 8, 1]>>
  }
  return
}
func.func @caat_forward() {
  %n = rt.dim "n"
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = rt.buffer 0 [%n] : memref<?x8xf32>
  %a = memref.alloc(%n) : memref<?x8xf32>
  %y = rt.buffer 1 [%n] : memref<?x8xf32>
  %b = memref.alloc(%n) : memref<?x8xf32>
  %one = memref.subview %b[%c0, 0] [%n, 8] [1, 1] : memref<?x8xf32> to memref<?x8xf32, strided<[8, 1], offset: ?>>
  %none = memref.subview %b[%n, 0] [%c0, 8] [1, 1] : memref<?x8xf32> to memref<?x8xf32, strided<[8, 1], offset: ?>>
  tp.all_reduce %a on @mesh ["tp"] {site = "embed"} : memref<?x8xf32>
  %r = memref.alloc(%n) : memref<?x8xf32>
  rt.launch @rows grid(%n) buffers(%x, %a : memref<?x8xf32>, memref<?x8xf32>) dims(%n)
  %0 = rt.all_reduce_start %one on @mesh ["tp"] {parts = 2 : i64, site = "mlp"} : memref<?x8xf32, strided<[8, 1], offset: ?>>
  %1 = rt.all_reduce_start %none on @mesh ["tp"] {part = 1 : i64, parts = 2 : i64, site = "mlp"} : memref<?x8xf32, strided<[8, 1], offset: ?>>
  rt.all_reduce_wait %0 for %one : memref<?x8xf32, strided<[8, 1], offset: ?>>
  rt.all_reduce_wait %1 for %none : memref<?x8xf32, strided<[8, 1], offset: ?>>
  rt.launch @tokens grid(%n) buffers(%b, %y : memref<?x8xf32>, memref<?x8xf32>) dims(%c1, %n)
  // The variant is there.
  tp.all_reduce %r on @mesh ["tp"] {site = "last"} : memref<?x8xf32>
  rt.launch @rows grid(%n) buffers(%x, %r : memref<?x8xf32>, memref<?x8xf32>) dims(%n)
  // Elements that data name, of the kernel's row.
  %z = memref.alloc(%n) : memref<1x?x8xbf16>
  %which = rt.buffer 2[] : memref<f32>
  tp.all_reduce %z on @mesh ["tp"] {site = "picked"} : memref<1x?x8xbf16>
  rt.launch @picked grid(%n) buffers(%z, %which : memref<1x?x8xbf16>, memref<f32>) dims(%n)
  return
}

// -----

// What is no kernel's own: rows of others, elements that data name, several views, what is used in between, sums of messages
// that are rounded, and of what is no float.
// CHECK-LABEL: func.func @caat_forward(
// CHECK-NOT:     sums(
// CHECK:         return
// REMARK-DAG:    next: a launch of its own, since the kernel that follows reads it in other rows than its own
// REMARK-DAG:    mixed: a launch of its own, since the kernel that follows reads it in other rows than its own
// REMARK-DAG:    narrow: a launch of its own, since a row has 12 bytes: not a multiple of 16 up to 65536
// REMARK-DAG:    wide: a launch of its own, since a row has 65552 bytes: not a multiple of 16 up to 65536
// REMARK-DAG:    twice: a launch of its own, since the kernel that follows has two views of it
// REMARK-DAG:    integers: a launch of its own, since its elements are no floats of at most 32 bits
// REMARK-DAG:    unread: a launch of its own, since the kernel that follows does not read it
// REMARK-DAG:    external: a launch of its own, since the kernel that follows reads it in other rows than its own
// REMARK-NOT:    output
// REMARK-NOT:    between
tp.mesh @mesh <["tp" = 2]>
func.func private @external(index, index, memref<f32>, memref<f32>)
func.func private @next(%begin: index, %end: index, %x: memref<f32>, %y: memref<f32>, %n: index) {
  %c1 = arith.constant 1 : index
  %a = memref.reinterpret_cast %x to offset: [0], sizes: [%n, 8], strides: [8, 1] : memref<f32> to memref<?x8xf32, strided<[8, 1]>>
  %b = memref.reinterpret_cast %y to offset: [0], sizes: [%n, 8], strides: [8, 1] : memref<f32> to memref<?x8xf32, strided<[8, 1]>>
  scf.for %i = %begin to %end step %c1 {
    %j = arith.addi %i, %c1 : index
    %p = memref.subview %a[%j, 0] [1, 8] [1, 1] : memref<?x8xf32, strided<[8, 1]>> to memref<8xf32, strided<[1], offset: ?>>
    %q = memref.subview %b[%i, 0] [1, 8] [1, 1] : memref<?x8xf32, strided<[8, 1]>> to memref<8xf32, strided<[1], offset: ?>>
    linalg.copy ins(%p : memref<8xf32, strided<[1], offset: ?>>) outs(%q : memref<8xf32, strided<[1], offset: ?>>)
  }
  return
}
// Its own row, and one that the row says.
func.func private @mixed(%begin: index, %end: index, %x: memref<f32>, %y: memref<f32>, %n: index) {
  %c1 = arith.constant 1 : index
  %c0 = arith.constant 0 : index
  %a = memref.reinterpret_cast %x to offset: [0], sizes: [%n, 8], strides: [8, 1] : memref<f32> to memref<?x8xf32, strided<[8, 1]>>
  scf.for %i = %begin to %end step %c1 {
    %p = memref.subview %a[%i, 0] [1, 8] [1, 1] : memref<?x8xf32, strided<[8, 1]>> to memref<8xf32, strided<[1], offset: ?>>
    %v = memref.load %a[%c0, %c1] : memref<?x8xf32, strided<[8, 1]>>
    linalg.fill ins(%v : f32) outs(%p : memref<8xf32, strided<[1], offset: ?>>)
  }
  return
}
func.func private @narrow(%begin: index, %end: index, %x: memref<f32>, %n: index) {
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %a = memref.reinterpret_cast %x to offset: [0], sizes: [%n, 3], strides: [3, 1] : memref<f32> to memref<?x3xf32, strided<[3, 1]>>
  scf.for %i = %begin to %end step %c1 {
    %p = memref.subview %a[%i, 0] [1, 3] [1, 1] : memref<?x3xf32, strided<[3, 1]>> to memref<3xf32, strided<[1], offset: ?>>
    linalg.fill ins(%zero : f32) outs(%p : memref<3xf32, strided<[1], offset: ?>>)
  }
  return
}
func.func private @wide(%begin: index, %end: index, %x: memref<f32>, %n: index) {
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %a = memref.reinterpret_cast %x to offset: [0], sizes: [%n, 16388], strides: [16388, 1] : memref<f32> to memref<?x16388xf32, strided<[16388, 1]>>
  scf.for %i = %begin to %end step %c1 {
    %p = memref.subview %a[%i, 0] [1, 16388] [1, 1] : memref<?x16388xf32, strided<[16388, 1]>> to memref<16388xf32, strided<[1], offset: ?>>
    linalg.fill ins(%zero : f32) outs(%p : memref<16388xf32, strided<[1], offset: ?>>)
  }
  return
}
func.func private @integers(index, index, memref<i32>)
func.func @caat_forward() {
  %n = rt.dim "n"
  %out = rt.buffer 0 [%n] : memref<?x8xf32>
  %a = memref.alloc(%n) : memref<?x8xf32>
  %b = memref.alloc(%n) : memref<?x8xf32>
  %c = memref.alloc(%n) : memref<?x3xf32>
  %d = memref.alloc(%n) : memref<?x16388xf32>
  %e = memref.alloc(%n) : memref<?xi32>
  tp.all_reduce %a on @mesh ["tp"] {site = "next"} : memref<?x8xf32>
  rt.launch @next grid(%n) buffers(%a, %b : memref<?x8xf32>, memref<?x8xf32>) dims(%n)
  tp.all_reduce %a on @mesh ["tp"] {site = "mixed"} : memref<?x8xf32>
  rt.launch @mixed grid(%n) buffers(%a, %b : memref<?x8xf32>, memref<?x8xf32>) dims(%n)
  tp.all_reduce %c on @mesh ["tp"] {site = "narrow"} : memref<?x3xf32>
  rt.launch @narrow grid(%n) buffers(%c : memref<?x3xf32>) dims(%n)
  tp.all_reduce %d on @mesh ["tp"] {site = "wide"} : memref<?x16388xf32>
  rt.launch @wide grid(%n) buffers(%d : memref<?x16388xf32>) dims(%n)
  tp.all_reduce %b on @mesh ["tp"] {site = "twice"} : memref<?x8xf32>
  rt.launch @next grid(%n) buffers(%b, %b : memref<?x8xf32>, memref<?x8xf32>) dims(%n)
  tp.all_reduce %e on @mesh ["tp"] {site = "integers"} : memref<?xi32>
  rt.launch @integers grid(%n) buffers(%e : memref<?xi32>) dims()
  tp.all_reduce %b on @mesh ["tp"] {site = "unread"} : memref<?x8xf32>
  rt.launch @narrow grid(%n) buffers(%c : memref<?x3xf32>) dims(%n)
  tp.all_reduce %a on @mesh ["tp"] {site = "external"} : memref<?x8xf32>
  rt.launch @external grid(%n) buffers(%a, %b : memref<?x8xf32>, memref<?x8xf32>) dims()
  tp.all_reduce %out on @mesh ["tp"] {site = "output"} : memref<?x8xf32>
  rt.launch @next grid(%n) buffers(%out, %b : memref<?x8xf32>, memref<?x8xf32>) dims(%n)
  tp.all_reduce %a on @mesh ["tp"] {site = "between"} : memref<?x8xf32>
  rt.copy %a to %b : memref<?x8xf32> to memref<?x8xf32>
  rt.launch @next grid(%n) buffers(%a, %b : memref<?x8xf32>, memref<?x8xf32>) dims(%n)
  tp.quantized_all_reduce %a bits 8 block 8 exact [] on @mesh ["tp"] : memref<?x8xf32>
  rt.launch @next grid(%n) buffers(%a, %b : memref<?x8xf32>, memref<?x8xf32>) dims(%n)
  return
}
