// RUN: caat-opt %s --rt-form-kernels --canonicalize --cse | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#transposed = affine_map<(d0, d1) -> (d1, d0)>

// The residual sum and the norm behind it are one kernel over rows, which yields both.
// CHECK-LABEL: func.func @add_norm(
// CHECK-SAME:    %[[X:[a-z0-9]*]]: tensor<?x8xf32>, %[[Y:[a-z0-9]*]]: tensor<?x8xf32>
// CHECK:       scf.forall (%[[I:.*]]) in (%{{.*}}) shared_outs(%[[S:.*]] = %{{.*}}, %[[O:.*]] = %{{.*}}) ->
// CHECK:         %[[XI:.*]] = tensor.extract_slice %[[X]][%[[I]], 0] [1, 8] [1, 1]
// CHECK:         %[[SUM:.*]] = linalg.generic
// CHECK:         linalg.fill
// CHECK:         linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]
// CHECK:         %[[NORM:.*]] = linalg.generic
// CHECK:         scf.forall.in_parallel
// CHECK-DAG:       tensor.parallel_insert_slice %[[SUM]] into %[[S]][%[[I]], 0] [1, 8] [1, 1]
// CHECK-DAG:       tensor.parallel_insert_slice %[[NORM]] into %[[O]][%[[I]], 0] [1, 8] [1, 1]
// CHECK:       } {mapping = [#rt.rows]}
// CHECK-NOT:   scf.forall (
func.func @add_norm(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x8xf32>
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %e1 = tensor.empty(%n) : tensor<?xf32>
  %sum = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %y : tensor<?x8xf32>, tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %0 = arith.addf %a, %b : f32
    linalg.yield %0 : f32
  } -> tensor<?x8xf32>
  %init = linalg.fill ins(%zero : f32) outs(%e1 : tensor<?xf32>) -> tensor<?xf32>
  %squares = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]} ins(%sum : tensor<?x8xf32>) outs(%init : tensor<?xf32>) {
  ^bb0(%a: f32, %o: f32):
    %0 = arith.mulf %a, %a : f32
    %1 = arith.addf %0, %o : f32
    linalg.yield %1 : f32
  } -> tensor<?xf32>
  %norm = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%sum, %squares : tensor<?x8xf32>, tensor<?xf32>) outs(%e : tensor<?x8xf32>) {
  ^bb0(%a: f32, %s: f32, %o: f32):
    %0 = math.rsqrt %s : f32
    %1 = arith.mulf %a, %0 : f32
    linalg.yield %1 : f32
  } -> tensor<?x8xf32>
  return %sum, %norm : tensor<?x8xf32>, tensor<?x8xf32>
}

// A reader of columns cannot follow a writer of rows: two kernels.
// CHECK-LABEL: func.func @transposed(
// CHECK:       scf.forall
// CHECK:       scf.forall
// CHECK-NOT:   scf.forall (
func.func @transposed(%x: tensor<?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tensor.dim %x, %c0 : tensor<?x?xf32>
  %m = tensor.dim %x, %c1 : tensor<?x?xf32>
  %e = tensor.empty(%n, %m) : tensor<?x?xf32>
  %f = tensor.empty(%m, %n) : tensor<?x?xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) {
  ^bb0(%i: f32, %o: f32):
    %0 = arith.addf %i, %i : f32
    linalg.yield %0 : f32
  } -> tensor<?x?xf32>
  %b = linalg.generic {indexing_maps = [#transposed, #id], iterator_types = ["parallel", "parallel"]} ins(%a : tensor<?x?xf32>) outs(%f : tensor<?x?xf32>) {
  ^bb0(%i: f32, %o: f32):
    %0 = arith.mulf %i, %i : f32
    linalg.yield %0 : f32
  } -> tensor<?x?xf32>
  return %a, %b : tensor<?x?xf32>, tensor<?x?xf32>
}

// What lies between two ops keeps them apart: the product needs the first and feeds the second.
// CHECK-LABEL: func.func @between(
// CHECK:       scf.forall
// CHECK:       rt.linear
// CHECK:       scf.forall
// CHECK-NOT:   scf.forall (
rt.weight @w linear : tensor<8x8xf32> {
  %0 = arith.constant dense<1.0> : tensor<8x8xf32>
  rt.yield %0 : tensor<8x8xf32>
}
func.func @between(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x8xf32>
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) {
  ^bb0(%i: f32, %o: f32):
    %0 = math.exp %i : f32
    linalg.yield %0 : f32
  } -> tensor<?x8xf32>
  %p = rt.linear @w ins(%a : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %b = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%a, %p : tensor<?x8xf32>, tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) {
  ^bb0(%i: f32, %j: f32, %o: f32):
    %0 = arith.addf %i, %j : f32
    linalg.yield %0 : f32
  } -> tensor<?x8xf32>
  return %a, %b : tensor<?x8xf32>, tensor<?x8xf32>
}

// An element-wise op with one reader is fused into it.
// CHECK-LABEL: func.func @fused(
// CHECK:       scf.forall
// CHECK:         linalg.generic
// CHECK:           math.exp
// CHECK:           arith.addf
// CHECK-NOT:     linalg.generic {
func.func @fused(%x: tensor<?x8xf32>, %y: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x8xf32>
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) {
  ^bb0(%i: f32, %o: f32):
    %0 = math.exp %i : f32
    linalg.yield %0 : f32
  } -> tensor<?x8xf32>
  %b = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%a, %y : tensor<?x8xf32>, tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) {
  ^bb0(%i: f32, %j: f32, %o: f32):
    %0 = arith.addf %i, %j : f32
    linalg.yield %0 : f32
  } -> tensor<?x8xf32>
  return %b : tensor<?x8xf32>
}

// What the host computes is no memory that a kernel reads.
// CHECK-LABEL: func.func @host_scalar(
// CHECK-SAME:    %[[X:[a-z0-9]*]]: tensor<?x8xi64>, %[[N:[a-z0-9]*]]: i64
// CHECK-NOT:   tensor.from_elements
// CHECK:       linalg.generic {{.*}} ins(%{{[a-z0-9_]*}} : tensor<1x8xi64>)
// CHECK-NEXT:  ^bb0(%[[A:.*]]: i64, %{{.*}}: i64):
// CHECK-NEXT:    arith.muli %[[A]], %[[N]] : i64
func.func @host_scalar(%x: tensor<?x8xi64>, %n: i64) -> tensor<?x8xi64> {
  %c0 = arith.constant 0 : index
  %rows = tensor.dim %x, %c0 : tensor<?x8xi64>
  %e = tensor.empty(%rows) : tensor<?x8xi64>
  %scalar = tensor.from_elements %n : tensor<i64>
  %y = linalg.generic {indexing_maps = [#id, affine_map<(d0, d1) -> ()>, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %scalar : tensor<?x8xi64>, tensor<i64>) outs(%e : tensor<?x8xi64>) {
  ^bb0(%i: i64, %j: i64, %o: i64):
    %0 = arith.muli %i, %j : i64
    linalg.yield %0 : i64
  } -> tensor<?x8xi64>
  return %y : tensor<?x8xi64>
}
