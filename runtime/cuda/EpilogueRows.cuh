// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a product does to its elements last (Epilogue.cuh), where others have computed it. Part of Kernels.cu.

template <typename Type, int Width> struct alignas(sizeof(typename Type::Stored) * Width) Elements {
  typename Type::Stored at[Width];
};

/// `Width` elements of a row at a time, which lie at a multiple of their size.
template <typename Type, int Width> DEVICE void applyEpilogue(const EpilogueArguments &a) {
  long long perRow = a.columns / Width;
  GRID(i, a.rows * perRow) {
    long long column = i % perRow * Width;
    auto *at = static_cast<typename Type::Stored *>(a.y) + i / perRow * a.pitch + column;
    auto y = *reinterpret_cast<Elements<Type, Width> *>(at);
#pragma unroll
    for (int j = 0; j < Width; ++j) {
      float x = Type::load(y.at[j]) + biasOf<Type>(a.epilogue, column + j);
      y.at[j] = Type::store(activated(x, a.epilogue.activation, a.epilogue.alpha));
    }
    *reinterpret_cast<Elements<Type, Width> *>(at) = y;
  }
}

template <typename Type> DEVICE void epilogue(const EpilogueArguments &a) {
  constexpr int most = 16 / sizeof(typename Type::Stored);
  if (a.columns % most == 0 && a.pitch % most == 0)
    applyEpilogue<Type, most>(a);
  else
    applyEpilogue<Type, 1>(a);
}

/// The same of a gated product's halves. Threads go on by as many elements as there are threads, which is so many rows
/// and columns: without a division for each.
template <typename Type, int Width> DEVICE void applyGate(const GateArguments &a) {
  using Some = Elements<Type, Width>;
  long long perRow = a.n / Width, first = BLOCK * THREADS + THREAD, threads = BLOCKS * THREADS;
  long long row = first / perRow, part = first % perRow, rows = threads / perRow, parts = threads % perRow;
  while (row < a.rows) {
    long long column = part * Width;
    const auto *halves = static_cast<const typename Type::Stored *>(a.x) + row * 2 * a.n + column;
    auto gates = *reinterpret_cast<const Some *>(halves + gateColumn(a.gate, a.n));
    auto factors = *reinterpret_cast<const Some *>(halves + factorColumn(a.gate, a.n));
    Some y;
#pragma unroll
    for (int j = 0; j < Width; ++j)
      y.at[j] = Type::store(gated<Type>(a, column + j, Type::load(gates.at[j]), Type::load(factors.at[j])));
    *reinterpret_cast<Some *>(static_cast<typename Type::Stored *>(a.y) + row * a.n + column) = y;
    row += rows;
    part += parts;
    if (part >= perRow) {
      part -= perRow;
      ++row;
    }
  }
}

template <typename Type> DEVICE void gate(const GateArguments &a) {
  constexpr int most = 16 / sizeof(typename Type::Stored);
  LET_NEXT_START;
  WAIT_FOR_BEFORE;
  if (a.n % most == 0)
    applyGate<Type, most>(a);
  else
    applyGate<Type, 1>(a);
}

KERNEL void caat_gate_f32(GateArguments a) { gate<Native<float>>(a); }
KERNEL void caat_gate_bf16(GateArguments a) { gate<BFloat16>(a); }
KERNEL void caat_gate_f16(GateArguments a) { gate<Half>(a); }

KERNEL void caat_epilogue_f32(EpilogueArguments a) { epilogue<Native<float>>(a); }
KERNEL void caat_epilogue_bf16(EpilogueArguments a) { epilogue<BFloat16>(a); }
KERNEL void caat_epilogue_f16(EpilogueArguments a) { epilogue<Half>(a); }
