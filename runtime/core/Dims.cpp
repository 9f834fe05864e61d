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

std::vector<int64_t> DimSolver::solve() const {
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
