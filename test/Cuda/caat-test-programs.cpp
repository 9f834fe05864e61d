// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Runs programs against stored outputs, many in one process. Each line of the standard input is a check, its fields
// separated by tabs:
//
//   infer NAME PROGRAM INPUTS WANT TOLERANCE       each element, relative to 1 or its value, masked positions aside
//   mean NAME PROGRAM INPUTS WANT TOLERANCE        the root of the mean square of the differences
//   generate NAME PROGRAM PROMPT WANT              the same tokens
//
// Prints a line for each; the exit code is 1 where one failed. With --halves, runs are made in two halves that take
// turns where the program allows it. Sums in few bits are rounded otherwise then, since other ranks keep their errors:
// where there is a file WANT.halves.npz, it has what the CPU computes in halves.
#include "caat/runtime/Engine.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/Npy.h"
#include "caat/runtime/Tasks.h"
#include <cmath>
#include <filesystem>
#include <iomanip>
#include <iostream>

using namespace caat::runtime;

namespace {

/// Elements of a tensor as numbers.
std::vector<double> numbersOf(const Tensor &tensor) {
  std::vector<double> numbers(static_cast<size_t>(tensor.count()));
  for (size_t i = 0; i < numbers.size(); ++i) {
    switch (tensor.dtype) {
    case DType::F32:
      numbers[i] = tensor.as<float>()[i];
      break;
    case DType::F64:
      numbers[i] = tensor.as<double>()[i];
      break;
    case DType::I64:
      numbers[i] = static_cast<double>(tensor.as<int64_t>()[i]);
      break;
    case DType::I32:
      numbers[i] = tensor.as<int32_t>()[i];
      break;
    case DType::Bool:
    case DType::UI8:
      numbers[i] = tensor.as<uint8_t>()[i];
      break;
    default:
      failInput("outputs of type ", nameOf(tensor.dtype), " are not compared");
    }
  }
  return numbers;
}

/// Whether position `i` of an output is one that the attention mask [batch, length] leaves out.
class Mask {
public:
  Mask(const TensorMap &inputs, const std::string &name, const Shape &shape) {
    auto found = inputs.find("attention_mask");
    if (found == inputs.end() || found->second.dtype != DType::I64 || found->second.shape.size() != 2 ||
        shape.size() < 3)
      return;
    size_t axis = name.starts_with("present") ? 2 : 1;
    int64_t length = found->second.shape[1];
    if (shape[axis] > length)
      return;
    mask = found->second.as<int64_t>();
    positions = shape[axis];
    first = length - positions;
    width = length;
    rows = shape[0];
    inner = 1;
    for (size_t d = axis + 1; d < shape.size(); ++d)
      inner *= shape[d];
    perRow = elementCount(shape) / std::max<int64_t>(rows, 1);
  }
  bool leavesOut(int64_t i) const { return mask && mask[i / perRow * width + first + i / inner % positions] == 0; }

private:
  const int64_t *mask = nullptr;
  int64_t positions = 1, first = 0, width = 0, rows = 1, inner = 1, perRow = 1;
};

struct Difference {
  double largest = 0, squares = 0;
  int64_t count = 0;
  std::string where;
};

Difference compare(const TensorMap &inputs, const TensorMap &want, const TensorMap &got) {
  Difference result;
  for (const auto &[name, expected] : want) {
    auto found = got.find(name);
    if (found == got.end() || found->second.shape != expected.shape)
      failRun(name, found == got.end() ? " is missing" : " has another shape");
    std::vector<double> x = numbersOf(expected), y = numbersOf(found->second);
    Mask mask(inputs, name, expected.shape);
    for (size_t i = 0; i < x.size(); ++i) {
      if (mask.leavesOut(static_cast<int64_t>(i)) || x[i] == y[i])
        continue;
      double difference = std::abs(x[i] - y[i]), relative = difference / std::max(1.0, std::abs(x[i]));
      if (!std::isfinite(difference))
        failRun(name, " is not a number, or infinite, at ", i, ": ", y[i], ", not ", x[i]);
      result.squares += difference * difference;
      if (relative > result.largest) {
        result.largest = relative;
        result.where = name;
      }
    }
    result.count += static_cast<int64_t>(x.size());
  }
  return result;
}

/// One program is open at a time: the checks of one follow each other.
class Programs {
public:
  explicit Programs(bool halves) : halves(halves) {}
  bool inHalves() const { return halves; }
  Engine &open(const std::string &directory) {
    if (directory != name) {
      close();
      EngineOptions options;
      if (Manifest manifest = Manifest::read(directory + "/manifest.json");
          halves && manifest.sites.empty() && (manifest.halves.tokens || manifest.halves.batch))
        options.halves = HalvesMode::On;
      engine = std::make_unique<Engine>(directory, options);
      name = directory;
    }
    return *engine;
  }
  void close() {
    if (engine)
      halvedRuns_ += engine->halvedRuns();
    engine.reset();
    name.clear();
  }
  int64_t halvedRuns() const { return halvedRuns_; }

private:
  bool halves;
  std::string name;
  std::unique_ptr<Engine> engine;
  int64_t halvedRuns_ = 0;
};

/// Returns what to print behind the name.
std::string check(const std::vector<std::string> &fields, Programs &programs) {
  auto field = [&](size_t i) -> const std::string & {
    if (i >= fields.size())
      failInput("a field is missing");
    return fields[i];
  };
  Engine &engine = programs.open(field(2));
  std::ostringstream text;
  text << std::scientific << std::setprecision(1);
  if (field(0) == "generate") {
    Tensor want = readNpy(field(4)), prompt = readNpy(field(3));
    Tensor got = generate(engine, prompt, {want.shape.back() - prompt.shape.back(), std::nullopt, {}});
    std::vector<double> x = numbersOf(want), y = numbersOf(got);
    size_t same = 0;
    while (same < x.size() && same < y.size() && x[same] == y[same])
      ++same;
    if (x != y)
      failRun("differs from token ", same, " on");
    text << x.size() << " tokens";
    return text.str();
  }
  std::string halves = field(4) + ".halves.npz";
  bool hasOwn = programs.inHalves() && std::filesystem::exists(halves);
  TensorMap inputs = readTensors(field(3)), want = readTensors(hasOwn ? halves : field(4));
  Difference difference = compare(inputs, want, engine.infer(inputs));
  double value = difference.largest, tolerance = std::stod(field(5));
  if (field(0) == "mean")
    value = std::sqrt(difference.squares / static_cast<double>(std::max<int64_t>(difference.count, 1)));
  text << value;
  if (value > tolerance)
    failRun("off by ", text.str(), " (", tolerance, " are allowed): ", difference.where);
  return "max error " + text.str();
}

} // namespace

int main(int argc, char **argv) {
  bool halves = argc == 2 && std::string_view(argv[1]) == "--halves", failed = false;
  if (argc > 1 && !halves) {
    std::cerr << "usage: caat-test-programs [--halves] < CHECKS\n";
    return 2;
  }
  Programs programs(halves);
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<std::string> fields;
    std::istringstream stream(line);
    for (std::string field; std::getline(stream, field, '\t');)
      fields.push_back(field);
    if (fields.size() < 2)
      continue;
    try {
      std::string said = check(fields, programs);
      std::cout << "ok      " << fields[1] << ": " << said << std::endl;
    } catch (const std::exception &error) {
      std::cout << "FAILED  " << fields[1] << ": " << error.what() << std::endl;
      failed = true;
      programs.close();
    }
  }
  programs.close();
  if (halves)
    std::cout << programs.halvedRuns() << " runs were made in two halves" << std::endl;
  return failed;
}
