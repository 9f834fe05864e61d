// RUN: caat-opt %s --canonicalize --cse --loop-invariant-code-motion | FileCheck %s

tp.mesh @mesh <["tp" = 2]>

// Every rank runs the same sequence of collectives: none is dropped, merged or hoisted. A rank's number is only a value.
// CHECK-LABEL: func.func @stays(
func.func @stays(%x: tensor<?x4xf32>, %n: index) -> tensor<?x4xf32> {
  // CHECK-COUNT-2: tp.all_reduce %{{.*}} on @mesh ["tp"] {site = "dead"}
  // CHECK-NOT:     tp.rank
  // CHECK:         scf.for
  // CHECK-NEXT:      tp.all_reduce
  %0 = tp.all_reduce %x on @mesh ["tp"] {site = "dead"} : tensor<?x4xf32>
  %1 = tp.all_reduce %x on @mesh ["tp"] {site = "dead"} : tensor<?x4xf32>
  %r = tp.rank on @mesh : index
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  scf.for %i = %zero to %n step %one {
    %2 = tp.all_reduce %x on @mesh ["tp"] {site = "loop"} : tensor<?x4xf32>
  }
  return %x : tensor<?x4xf32>
}
