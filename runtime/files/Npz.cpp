// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// .npz: a zip archive of .npy files.
#include "caat/runtime/Error.h"
#include "caat/runtime/File.h"
#include "caat/runtime/Npy.h"
#include <cstring>
#include <zlib.h>

namespace caat::runtime {

namespace {

constexpr uint32_t localSignature = 0x04034b50, centralSignature = 0x02014b50, endSignature = 0x06054b50;
constexpr size_t localBytes = 30, centralBytes = 46, endBytes = 22;
constexpr size_t maxEntryBytes = size_t{1} << 34; // of an unpacked array: a small file must not ask for all memory
constexpr uint16_t utf8Names = 0x800, encrypted = 1;

/// Little-endian fields with a bound check on each read.
class Fields {
public:
  Fields(std::span<const std::byte> bytes, const std::string &origin) : bytes(bytes), origin(origin) {}
  std::span<const std::byte> slice(size_t offset, size_t length) const {
    if (offset > bytes.size() || length > bytes.size() - offset)
      failArtifact(origin, ": not a complete .npz file");
    return bytes.subspan(offset, length);
  }
  template <typename T> T read(size_t offset) const {
    T value;
    std::memcpy(&value, slice(offset, sizeof value).data(), sizeof value);
    return value;
  }
  size_t size() const { return bytes.size(); }

private:
  std::span<const std::byte> bytes;
  const std::string &origin;
};

template <typename T> void append(std::string &text, T value) {
  text.append(reinterpret_cast<const char *>(&value), sizeof value);
}

size_t findEnd(const Fields &file, const std::string &origin) {
  size_t limit = std::min<size_t>(file.size(), endBytes + 0xffff);
  for (size_t back = endBytes; back <= limit; ++back)
    if (file.read<uint32_t>(file.size() - back) == endSignature)
      return file.size() - back;
  failArtifact(origin, ": not a .npz file, or not complete");
}

std::vector<std::byte> inflateEntry(std::span<const std::byte> packed, size_t size, const std::string &origin) {
  std::vector<std::byte> result(size);
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    failRun("zlib could not start");
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<std::byte *>(packed.data()));
  stream.next_out = reinterpret_cast<Bytef *>(result.data());
  size_t inLeft = packed.size(), outLeft = size;
  int code = Z_OK;
  while (code == Z_OK) { // avail_* are 32 bits wide
    stream.avail_in = static_cast<uInt>(std::min<size_t>(inLeft, 1 << 30));
    stream.avail_out = static_cast<uInt>(std::min<size_t>(outLeft, 1 << 30));
    uInt inBefore = stream.avail_in, outBefore = stream.avail_out;
    code = inflate(&stream, Z_NO_FLUSH);
    inLeft -= inBefore - stream.avail_in;
    outLeft -= outBefore - stream.avail_out;
  }
  inflateEnd(&stream);
  if (code != Z_STREAM_END || outLeft != 0)
    failArtifact(origin, ": bad compressed data");
  return result;
}

uint32_t checksum(std::span<const std::byte> bytes, uint32_t crc = 0) {
  return static_cast<uint32_t>(crc32_z(crc, reinterpret_cast<const Bytef *>(bytes.data()), bytes.size()));
}

struct Sizes {
  uint64_t packed, unpacked, offset;
};

/// Sizes of 0xffffffff stand for 64-bit ones in the extra field (numpy writes them for streamed entries).
void readZip64(const Fields &extra, Sizes &sizes) {
  for (size_t at = 0; at + 4 <= extra.size();) {
    uint16_t id = extra.read<uint16_t>(at), length = extra.read<uint16_t>(at + 2);
    size_t field = at + 4;
    if (id == 1)
      for (uint64_t *value : {&sizes.unpacked, &sizes.packed, &sizes.offset})
        if (*value == 0xffffffff) {
          *value = extra.read<uint64_t>(field);
          field += 8;
        }
    at += 4 + length;
  }
}

} // namespace

TensorMap parseNpz(std::span<const std::byte> bytes, const std::string &origin) {
  Fields file(bytes, origin);
  size_t end = findEnd(file, origin);
  size_t entries = file.read<uint16_t>(end + 10), at = file.read<uint32_t>(end + 16);
  TensorMap result;
  size_t packedBytes = 0;
  for (size_t i = 0; i < entries; ++i) {
    if (file.read<uint32_t>(at) != centralSignature)
      failArtifact(origin, ": bad directory of the archive");
    uint16_t flags = file.read<uint16_t>(at + 8), method = file.read<uint16_t>(at + 10);
    uint32_t crc = file.read<uint32_t>(at + 16);
    size_t nameBytes = file.read<uint16_t>(at + 28), extraBytes = file.read<uint16_t>(at + 30),
           commentBytes = file.read<uint16_t>(at + 32);
    Sizes sizes{file.read<uint32_t>(at + 20), file.read<uint32_t>(at + 24), file.read<uint32_t>(at + 42)};
    std::span<const std::byte> nameData = file.slice(at + centralBytes, nameBytes);
    std::string name(reinterpret_cast<const char *>(nameData.data()), nameBytes), where = origin + ": '" + name + "'";
    readZip64(Fields(file.slice(at + centralBytes + nameBytes, extraBytes), where), sizes);
    at += centralBytes + nameBytes + extraBytes + commentBytes;

    if (flags & encrypted)
      failArtifact(where, ": encrypted");
    if (method != 0 && method != 8)
      failArtifact(where, ": compression method ", method, " is not supported");
    if (sizes.unpacked > maxEntryBytes)
      failArtifact(where, ": ", sizes.unpacked, " bytes, the limit is ", maxEntryBytes);
    // Entries that share their data would let a small file unpack to one of any size.
    if (sizes.packed > bytes.size() || (packedBytes += sizes.packed) > bytes.size())
      failArtifact(where, ": the entries overlap");
    if (method == 8 && sizes.unpacked / 1100 > sizes.packed) // deflate reaches 1032
      failArtifact(where, ": ", sizes.packed, " bytes cannot unpack to ", sizes.unpacked);
    if (file.read<uint32_t>(sizes.offset) != localSignature)
      failArtifact(where, ": bad position in the archive");
    size_t begin =
        sizes.offset + localBytes + file.read<uint16_t>(sizes.offset + 26) + file.read<uint16_t>(sizes.offset + 28);
    std::span<const std::byte> data = file.slice(begin, sizes.packed);
    std::vector<std::byte> unpacked;
    if (method == 8) {
      unpacked = inflateEntry(data, sizes.unpacked, where);
      data = unpacked;
    }
    if (checksum(data) != crc)
      failArtifact(where, ": checksum does not fit, the file is damaged");
    if (name.ends_with(".npy"))
      name.resize(name.size() - 4);
    if (!result.emplace(name, parseNpy(data, where)).second)
      failArtifact(where, ": appears twice");
  }
  return result;
}

TensorMap readNpz(const std::string &path) {
  MappedFile file = MappedFile::open(path);
  return parseNpz(file.bytes(), path);
}

void writeNpz(const std::string &path, const TensorMap &tensors) {
  std::vector<std::string> heads; // local header + .npy header of each entry
  std::string directory;
  size_t offset = 0;
  for (const auto &[name, tensor] : tensors) {
    std::string fileName = name + ".npy", npy = npyHeader(tensor);
    std::span<const std::byte> data{tensor.data.get(), tensor.bytes()};
    size_t size = npy.size() + data.size();
    if (size >= 0xffffffff || offset >= 0xffffffff || tensors.size() >= 0xffff)
      failInput("'", path, "': above 4 GiB; write .safetensors instead");
    uint32_t crc = checksum(data, checksum(std::as_bytes(std::span(npy))));
    std::string fields; // that both headers have, from "version needed" to "extra length"
    append<uint16_t>(fields, 20);
    append<uint16_t>(fields, utf8Names);
    append<uint16_t>(fields, 0);        // stored
    append<uint32_t>(fields, 0x210000); // 1 January 1980: equal arrays make equal files
    append<uint32_t>(fields, crc);
    append<uint32_t>(fields, static_cast<uint32_t>(size));
    append<uint32_t>(fields, static_cast<uint32_t>(size));
    append<uint16_t>(fields, static_cast<uint16_t>(fileName.size()));
    append<uint16_t>(fields, 0);
    std::string &head = heads.emplace_back();
    append(head, localSignature);
    head += fields + fileName + npy;
    append(directory, centralSignature);
    append<uint16_t>(directory, 20);
    directory += fields;
    directory.append(10, '\0'); // comment, disk, attributes
    append<uint32_t>(directory, static_cast<uint32_t>(offset));
    directory += fileName;
    offset += head.size() + data.size();
  }
  std::vector<std::span<const std::byte>> parts;
  size_t i = 0;
  for (const auto &[name, tensor] : tensors) {
    parts.push_back(std::as_bytes(std::span(heads[i++])));
    parts.emplace_back(tensor.data.get(), tensor.bytes());
  }
  size_t directoryBytes = directory.size();
  append(directory, endSignature);
  append<uint32_t>(directory, 0);
  append<uint16_t>(directory, static_cast<uint16_t>(tensors.size()));
  append<uint16_t>(directory, static_cast<uint16_t>(tensors.size()));
  append<uint32_t>(directory, static_cast<uint32_t>(directoryBytes));
  append<uint32_t>(directory, static_cast<uint32_t>(offset));
  append<uint16_t>(directory, 0);
  parts.push_back(std::as_bytes(std::span(directory)));
  writeFile(path, parts);
}

} // namespace caat::runtime
