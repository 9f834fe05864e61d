// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../cpu/CpuDevice.h"
#include "caat/runtime/Environment.h"
#include "caat/runtime/Error.h"
#include <algorithm>
#include <cctype>
#include <dlfcn.h>
#include <filesystem>
#include <unistd.h>

namespace caat::runtime {

namespace {

/// Where this code lies: in the program, or in libcaat_runtime.
std::filesystem::path ownFolder() {
  Dl_info info{};
  std::error_code ignored;
  if (dladdr(reinterpret_cast<void *>(&ownFolder), &info) && info.dli_fname)
    if (auto path = std::filesystem::canonical(info.dli_fname, ignored); !ignored)
      return path.parent_path();
  return std::filesystem::canonical("/proc/self/exe", ignored).parent_path();
}

void *load(const std::string &name, const std::string &program) {
  std::string file = "libcaat_" + name + ".so", variable = "CAAT_" + name + "_PLUGIN";
  std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) { return std::toupper(c); });
  std::vector<std::filesystem::path> places;
  if (const char *own = environment::text(variable.c_str()))
    places = {own};
  else
    places = {ownFolder() / file, ownFolder() / ".." / "lib" / file};
  for (const auto &place : places) {
    std::error_code ignored;
    if (!std::filesystem::exists(place, ignored))
      continue;
    void *handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      failRun("cannot load the plugin for ", name, ": ", dlerror());
    return handle;
  }
  std::string looked;
  for (const auto &place : places)
    looked += (looked.empty() ? "" : ", ") + place.lexically_normal().string();
  failRun("'", program, "' is compiled for ", name, ", but this installation has no plugin for it (looked for ", looked,
          ")");
}

/// Of libcaat_NAME.so, which lies beside this library or program, or in ../lib from there, or where CAAT_NAME_PLUGIN
/// says. It stays loaded.
std::unique_ptr<Backend> makePluginBackend(const std::string &name, const Program &program,
                                           const BackendOptions &options) {
  void *handle = load(name, program.directory());
  auto interface = reinterpret_cast<const char *(*)()>(dlsym(handle, "caat_plugin_interface"));
  auto make =
      reinterpret_cast<Backend *(*)(const Program &, const BackendOptions &)>(dlsym(handle, "caat_make_backend"));
  if (!interface || !make)
    failRun("the plugin for ", name, " is none of caat's");
  if (std::string_view(interface()) != CAAT_INTERFACE)
    failRun("the plugin for ", name, " belongs to another build of caat: its interface is ", interface(), ", this is ",
            CAAT_INTERFACE);
  return std::unique_ptr<Backend>(make(program, options));
}

} // namespace

std::unique_ptr<Backend> makeBackend(const Program &program, const BackendOptions &options) {
  if (program.manifest().device == "cuda")
    return makePluginBackend("cuda", program, options);
  if (!options.devices.empty())
    failInput("'", program.directory(), "' is compiled for the CPU: it has no use for a device's number");
  return std::make_unique<CpuBackend>(program, options);
}

} // namespace caat::runtime
