// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "llvm/Support/JSON.h"
#include "Report.h"

using namespace llvm;
using namespace caat::check;

static void writeVerdict(json::OStream &json, const Verdict &verdict) {
  json.object([&] {
    json.attribute("ranks", verdict.ranks);
    json.attribute("verdict", nameOf(verdict.kind));
    json.attributeArray("reasons", [&] {
      for (const std::string &reason : verdict.reasons)
        json.value(json::fixUTF8(reason));
    });
  });
}

static void writeSize(json::OStream &json, const RankReport &rank, const Report &report) {
  auto scenarios = [&](auto value) {
    json.attribute("token", value(Token));
    json.attribute("prefill", value(Prefill));
    if (report.hasCache)
      json.attribute("decode", value(Decode));
  };
  json.object([&] {
    json.attribute("ranks", rank.ranks);
    json.attribute("weight_bytes", rank.weightBytes);
    json.attribute("whole_weight_bytes", rank.wholeBytes);
    json.attribute("extra_weight_bytes", rank.extraBytes);
    json.attribute("cache_bytes_per_position", rank.cacheBytes);
    json.attribute("cache_bytes", rank.cacheBytes * report.context * report.batch);
    json.attributeObject("bytes", [&] { scenarios([&](Scenario s) { return rank.payload(s); }); });
    json.attributeObject("sent_bytes", [&] { scenarios([&](Scenario s) { return rank.sent(s).bytes; }); });
    if (report.link)
      json.attributeObject("seconds",
                           [&] { scenarios([&](Scenario s) { return rank.sent(s).seconds(*report.link); }); });
    json.attributeArray("messages", [&] {
      for (const Message &message : rank.messages)
        json.object([&] {
          json.attribute("site", json::fixUTF8(message.site));
          json.attribute("kind", message.kind);
          json.attribute("node", json::fixUTF8(message.node));
          json.attributeObject("bytes", [&] { scenarios([&](Scenario s) { return message.bytes[s]; }); });
        });
    });
  });
}

void caat::check::printJson(const Report &report, raw_ostream &os) {
  json::OStream json(os, 2);
  json.object([&] {
    json.attribute("model", json::fixUTF8(report.model));
    json.attribute("nodes", report.nodes);
    json.attribute("raised_ops", report.raisedOps);
    json.attribute("attentions", report.attentions);
    json.attribute("weight_bytes", report.weightBytes);
    json.attribute("largest_size", report.largestSize);
    json.attributeObject("dims", [&] {
      json.attribute("batch", json::fixUTF8(report.dims.batch));
      json.attribute("tokens", json::fixUTF8(report.dims.query));
      json.attribute("cached", json::fixUTF8(report.dims.past));
    });
    json.attribute("batch", report.batch);
    json.attribute("prefill", report.prefill);
    json.attribute("context", report.context);
    if (report.link)
      json.attributeObject("link", [&] {
        json.attribute("bytes_per_second", report.link->bandwidth);
        json.attribute("latency", report.link->latency);
      });
    json.attributeArray("verdicts", [&] {
      for (const Verdict &verdict : report.verdicts)
        writeVerdict(json, verdict);
    });
    json.attributeArray("sizes", [&] {
      for (const RankReport &rank : report.sizes)
        writeSize(json, rank, report);
    });
  });
  os << "\n";
}
