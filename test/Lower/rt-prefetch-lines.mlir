// RUN: caat-opt %s --allow-unregistered-dialect --rt-prefetch-lines | FileCheck %s
// RUN: caat-opt %s --allow-unregistered-dialect --rt-prefetch-lines=distance=512 | FileCheck %s --check-prefix=NEAR

// A line of 256 bytes is four of a cache; 2048 bytes on are 8 lines.
// CHECK-LABEL: @keys
// NEAR-LABEL: @keys
func.func @keys(%keys: memref<?x2x?x64xf32>, %batch: index, %count: index) -> vector<64xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %none = arith.constant dense<0.0> : vector<64xf32>
  // CHECK: scf.for %[[J:.*]] = %{{.*}} to %{{.*}} step
  // CHECK: %[[EIGHT:.*]] = arith.constant 8 : index
  // CHECK: %[[ROW:.*]] = arith.addi %[[J]], %[[EIGHT]]
  // CHECK: memref.prefetch %{{.*}}[%{{.*}}, %{{.*}}, %[[ROW]], %{{.*}}], read, locality<3>, data
  // CHECK-COUNT-3: memref.prefetch
  // CHECK-NOT: memref.prefetch
  // CHECK: vector.transfer_read
  // NEAR: arith.constant 2 : index
  // NEAR-COUNT-4: memref.prefetch
  %sum = scf.for %j = %c0 to %count step %c1 iter_args(%before = %none) -> vector<64xf32> {
    %key = vector.transfer_read %keys[%batch, %c1, %j, %c0], %zero {in_bounds = [true]} : memref<?x2x?x64xf32>, vector<64xf32>
    %after = arith.addf %before, %key : vector<64xf32>
    scf.yield %after : vector<64xf32>
  }
  return %sum : vector<64xf32>
}

// Of a view of an argument, in 16 bits.
// CHECK-LABEL: @view
// CHECK: scf.for
// CHECK: arith.constant 16 : index
// CHECK-COUNT-2: memref.prefetch
// CHECK-NOT: memref.prefetch
func.func @view(%keys: memref<8x?x64xbf16>, %count: index) -> vector<64xbf16> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : bf16
  %none = arith.constant dense<0.0> : vector<64xbf16>
  %head = memref.subview %keys[3, 0, 0] [1, %count, 64] [1, 1, 1] : memref<8x?x64xbf16> to memref<1x?x64xbf16, strided<[?, 64, 1], offset: ?>>
  %sum = scf.for %j = %c0 to %count step %c1 iter_args(%before = %none) -> vector<64xbf16> {
    %key = vector.transfer_read %head[%c0, %j, %c0], %zero {in_bounds = [true]} : memref<1x?x64xbf16, strided<[?, 64, 1], offset: ?>>, vector<64xbf16>
    %after = arith.addf %before, %key : vector<64xbf16>
    scf.yield %after : vector<64xbf16>
  }
  return %sum : vector<64xbf16>
}

// Not: a kernel's own buffer, lines that are too short, the same line in every turn, every other line, columns.
// CHECK-LABEL: @others
// CHECK-NOT: memref.prefetch
func.func @others(%keys: memref<?x64xf32>, %short: memref<?x8xf32>, %count: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f32
  %own = memref.alloc(%count) : memref<?x64xf32>
  scf.for %j = %c0 to %count step %c1 {
    %a = vector.transfer_read %own[%j, %c0], %zero {in_bounds = [true]} : memref<?x64xf32>, vector<64xf32>
    %b = vector.transfer_read %short[%j, %c0], %zero {in_bounds = [true]} : memref<?x8xf32>, vector<8xf32>
    %c = vector.transfer_read %keys[%c1, %c0], %zero {in_bounds = [true]} : memref<?x64xf32>, vector<64xf32>
    %d = vector.transfer_read %keys[%c0, %j], %zero : memref<?x64xf32>, vector<64xf32>
    "test.use"(%a, %b, %c, %d) : (vector<64xf32>, vector<8xf32>, vector<64xf32>, vector<64xf32>) -> ()
  }
  scf.for %j = %c0 to %count step %c2 {
    %a = vector.transfer_read %keys[%j, %c0], %zero {in_bounds = [true]} : memref<?x64xf32>, vector<64xf32>
    "test.use"(%a) : (vector<64xf32>) -> ()
  }
  return
}
