// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Link.h"
#include "llvm/ADT/StringSwitch.h"

using namespace llvm;
using namespace caat::check;

/// A number with a unit; `unitOf` gives the unit's value, 0 for none.
static Expected<double> parseQuantity(StringRef text, StringRef what, StringRef example,
                                      function_ref<double(StringRef)> unitOf) {
  StringRef number = text.take_while([](char c) { return isDigit(c) || c == '.'; });
  StringRef unit = text.drop_front(number.size());
  double value = 0;
  if (number.empty() || number.getAsDouble(value))
    return createStringError("'" + text + "' is no " + what + ": expected a number with a unit, e.g. " + example);
  double factor = unitOf(unit);
  if (factor == 0)
    return createStringError("'" + text + "' has the unknown unit '" + unit + "', e.g. " + example);
  return value * factor;
}

Expected<Link> caat::check::parseLink(StringRef text) {
  auto [bandwidth, latency] = text.split(',');
  Link link;
  Expected<double> rate = parseQuantity(bandwidth, "bandwidth", "10GB/s", [](StringRef unit) {
    return StringSwitch<double>(unit)
        .Case("B/s", 1)
        .Case("KB/s", 1e3)
        .Case("MB/s", 1e6)
        .Case("GB/s", 1e9)
        .Case("TB/s", 1e12)
        .Case("Mb/s", 1e6 / 8)
        .Case("Gb/s", 1e9 / 8)
        .Case("Tb/s", 1e12 / 8)
        .Default(0);
  });
  if (!rate)
    return rate.takeError();
  if (*rate <= 0)
    return createStringError("'" + bandwidth + "': the bandwidth must be above 0");
  link.bytesPerSecond = *rate;
  if (latency.empty())
    return link;
  Expected<double> delay = parseQuantity(latency, "latency", "5us", [](StringRef unit) {
    return StringSwitch<double>(unit).Case("s", 1).Case("ms", 1e-3).Case("us", 1e-6).Case("ns", 1e-9).Default(0);
  });
  if (!delay)
    return delay.takeError();
  link.latency = *delay;
  return link;
}

int64_t caat::check::ringSteps(StringRef kind, int64_t ranks) {
  return kind == "all_reduce" ? 2 * (ranks - 1) : ranks - 1;
}

double caat::check::ringBytes(StringRef kind, int64_t ranks, int64_t bytes) {
  return double(ringSteps(kind, ranks)) * bytes / ranks;
}
