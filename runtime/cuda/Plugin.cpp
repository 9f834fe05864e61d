// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The plugin's one function, and what it makes.
#include "Plugin.h"
#include "LocalGroup.h"
#include "NcclGroup.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cstring>
#include <unistd.h>

namespace caat::runtime::cuda {

namespace {

class CudaBackend final : public Backend {
public:
  CudaBackend(const Program &program, const BackendOptions &options);
  std::unique_ptr<Device> makeDevice(int rank) override;
  std::unique_ptr<RankGroup> makeGroup(std::span<Device *const> devices) override;

private:
  void checkProgram() const;
  void checkRoom() const;
  int deviceOfProcess(int count) const;
  void tellDevices() const;
  const std::shared_ptr<Context> &contextOf(int rank) const {
    return contexts[static_cast<size_t>(rank) % contexts.size()]; // with peers there is one
  }

  const Program &program;
  BackendOptions options;
  std::shared_ptr<const Driver> driver;
  std::shared_ptr<const CublasLt> library;
  std::shared_ptr<ProductTimes> times;            // null: of several processes
  std::vector<std::shared_ptr<Context>> contexts; // by place in options.devices
};

CudaBackend::CudaBackend(const Program &program, const BackendOptions &given) : program(program), options(given) {
  checkProgram();
  driver = std::make_shared<Driver>();
  CUresult started = driver->cuInit(0);
  int count = 0;
  if (started == CUDA_SUCCESS)
    started = driver->cuDeviceGetCount(&count);
  if (started == CUDA_ERROR_NO_DEVICE || (started == CUDA_SUCCESS && count == 0))
    failRun("'", program.directory(), "' is compiled for cuda, but the driver finds no GPU (see CUDA_VISIBLE_DEVICES)");
  driver->check(started, "the NVIDIA driver does not start");
  if (options.peers)
    options.devices = {deviceOfProcess(count)};
  if (options.devices.empty())
    options.devices = {0};
  if (options.devices.size() > 1 && options.devices.size() != static_cast<size_t>(options.ranks))
    failInput(options.ranks, " ranks on ", options.devices.size(),
              " devices: give one device for all, or one for each rank");
  for (size_t i = 0; i < options.devices.size(); ++i)
    if (std::count(options.devices.begin(), options.devices.end(), options.devices[i]) > 1)
      failInput("device ", options.devices[i], " is named twice");
  for (int number : options.devices) {
    if (number < 0 || number >= count)
      failInput("device ", number, ": there ", count == 1 ? "is 1 device" : "are " + std::to_string(count) + " devices",
                ", numbered from 0");
    contexts.push_back(std::make_shared<Context>(driver, number));
  }
  checkRoom();
  library = std::make_shared<CublasLt>();
  if (!options.peers || options.peers->size() == 1)
    times = std::make_shared<ProductTimes>();
  for (const auto &context : contexts)
    context->loadKernels(program);
}

/// The one that the process is given by name or by its place on the machine; launchers may show each its own alone.
int CudaBackend::deviceOfProcess(int count) const {
  auto local = static_cast<size_t>(options.peers->world().localRank);
  if (!options.devices.empty())
    return options.devices[local % options.devices.size()];
  if (count > 1 && local >= static_cast<size_t>(count))
    failRun("process ", local, " of this machine has no GPU: there are ", count, " (", options.peers->world().origin,
            ")");
  return count == 1 ? 0 : static_cast<int>(local);
}

/// Which rank is where; NCCL takes no GPU twice.
void CudaBackend::tellDevices() const {
  struct Place {
    char host[64], bus[32];
  } mine{};
  gethostname(mine.host, sizeof mine.host - 1);
  driver->check(driver->cuDeviceGetPCIBusId(mine.bus, sizeof mine.bus - 1, contexts[0]->device()), contexts[0]->name());
  auto size = static_cast<size_t>(options.peers->size());
  std::vector<Place> all(size);
  options.peers->allGather("the GPUs", &mine, all.data(), sizeof mine);
  std::string text;
  for (size_t r = 0; r < size; ++r) {
    for (size_t s = 0; s < r; ++s)
      if (!std::memcmp(&all[r], &all[s], sizeof mine) && !environment::isOn("NCCL_MULTI_RANK_GPU_ENABLE", false))
        failRun("ranks ", s, " and ", r, " share the GPU ", all[r].bus, " of ", all[r].host,
                ": give each process its own (LOCAL_RANK, --device), or run all ranks in one process");
    text += detail::concat(r ? ", " : "ranks: ", r, " on ", all[r].host, " ", all[r].bus);
  }
  if (options.progress && options.peers->rank() == 0)
    options.progress(text);
}

/// What only the CPU does so far.
void CudaBackend::checkProgram() const {
  const Manifest &manifest = program.manifest();
  if (!manifest.sites.empty() && options.peers)
    failArtifact(
        program.directory(),
        ": the ranks of a program with switchable sync points run in one process (--processes=off); or compile it "
        "without --switchable and give --plan to caat-compile");
  if (options.communicator.link.isSlow())
    failInput("a link can be slowed down between ranks on the CPU only");
}

/// Whether the weights fit, and which number of ranks would make them fit.
void CudaBackend::checkRoom() const {
  size_t bytes = 0;
  for (const ParameterSpec &spec : program.manifest().parameters)
    bytes += static_cast<size_t>(elementCount(spec.shape)) * sizeOf(spec.dtype);
  auto allRanks = static_cast<size_t>(program.manifest().tp);
  for (size_t place = 0; place < contexts.size(); ++place) {
    auto devices = static_cast<int>(contexts.size());
    size_t ranks = static_cast<size_t>((options.ranks - static_cast<int>(place) + devices - 1) / devices);
    auto room = contexts[place]->room();
    if (bytes * ranks <= room.free)
      continue;
    // Weights are divided evenly but for what every rank has.
    size_t total = bytes * allRanks, least = (total + room.free - 1) / std::max<size_t>(room.free, 1);
    failRun(contexts[place]->name(), " has ", sizeText(room.free), " of ", sizeText(room.total),
            " free, the weights of ", ranks, ranks == 1 ? " rank need " : " ranks need ", sizeText(bytes * ranks),
            ": with one rank a device, --tp=", least, " is the smallest that fits");
  }
}

std::unique_ptr<Device> CudaBackend::makeDevice(int rank) {
  contextOf(rank)->enter();
  return std::make_unique<CudaDevice>(program, contextOf(rank), library, times,
                                      rank == 0 || options.peers ? options.progress : CudaDevice::Progress());
}

std::unique_ptr<RankGroup> CudaBackend::makeGroup(std::span<Device *const> devices) {
  std::vector<CudaDevice *> all;
  for (Device *device : devices)
    all.push_back(static_cast<CudaDevice *>(device));
  if (options.peers)
    tellDevices();
  if (options.peers || contexts.size() > 1 ||
      environment::isOn("CAAT_CUDA_NCCL", false)) // also for one rank, to test that it is there
    return std::make_unique<NcclGroup>(all, options.communicator, options.peers);
  return std::make_unique<LocalGroup>(all, options.communicator);
}

} // namespace

} // namespace caat::runtime::cuda

extern "C" caat::runtime::Backend *caat_make_backend(const caat::runtime::Program &program,
                                                     const caat::runtime::BackendOptions &options) {
  return new caat::runtime::cuda::CudaBackend(program, options);
}

extern "C" const char *caat_plugin_interface() { return CAAT_INTERFACE; }
