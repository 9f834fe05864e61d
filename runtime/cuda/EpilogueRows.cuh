// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A product's bias and activation (Epilogue.cuh), applied in place. Part of Kernels.cu.

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

KERNEL void caat_epilogue_f32(EpilogueArguments a) { epilogue<Native<float>>(a); }
KERNEL void caat_epilogue_bf16(EpilogueArguments a) { epilogue<BFloat16>(a); }
KERNEL void caat_epilogue_f16(EpilogueArguments a) { epilogue<Half>(a); }
