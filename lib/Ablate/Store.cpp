// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "caat/Ablate/Store.h"
#include "caat/runtime/Error.h"
#include <filesystem>
#include <nlohmann/json.hpp>

namespace caat::ablate {

using Json = nlohmann::json;
using runtime::Judgement;

namespace {

/// Numbers keep all their digits: a run that goes on gives the figures of one that was never stopped.
Json toJson(const std::string &key, int64_t batch, const Judgement &judgement) {
  std::string agree;
  for (uint8_t same : judgement.agree)
    agree += same ? '1' : '0';
  return {{"plan", key}, {"batch", batch}, {"nll", judgement.nll}, {"kl", judgement.kl}, {"agree", agree}};
}

Judgement fromJson(const Json &json) {
  Judgement judgement;
  judgement.nll = json.at("nll").get<std::vector<double>>();
  judgement.kl = json.at("kl").get<std::vector<double>>();
  for (char same : json.at("agree").get<std::string>())
    judgement.agree.push_back(same == '1');
  return judgement;
}

} // namespace

Store::Store(const std::string &path, const std::string &identity) : path(path) {
  std::ifstream old(path);
  std::string line;
  int64_t number = 0;
  std::uintmax_t whole = 0; // bytes of whole lines
  while (old && std::getline(old, line)) {
    if (old.eof())
      break; // the line that was being written when the run ended
    ++number;
    whole += line.size() + 1;
    try {
      Json json = Json::parse(line);
      if (number == 1) {
        std::string before = json.at("for").get<std::string>();
        if (before != identity)
          runtime::failInput(path, ": holds results for ", before, ", this run is for ", identity,
                             "; give another folder with -o, or remove that file");
        continue;
      }
      if (json.contains("times")) {
        times[json["times"].get<std::string>()] = json.at("seconds").get<std::vector<double>>();
        continue;
      }
      known[{json.at("plan").get<std::string>(), json.at("batch").get<int64_t>()}] = fromJson(json);
    } catch (const Json::exception &e) {
      runtime::failInput(path, ":", number, ": is damaged (", e.what(), "); remove the file to begin anew");
    }
  }
  old.close();
  if (number > 0)
    std::filesystem::resize_file(path, whole);
  file.open(path, std::ios::app);
  if (number == 0)
    file << Json{{"for", identity}}.dump() << '\n' << std::flush;
  if (!file)
    runtime::failRun(path, ": cannot be written");
}

const Judgement *Store::find(const std::string &key, int64_t batch) const {
  auto found = known.find({key, batch});
  return found == known.end() ? nullptr : &found->second;
}

template <typename T> void Store::write(const T &line) {
  if (!file.is_open())
    return;
  file << line.dump() << '\n' << std::flush;
  if (!file)
    runtime::failRun(path, ": cannot be written (is the disk full?); what is in it can be used again");
}

void Store::add(const std::string &key, int64_t batch, Judgement judgement) {
  write(toJson(key, batch, judgement));
  known[{key, batch}] = std::move(judgement);
}

const std::vector<double> *Store::findTimes(const std::string &what) const {
  auto found = times.find(what);
  return found == times.end() ? nullptr : &found->second;
}

void Store::addTimes(const std::string &what, std::vector<double> seconds) {
  write(Json{{"times", what}, {"seconds", seconds}});
  times[what] = std::move(seconds);
}

} // namespace caat::ablate
