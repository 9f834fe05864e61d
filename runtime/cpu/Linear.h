// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Products with weights, packed once: of few rows by our own loops, which read memory faster, of many by oneDNN.
#ifndef CAAT_RUNTIME_CPU_LINEAR_H
#define CAAT_RUNTIME_CPU_LINEAR_H

#include "caat/runtime/Device.h"
#include <cstddef>
#include <functional>
#include <memory>

namespace caat::runtime {

/// The linear parameters of one rank. Used by that rank's thread only.
class Linears {
public:
  explicit Linears(int threads = 1);
  ~Linears();

  /// Registers the weight of `spec` at `data` (in its stored layout, kept alive by the caller). Returns its number.
  size_t add(const ParameterSpec &spec, const std::byte *data);
  /// The same for a weight that travels: its place is the caller's, see packTo() and moveTo().
  size_t addTravelling(const ParameterSpec &spec, const std::byte *data);
  /// Packs all but those that travel, once, after the last add(); `packed(i)` is called when weight i no longer needs
  /// its data. Weights that run as fast as they are stored stay where they are and are not reported.
  void pack(const std::function<void(size_t)> &packed);

  // After pack().

  /// Bytes of a weight, as a product reads it.
  size_t bytes(size_t weight) const;
  /// Packs a weight that travels from its stored data to `to`, and reads it there from now on.
  void packTo(size_t weight, std::byte *to);
  /// Another rank's slice of the weight, packed, is read at `data` from now on.
  void moveTo(size_t weight, const std::byte *data);

  /// As Linear says; x, y and bias are fp32, x is rounded to bf16 for a bf16 weight. A weight in blocks is rounded to
  /// the parameter's type, as x, in products of many rows only.
  void run(size_t weight, const float *x, int64_t m, float *y, bool accumulate, const Epilogue &epilogue = {});

  /// Bytes of all weights, as a product reads them.
  size_t bytes() const;
  /// oneDNN's name of the implementation that `run` uses for m rows, or "panels".
  std::string implementation(size_t weight, int64_t m, const Epilogue &epilogue = {});

private:
  struct State;
  std::unique_ptr<State> state;
};

/// fp32, bf16 where the processor has it (else as fp32), and plain loops for f64, i64, i32.
void runMatMul(const MatMul &matmul);

} // namespace caat::runtime

#endif
