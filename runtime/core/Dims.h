// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Finds the values of a program's named dimensions from the arrays that it is given.
#ifndef CAAT_RUNTIME_CORE_DIMS_H
#define CAAT_RUNTIME_CORE_DIMS_H

#include "caat/runtime/Manifest.h"

namespace caat::runtime {

class DimSolver {
public:
  explicit DimSolver(const Manifest &manifest);

  /// Says that an expression has this value. Throws Error (Input) where it contradicts. `what` names the source.
  void set(const ShapeExpr &expression, int64_t value, const std::string &what);
  void set(size_t dim, int64_t value, const std::string &what);
  /// Says that array `spec`, unsharded, has the shape.
  void match(const ArraySpec &spec, const Shape &shape);
  bool known(size_t dim) const { return values[dim].has_value(); }

  /// All values; throws Error (Input) where one is unknown or an expression does not have the value that was said.
  std::vector<int64_t> solve() const;

private:
  void solveClaims();
  std::vector<int64_t> check() const;

  struct Claim {
    ShapeExpr expression;
    int64_t value;
    std::string what;
  };
  const Manifest &manifest;
  std::vector<std::optional<int64_t>> values;
  std::vector<std::string> sources;
  std::vector<Claim> claims;
};

} // namespace caat::runtime

#endif
