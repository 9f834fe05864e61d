// RUN: caat-opt %s --split-input-file --pass-pipeline="builtin.module(rt-plan-memory,canonicalize,cse)" --verify-diagnostics | FileCheck %s

rt.weight @w linear : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}

// CHECK-LABEL: func.func @caat_workspace_bytes(%{{.*}}: !llvm.ptr) -> i64
// Two slots of n * 16 bytes, rounded up to 64.
// CHECK:         %[[N:.*]] = rt.dim "n"
// CHECK:         %[[BYTES:.*]], %[[HIGH:.*]] = arith.mulsi_extended %[[N]], %c16
// CHECK:         %[[SIGN:.*]] = arith.shrsi %[[BYTES]], %c63
// CHECK:         %[[WRAPS:.*]] = arith.cmpi ne, %[[HIGH]], %[[SIGN]]
// CHECK:         %[[LARGE:.*]] = arith.cmpi sgt, %[[BYTES]], %c281474976710656
// CHECK:         %[[BAD:.*]] = arith.ori %[[WRAPS]], %[[LARGE]]
// CHECK:         %[[UP:.*]] = arith.addi %[[BYTES]], %c63
// CHECK:         %[[LINES:.*]] = arith.divui %[[UP]], %c64
// CHECK:         %[[SLOT:.*]], %{{.*}} = arith.mulsi_extended %[[LINES]], %c64
// CHECK:         %[[ANY:.*]] = arith.ori %[[BAD]], %{{.*}}
// CHECK:         %[[TOTAL:.*]] = arith.addi %[[SLOT]], %[[SLOT]]
// CHECK:         %[[RESULT:.*]] = arith.index_cast %[[TOTAL]] : index to i64
// CHECK:         %[[ALL:.*]] = arith.select %[[ANY]], %c-1_i64, %[[RESULT]]
// CHECK:         return %[[ALL]]

// %a and %c do not live at the same time and share a slot; %b overlaps both.
// CHECK-LABEL: func.func @caat_forward()
// CHECK:         %[[ARENA:.*]] = rt.workspace : memref<?xi8>
// CHECK:         %[[A:.*]] = memref.view %[[ARENA]][%c0]
// CHECK:         %[[B:.*]] = memref.view %[[ARENA]][%[[SECOND:.*]]][
// CHECK:         rt.linear @w ins(%{{.*}} : memref<?x4xf32>) outs(%[[A]] : memref<?x4xf32>)
// CHECK:         rt.linear @w ins(%[[A]] : memref<?x4xf32>) outs(%[[B]] : memref<?x4xf32>)
// CHECK:         rt.linear @w ins(%[[B]] : memref<?x4xf32>) outs(%[[A]] : memref<?x4xf32>)
// CHECK:         rt.copy %[[A]] to
// CHECK-NOT:     memref.alloc
// CHECK-NOT:     memref.dealloc
func.func @caat_forward() {
  %n = rt.dim "n"
  %x = rt.buffer 0[%n] : memref<?x4xf32>
  %y = rt.buffer 1[%n] : memref<?x4xf32>
  %a = memref.alloc(%n) : memref<?x4xf32>
  %b = memref.alloc(%n) : memref<?x4xf32>
  %c = memref.alloc(%n) : memref<?x4xf32>
  rt.linear @w ins(%x : memref<?x4xf32>) outs(%a : memref<?x4xf32>)
  rt.linear @w ins(%a : memref<?x4xf32>) outs(%b : memref<?x4xf32>)
  rt.linear @w ins(%b : memref<?x4xf32>) outs(%c : memref<?x4xf32>)
  rt.copy %c to %y : memref<?x4xf32> to memref<?x4xf32>
  memref.dealloc %c : memref<?x4xf32>
  return
}

// -----

// A buffer lives as long as its views, and a loop's buffers as long as the loop.
rt.weight @w linear : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}
// CHECK-LABEL: func.func @caat_forward()
// CHECK:         %[[ARENA:.*]] = rt.workspace : memref<?xi8>
// CHECK:         %[[A:.*]] = memref.view %[[ARENA]][%c0][] : memref<?xi8> to memref<8x4xf32>
// CHECK:         scf.for
// CHECK:           memref.view %[[ARENA]][%c128][]
// CHECK:         rt.linear
func.func @caat_forward() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = rt.dim "n"
  %x = rt.buffer 0[] : memref<8x4xf32>
  %a = memref.alloc() : memref<8x4xf32>
  %view = memref.subview %a[0, 0] [4, 4] [1, 1] : memref<8x4xf32> to memref<4x4xf32, strided<[4, 1]>>
  rt.linear @w ins(%x : memref<8x4xf32>) outs(%a : memref<8x4xf32>)
  scf.for %i = %c0 to %n step %c1 {
    %b = memref.alloc() : memref<8x4xf32>
    rt.linear @w ins(%x : memref<8x4xf32>) outs(%b : memref<8x4xf32>)
  }
  rt.linear @w ins(%view : memref<4x4xf32, strided<[4, 1]>>) outs(%view : memref<4x4xf32, strided<[4, 1]>>)
  return
}

// -----

func.func @caat_forward() {
  %c0 = arith.constant 0 : index
  %x = rt.buffer 0[] : memref<4xindex>
  // expected-error@below {{a size depends on what tensors hold}}
  %n = memref.load %x[%c0] : memref<4xindex>
  %a = memref.alloc(%n) : memref<?xf32>
  rt.copy %a to %a : memref<?xf32> to memref<?xf32>
  return
}

// -----

// What is written before a sync point and read behind it is listed there: %kept, and the output %y. The site's own
// destinations are not, nor what is dead by then (%early).
rt.weight @w linear : tensor<4x4xf32> {
  %0 = arith.constant dense<1.0> : tensor<4x4xf32>
  rt.yield %0 : tensor<4x4xf32>
}

// CHECK-LABEL: func.func @caat_forward()
// CHECK:         %[[Y:.*]] = rt.buffer 1
// CHECK:         rt.linear @w ins(%{{.*}}) outs(%[[KEPT:.*]] : memref<?x4xf32>)
// CHECK:         rt.sync_point "layers.0.mlp"
// CHECK-SAME:      live(%[[KEPT]], %[[Y]] : memref<?x4xf32>, memref<?x4xf32>)
func.func @caat_forward() {
  %n = rt.dim "n"
  %x = rt.buffer 0[%n] : memref<?x4xf32>
  %y = rt.buffer 1[%n] : memref<?x4xf32>
  %kept = memref.alloc(%n) : memref<?x4xf32>
  %early = memref.alloc(%n) : memref<?x4xf32>
  %base = memref.alloc(%n) : memref<?x4xf32>
  %pending = memref.alloc(%n) : memref<?x4xf32>
  %stream = memref.alloc(%n) : memref<?x4xf32>
  rt.linear @w ins(%x : memref<?x4xf32>) outs(%kept : memref<?x4xf32>)
  rt.linear @w ins(%x : memref<?x4xf32>) outs(%early : memref<?x4xf32>)
  rt.linear @w ins(%early : memref<?x4xf32>) outs(%base : memref<?x4xf32>)
  rt.linear @w ins(%early : memref<?x4xf32>) outs(%y : memref<?x4xf32>)
  rt.sync_point "layers.0.mlp" partial(%kept : memref<?x4xf32>) outs(%stream, %base, %pending : memref<?x4xf32>, memref<?x4xf32>, memref<?x4xf32>) {starts_pending}
  rt.linear @w accumulate ins(%kept : memref<?x4xf32>) outs(%y : memref<?x4xf32>)
  rt.linear @w ins(%stream : memref<?x4xf32>) outs(%base : memref<?x4xf32>)
  rt.linear @w ins(%base : memref<?x4xf32>) outs(%pending : memref<?x4xf32>)
  return
}

// -----

// What grows with a cache comes last and shares with its like only, so that nothing else is elsewhere at the next step. A
// length is one dim, however it is written; what a step adds does not grow.
module attributes {rt.interface = {inputs = [], outputs = [], caches = [
    {past = "past_key", present = "present_key", past_length = "past", present_length = "past + (total + (past * -1))"},
    {past = "past_value", present = "present_value", past_length = "past", present_length = "past + seq"}]}} {
  rt.weight @w linear : tensor<4x4xf32> {
    %0 = arith.constant dense<1.0> : tensor<4x4xf32>
    rt.yield %0 : tensor<4x4xf32>
  }
  // CHECK-LABEL: func.func @caat_forward()
  // CHECK-DAG: %[[SEQ:.*]] = rt.dim "seq"
  // CHECK-DAG: %[[TOTAL:.*]] = rt.dim "total"
  // CHECK-DAG: %[[BYTES:.*]] = arith.muli %[[SEQ]], %c16
  // CHECK-DAG: %[[UP:.*]] = arith.addi %[[BYTES]], %c63
  // CHECK-DAG: %[[LINES:.*]] = arith.divui %[[UP]], %c64
  // CHECK-DAG: %[[STEP:.*]] = arith.muli %[[LINES]], %c64
  // CHECK-DAG: %[[BEHIND:.*]] = arith.addi %[[STEP]], %[[STEP]]
  // CHECK:     memref.view %{{.*}}[%[[BEHIND]]][%[[TOTAL]]]
  // CHECK:     memref.view %{{.*}}[%c0][%[[SEQ]]]
  // CHECK:     memref.view %{{.*}}[%[[STEP]]][%[[SEQ]]]
  func.func @caat_forward() {
    %seq = rt.dim "seq"
    %total = rt.dim "total"
    %scores = memref.alloc(%total) : memref<?x4xf32>
    rt.linear @w ins(%scores : memref<?x4xf32>) outs(%scores : memref<?x4xf32>)
    %a = memref.alloc(%seq) : memref<?x4xf32>
    %b = memref.alloc(%seq) : memref<?x4xf32>
    rt.linear @w ins(%a : memref<?x4xf32>) outs(%b : memref<?x4xf32>)
    return
  }
}
