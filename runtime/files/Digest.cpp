// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/runtime/Digest.h"
#include <algorithm>
#include <bit>
#include <cstring>

namespace caat::runtime {

template <typename T> static T read(const std::byte *from) {
  T number;
  std::memcpy(&number, from, sizeof number);
  return number;
}

void Digest::addStripes(const std::byte *from, size_t bytes) {
  uint64_t own[] = {lanes[0], lanes[1], lanes[2], lanes[3]}; // in registers
  for (const std::byte *end = from + bytes; from != end; from += stripe)
    for (int i = 0; i < 4; ++i)
      own[i] = std::rotl(own[i] + read<uint64_t>(from + 8 * i) * primes[1], 31) * primes[0];
  std::copy(std::begin(own), std::end(own), lanes);
}

void Digest::add(std::span<const std::byte> bytes) {
  size_t held = length % stripe;
  length += bytes.size();
  if (held > 0) {
    size_t more = std::min(bytes.size(), stripe - held);
    std::copy_n(bytes.data(), more, rest + held);
    if (held + more < stripe)
      return;
    addStripes(rest, stripe);
    bytes = bytes.subspan(more);
  }
  size_t whole = bytes.size() / stripe * stripe;
  addStripes(bytes.data(), whole);
  std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(whole), bytes.end(), rest);
}

uint64_t Digest::value() const {
  const auto &[p1, p2, p3, p4, p5] = primes;
  uint64_t hash = p5;
  if (length >= stripe) {
    hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
    for (uint64_t lane : lanes)
      hash = (hash ^ std::rotl(lane * p2, 31) * p1) * p1 + p4;
  }
  hash += length;
  const std::byte *at = rest, *end = rest + length % stripe;
  for (; end - at >= 8; at += 8)
    hash = std::rotl(hash ^ std::rotl(read<uint64_t>(at) * p2, 31) * p1, 27) * p1 + p4;
  for (; end - at >= 4; at += 4)
    hash = std::rotl(hash ^ read<uint32_t>(at) * p1, 23) * p2 + p3;
  for (; at != end; ++at)
    hash = std::rotl(hash ^ std::to_integer<uint64_t>(*at) * p5, 11) * p1;
  hash = (hash ^ hash >> 33) * p2;
  hash = (hash ^ hash >> 29) * p3;
  return hash ^ hash >> 32;
}

std::string Digest::text() const {
  constexpr char digits[] = "0123456789abcdef";
  std::string result;
  for (int shift = 60; shift >= 0; shift -= 4)
    result += digits[value() >> shift & 15];
  return result;
}

} // namespace caat::runtime
