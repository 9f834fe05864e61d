// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Npy.h"
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
#include "caat/runtime/SafeTensors.h"
#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>

namespace caat::runtime {

namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr size_t maxDims = 32;

/// NumPy's names, in the order of DType; bf16 has none.
constexpr std::string_view descriptors[numDTypes] = {"<f4", "",    "<f2", "<i8", "<i4", "|i1", "|b1",
                                                     "<f8", "|u1", "<i2", "<u2", "<u4", "<u8"};

/// The header is a Python dictionary literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderParser {
public:
  HeaderParser(std::string_view text, const std::string &origin) : text(text), origin(origin) {}

  void run() {
    expect('{');
    while (!accept('}')) {
      std::string_view key = quoted();
      expect(':');
      if (key == "descr")
        descriptor = quoted();
      else if (key == "fortran_order")
        fortran = boolean();
      else if (key == "shape")
        tuple();
      else
        error("unknown key '" + std::string(key) + "'");
      seen += key;
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (seen.size() != std::string_view("descrfortran_ordershape").size())
      error("expected each of descr, fortran_order and shape once");
  }

  std::string_view descriptor;
  bool fortran = false;
  Shape shape;

private:
  [[noreturn]] void error(const std::string &what) {
    failArtifact(origin, ": bad .npy header at character ", at, ": ", what);
  }
  void skip() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t'))
      ++at;
  }
  bool accept(char c) {
    skip();
    if (at >= text.size() || text[at] != c)
      return false;
    ++at;
    return true;
  }
  void expect(char c) {
    if (!accept(c))
      error(std::string("expected '") + c + "'");
  }
  std::string_view quoted() {
    skip();
    char quote = at < text.size() && text[at] == '"' ? '"' : '\'';
    expect(quote);
    size_t end = text.find(quote, at);
    if (end == text.npos)
      error("string without end (structured types are not supported)");
    std::string_view word = text.substr(at, end - at);
    at = end + 1;
    return word;
  }
  bool boolean() {
    skip();
    for (bool value : {false, true}) {
      std::string_view word = value ? "True" : "False";
      if (text.substr(at, word.size()) == word) {
        at += word.size();
        return value;
      }
    }
    error("expected True or False");
  }
  void tuple() {
    expect('(');
    while (!accept(')')) {
      skip();
      int64_t value = 0;
      auto [end, code] = std::from_chars(text.data() + at, text.data() + text.size(), value);
      if (code != std::errc() || value < 0)
        error("expected a size");
      at = static_cast<size_t>(end - text.data());
      shape.push_back(value);
      if (shape.size() > maxDims)
        error("too many dimensions");
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
  }

  std::string_view text;
  const std::string &origin;
  std::string seen;
  size_t at = 0;
};

/// Reorders column-major data to row-major.
void fromFortran(const std::byte *from, Tensor &to) {
  size_t size = sizeOf(to.dtype), rank = to.shape.size();
  std::vector<int64_t> index(rank, 0), strides(rank, 1);
  for (size_t i = 1; i < rank; ++i)
    strides[i] = strides[i - 1] * to.shape[i - 1];
  int64_t count = to.count(), source = 0;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to.data.get() + i * size, from + source * size, size);
    for (size_t d = rank; d-- > 0;) {
      source += strides[d];
      if (++index[d] < to.shape[d])
        break;
      source -= strides[d] * index[d];
      index[d] = 0;
    }
  }
}

} // namespace

Tensor parseNpy(std::span<const std::byte> bytes, const std::string &origin) {
  const char *text = reinterpret_cast<const char *>(bytes.data());
  if (bytes.size() < 10 || std::string_view(text, magic.size()) != magic)
    failArtifact(origin, ": not a .npy file");
  int version = static_cast<int>(bytes[6]);
  if (version < 1 || version > 3)
    failArtifact(origin, ": .npy version ", version, " is not known");
  size_t lengthBytes = version == 1 ? 2 : 4, headerBytes = 0, begin = 8 + lengthBytes;
  if (bytes.size() < begin)
    failArtifact(origin, ": not complete");
  std::memcpy(&headerBytes, bytes.data() + 8, lengthBytes);
  if (headerBytes > bytes.size() - begin)
    failArtifact(origin, ": header of ", headerBytes, " bytes in a file of ", bytes.size());
  HeaderParser header({text + begin, headerBytes}, origin);
  header.run();
  auto found = std::find(std::begin(descriptors), std::end(descriptors), header.descriptor);
  if (header.descriptor.empty() || found == std::end(descriptors))
    failArtifact(origin, ": element type '", header.descriptor, "' is not supported");
  DType dtype = static_cast<DType>(found - std::begin(descriptors));
  std::span<const std::byte> data = bytes.subspan(begin + headerBytes);
  size_t needed = static_cast<size_t>(elementCount(header.shape, sizeOf(dtype))) * sizeOf(dtype);
  if (data.size() != needed)
    failArtifact(origin, ": ", data.size(), " bytes of data, shape ", toString(header.shape), " of ", nameOf(dtype),
                 " needs ", needed);
  Tensor tensor(dtype, header.shape);
  if (header.fortran && header.shape.size() > 1)
    fromFortran(data.data(), tensor);
  else
    std::copy(data.begin(), data.end(), tensor.data.get());
  return tensor;
}

Tensor readNpy(const std::string &path) {
  MappedFile file = MappedFile::open(path);
  return parseNpy(file.bytes(), path);
}

std::string npyHeader(const Tensor &tensor) {
  std::string_view descriptor = descriptors[static_cast<int>(tensor.dtype)];
  if (descriptor.empty())
    failInput("NumPy has no type for ", nameOf(tensor.dtype), "; write .safetensors instead");
  std::string text = "{'descr': '" + std::string(descriptor) + "', 'fortran_order': False, 'shape': (";
  for (int64_t dim : tensor.shape)
    text += std::to_string(dim) + ", ";
  text += "), }";
  if (size_t comma = text.find(", ), }"); comma != text.npos && tensor.shape.size() > 1)
    text.erase(comma, 2);
  size_t total = (10 + text.size() + 1 + 63) / 64 * 64;
  text.append(total - 10 - text.size() - 1, ' ');
  text += '\n';
  std::string header(magic);
  header += '\1';
  header += '\0';
  header += static_cast<char>(text.size() & 255);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

void writeNpy(const std::string &path, const Tensor &tensor) {
  std::string header = npyHeader(tensor);
  std::span<const std::byte> parts[] = {std::as_bytes(std::span(header)), {tensor.data.get(), tensor.bytes()}};
  writeFile(path, parts);
}

namespace {
enum class Format { Npy, Npz, SafeTensors };
Format formatOf(const std::string &path) {
  std::string ending = std::filesystem::path(path).extension();
  if (ending == ".npy")
    return Format::Npy;
  if (ending == ".npz")
    return Format::Npz;
  if (ending == ".safetensors")
    return Format::SafeTensors;
  failInput("'", path, "': the name must end in .safetensors, .npz or .npy");
}
} // namespace

void checkTensorsPath(const std::string &path) { formatOf(path); }

TensorMap readTensors(const std::string &path) {
  switch (formatOf(path)) {
  case Format::Npy:
    return {{std::filesystem::path(path).stem(), readNpy(path)}};
  case Format::Npz:
    return readNpz(path);
  case Format::SafeTensors:
    return readSafeTensors(path);
  }
  __builtin_unreachable();
}

void writeTensors(const std::string &path, const TensorMap &tensors) {
  switch (formatOf(path)) {
  case Format::Npy:
    if (tensors.size() != 1)
      failInput("'", path, "': a .npy file holds one array, there are ", tensors.size());
    return writeNpy(path, tensors.begin()->second);
  case Format::Npz:
    return writeNpz(path, tensors);
  case Format::SafeTensors:
    return writeSafeTensors(path, tensors);
  }
}

} // namespace caat::runtime
