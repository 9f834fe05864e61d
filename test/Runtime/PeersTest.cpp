// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Processes played by threads: each has its own connection.
#include "caat/runtime/Peers.h"
#include "Expect.h"
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <unistd.h>

using namespace caat::runtime;
using namespace caat::test;
using namespace std::chrono_literals;

namespace {

void expectContains(const std::string &text, const std::string &part) {
  EXPECT_NE(text.find(part), std::string::npos) << "got: " << text << "\nwant: " << part;
}

int freePorts() {
  static int next = 20000 + getpid() % 20000;
  return next += 32;
}

/// Each rank's error, "" for none.
template <typename F>
std::vector<std::string> onProcesses(int size, std::chrono::milliseconds timeout, F &&work, int missing = -1) {
  std::vector<std::string> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  int port = freePorts();
  for (int rank = 0; rank < size; ++rank)
    if (rank != missing)
      threads.emplace_back([&, rank] {
        try {
          Peers peers({rank, size, rank, "127.0.0.1", port, "a test"}, timeout);
          work(peers);
        } catch (const Error &e) {
          errors[static_cast<size_t>(rank)] = e.what();
        }
      });
  for (std::thread &thread : threads)
    thread.join();
  return errors;
}

std::optional<World> worldOf(const std::map<std::string, const char *> &variables) {
  return World::fromEnvironment([&](const char *name) {
    auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second;
  });
}

} // namespace

TEST(World, ReadsWhatLaunchersSet) {
  EXPECT_FALSE(worldOf({}));
  EXPECT_FALSE(worldOf({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}})) << "a batch script is no step";
  std::optional<World> torchrun = worldOf({{"WORLD_SIZE", "8"},
                                           {"RANK", "5"},
                                           {"LOCAL_RANK", "1"},
                                           {"MASTER_ADDR", "a"},
                                           {"MASTER_PORT", "123"},
                                           {"SLURM_STEP_NUM_TASKS", "2"},
                                           {"SLURM_PROCID", "1"}});
  ASSERT_TRUE(torchrun);
  EXPECT_EQ(std::tie(torchrun->size, torchrun->rank, torchrun->localRank, torchrun->address, torchrun->port),
            std::make_tuple(8, 5, 1, "a", 123));
  std::optional<World> slurm = worldOf({{"SLURM_STEP_NUM_TASKS", "4"},
                                        {"SLURM_PROCID", "3"},
                                        {"SLURM_LOCALID", "1"},
                                        {"SLURM_STEP_NODELIST", "node[07-09,12],x"},
                                        {"SLURM_JOB_ID", "2"}});
  ASSERT_TRUE(slurm);
  EXPECT_EQ(std::tie(slurm->size, slurm->rank, slurm->localRank, slurm->address, slurm->port),
            std::make_tuple(4, 3, 1, "node07", 29432));
  EXPECT_EQ(worldOf({{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "1"}})->address, "127.0.0.1");
  EXPECT_EQ(worldOf({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}})->rank, 1);
  EXPECT_EQ(worldOf({{"WORLD_SIZE", "2"}, {"RANK", "1"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}})->port, 29401);
}

TEST(World, RefusesWhatIsNoNumber) {
  expectError("RANK is not set", [] { worldOf({{"WORLD_SIZE", "2"}}); });
  expectError("WORLD_SIZE='two' is not a whole number", [] { worldOf({{"WORLD_SIZE", "two"}, {"RANK", "0"}}); });
  expectError("RANK='2' is not a whole number from 0 to 1", [] { worldOf({{"WORLD_SIZE", "2"}, {"RANK", "2"}}); });
  expectError("MASTER_PORT='99999'", [] { worldOf({{"WORLD_SIZE", "2"}, {"RANK", "0"}, {"MASTER_PORT", "99999"}}); });
}

TEST(Peers, GatherFromAll) {
  for (int size : {1, 2, 5})
    for (const std::string &error : onProcesses(size, 10s, [&](Peers &peers) {
           for (size_t count : {size_t{0}, size_t{1}, size_t{7}, size_t{300'000}}) {
             std::vector<int> mine(count, peers.rank() + 1), all(count * static_cast<size_t>(size));
             peers.allGather("numbers", mine.data(), all.data(), count * sizeof(int), 17);
             for (size_t i = 0; i < all.size(); ++i)
               ASSERT_EQ(all[i], static_cast<int>(i / count) + 1);
           }
           auto now = std::chrono::steady_clock::now();
           EXPECT_LT(std::chrono::abs(peers.clockOffset(now)), 5ms); // it is the same clock here
           std::vector<char> mine(static_cast<size_t>(peers.rank()) * 100'000 + 3, static_cast<char>(peers.rank()));
           std::vector<std::vector<char>> all = peers.gather("as many as each likes", mine.data(), mine.size());
           ASSERT_EQ(all.size(), peers.rank() == 0 ? size : 0);
           for (size_t rank = 0; rank < all.size(); ++rank)
             EXPECT_EQ(all[rank], std::vector<char>(rank * 100'000 + 3, static_cast<char>(rank)));
           peers.measureClock();
           EXPECT_LT(std::chrono::abs(peers.clockOffset(now + 1h)), 5ms);
         }))
      EXPECT_EQ(error, "");
}

TEST(Peers, NameWhoIsMissing) {
  auto errors = onProcesses(3, 300ms, [](Peers &) {}, 1);
  expectContains(errors[0], "2 of 3 ranks are there (a test); missing: 1");
  EXPECT_NE(errors[2], "");
  auto alone = onProcesses(2, 200ms, [](Peers &) {}, 0);
  expectContains(alone[1], "rank 1 does not reach rank 0 at 127.0.0.1, ports ");
}

TEST(Peers, TellOfAFailure) {
  auto errors = onProcesses(3, 10s, [](Peers &peers) {
    bool called = false;
    std::mutex mutex;
    std::condition_variable changed;
    if (peers.rank() == 2) // the news is there before anybody asks for it
      while (!peers.aborted())
        std::this_thread::yield();
    peers.onAbort([&] {
      std::lock_guard lock(mutex);
      called = true;
      changed.notify_all();
    });
    if (peers.rank() == 1)
      peers.abort("rank 1 is unwell");
    std::unique_lock lock(mutex);
    EXPECT_TRUE(changed.wait_for(lock, 5s, [&] { return called; }));
    lock.unlock();
    char byte = 0, all[3];
    peers.allGather("anything", &byte, all, 1);
  });
  for (const std::string &error : errors)
    EXPECT_EQ(error, "rank 1 is unwell");
}

TEST(Peers, NoticeWhoIsGoneOrLate) {
  auto gone = onProcesses(3, 10s, [](Peers &peers) {
    char byte = 0, all[3];
    if (peers.rank() == 2)
      failRun("out of here");
    peers.allGather("anything", &byte, all, 1);
  });
  expectContains(gone[0], "has ended");
  EXPECT_NE(gone[1], "");
  auto late = onProcesses(2, 200ms, [](Peers &peers) {
    char byte = 0, all[2];
    if (peers.rank() == 1)
      std::this_thread::sleep_for(1s);
    peers.allGather("anything", &byte, all, 1);
  });
  expectContains(late[0], "'anything' timed out after 0.2 s on rank 0: waiting for rank 1");
}

TEST(Peers, CompareTheirCalls) {
  auto names = onProcesses(2, 5s, [](Peers &peers) {
    char bytes[2] = {}, all[4];
    peers.allGather(peers.rank() ? "one thing" : "another", bytes, all, 2);
  });
  expectContains(names[0], "rank 1 sends 2 bytes for 'one thing', rank 0 2 for 'another'");
  EXPECT_EQ(names[0], names[1]);
  auto calls = onProcesses(2, 5s, [](Peers &peers) {
    char bytes[2] = {}, all[4];
    peers.allGather("x", bytes, all, 2, static_cast<uint64_t>(5 + peers.rank()));
  });
  expectContains(calls[0], "the ranks' collectives disagree: rank 1 has called others than rank 0");
}

TEST(Peers, KnowHowFarTheOthersAre) {
  for (const std::string &error : onProcesses(3, 400ms, [](Peers &peers) {
         peers.setProgress(static_cast<uint64_t>(10 + peers.rank()));
         std::this_thread::sleep_for(350ms);
         EXPECT_EQ(peers.progress(), (std::vector<uint64_t>{10, 11, 12}));
         char byte = 0, all[3];
         peers.allGather("end", &byte, all, 1);
       }))
    EXPECT_EQ(error, "");
}
