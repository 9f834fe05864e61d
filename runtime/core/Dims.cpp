// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Dims.h"
#include "caat/runtime/Error.h"

namespace caat::runtime {

DimSolver::DimSolver(const Manifest &manifest)
    : manifest(manifest), values(manifest.dims.size()), sources(manifest.dims.size()) {}

void DimSolver::set(size_t dim, int64_t value, const std::string &what) {
  if (value < 0)
    failInput(what, ": dimension '", manifest.dims[dim], "' is ", value);
  if (!values[dim]) {
    values[dim] = value;
    sources[dim] = what;
  } else if (*values[dim] != value) {
    failInput(what, ": dimension '", manifest.dims[dim], "' is ", value, ", but ", *values[dim], " by ", sources[dim]);
  }
}

void DimSolver::set(const ShapeExpr &expression, int64_t value, const std::string &what) {
  if (std::optional<int64_t> symbol = expression.asSymbol())
    set(static_cast<size_t>(*symbol), value, what);
  else
    claims.push_back({expression, value, what});
}

void DimSolver::match(const ArraySpec &spec, const Shape &shape) {
  std::string expected;
  for (size_t d = 0; d < spec.shape.size(); ++d)
    expected +=
        (d ? ", " : "") + (spec.shard && static_cast<size_t>(spec.shard->dim) == d ? std::to_string(spec.shard->global)
                                                                                   : spec.shape[d].text());
  if (shape.size() != spec.shape.size())
    failInput("input '", spec.name, "' has shape ", toString(shape), ", expected [", expected, "]");
  for (size_t d = 0; d < shape.size(); ++d) {
    if (spec.shard && static_cast<size_t>(spec.shard->dim) == d) {
      if (shape[d] != spec.shard->global)
        failInput("input '", spec.name, "' has shape ", toString(shape), ", expected [", expected, "]");
      continue;
    }
    set(spec.shape[d], shape[d], "input '" + spec.name + "' of shape " + toString(shape));
  }
}

/// The value of dimension `dim` with which `expression` is `value`, where it is linear in that dimension.
static std::optional<int64_t> solveFor(const ShapeExpr &expression, size_t dim, int64_t value,
                                       std::vector<int64_t> dims) {
  int64_t at[3];
  for (int64_t x = 0; x < 3; ++x) {
    dims[dim] = x;
    at[x] = expression.evaluate(dims);
  }
  int64_t slope = at[1] - at[0];
  if (slope == 0 || at[2] - at[1] != slope || (value - at[0]) % slope != 0 || (value - at[0]) / slope < 0)
    return std::nullopt;
  return (value - at[0]) / slope;
}

/// Finds the dimensions that only expressions hold, one after the other.
void DimSolver::solveClaims() {
  for (bool changed = true; changed;) {
    changed = false;
    for (const Claim &claim : claims) {
      std::optional<size_t> missing;
      size_t count = 0;
      std::vector<int64_t> dims(values.size());
      for (int64_t symbol : claim.expression.symbols()) {
        if (values[static_cast<size_t>(symbol)])
          dims[static_cast<size_t>(symbol)] = *values[static_cast<size_t>(symbol)];
        else
          missing = static_cast<size_t>(symbol), ++count;
      }
      if (count != 1)
        continue;
      if (std::optional<int64_t> value = solveFor(claim.expression, *missing, claim.value, dims)) {
        set(*missing, *value, claim.what);
        changed = true;
      }
    }
  }
}

std::vector<int64_t> DimSolver::solve() const {
  DimSolver complete = *this;
  complete.solveClaims();
  return complete.check();
}

std::vector<int64_t> DimSolver::check() const {
  std::vector<int64_t> result;
  for (size_t d = 0; d < values.size(); ++d) {
    if (!values[d])
      failInput("no input determines dimension '", manifest.dims[d], "'");
    result.push_back(*values[d]);
  }
  for (const Claim &claim : claims) {
    int64_t value = claim.expression.evaluate(result);
    if (value != claim.value)
      failInput(claim.what, ": a dimension is ", claim.value, ", expected ",
                claim.expression.asConstant() ? "" : claim.expression.text() + " = ", value);
  }
  return result;
}

} // namespace caat::runtime
