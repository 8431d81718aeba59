#include "run/job.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregate/user_aggregate.h"
#include "base/limits.h"
#include "connector/generator/source.h"
#include "operator/function_times.h"
#include "python/capsule.h"
#include "python/error.h"
#include "python/module.h"

namespace frazil::python {
namespace {

constexpr std::string_view kAggregatePrefix = "aggregate ";

// Messages may carry bytes of the data: what is not UTF-8 is replaced.
std::string Dump(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// str() of an object that may be anything, so that no further exception can come of it.
std::string TextOf(PyObject* object) {
  const nb::object text = nb::steal(PyObject_Str(object));
  Py_ssize_t size = 0;
  const char* bytes = text.is_valid() ? PyUnicode_AsUTF8AndSize(text.ptr(), &size) : nullptr;
  if (bytes != nullptr) return {bytes, static_cast<size_t>(size)};
  PyErr_Clear();
  return "an exception without a text";
}

// Notes for the node at hand how long a call takes, and how long it waits for the interpreter.
class TimedCall {
 public:
  ~TimedCall() {
    FunctionTimes* const times = CountedCalls::current();
    if (times == nullptr) return;
    const auto add = [](std::atomic<int64_t>& to, Clock::duration took) {
      to.fetch_add(std::chrono::nanoseconds(took).count(), std::memory_order_relaxed);
    };
    times->calls.fetch_add(1, std::memory_order_relaxed);
    add(times->wait_ns, begun_ - asked_);
    add(times->call_ns, Clock::now() - begun_);
  }
  void begin() { begun_ = Clock::now(); }

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point asked_ = Clock::now();
  Clock::time_point begun_ = asked_;
};

// A Python function as the engine calls it: under the GIL, one call per batch. The reference is dropped under
// the GIL too, whichever thread lets go of it.
BatchFunction Wrap(const std::string& reference, nb::object function) {
  auto held = std::shared_ptr<nb::object>(new nb::object(std::move(function)), [](nb::object* object) {
    nb::gil_scoped_acquire gil;
    delete object;
  });
  return
      [held, reference](
          const std::shared_ptr<arrow::RecordBatch>& batch) -> Result<std::shared_ptr<arrow::RecordBatch>> {
        TimedCall timed;
        nb::gil_scoped_acquire gil;
        timed.begin();
        try {
          return ImportBatch((*held)(BatchCarrier{batch}));
        } catch (nb::python_error& error) {
          const std::string text = TextOf(error.value().ptr());
          const std::string type = Py_TYPE(error.value().ptr())->tp_name;
          return NamedError("UdfError", type == "UdfError" ? text : type + ": " + text);
        } catch (const std::exception& error) {
          return NamedError("UdfError", error.what());
        }
      };
}

// The job as Python has it. It knows the process that made it: a forked child has no workers.
class PyJob {
 public:
  PyJob(const std::string& plan, const std::string& options_json,
        const std::map<std::string, nb::object>& functions)
      : process_(getpid()) {
    const auto json = nlohmann::json::parse(options_json);
    JobOptions options;
    options.workers = json.at("workers").get<int>();
    options.attempt = json.at("attempt").get<int32_t>();
    options.first_epoch = json.at("first_epoch").get<Epoch>();
    options.bounded = json.at("bounded").get<bool>();
    options.close_windows = json.value("close_windows", false);
    options.memory_bytes = json.at("memory_bytes").get<int64_t>();
    options.epoch_deletes = json.at("epoch_deletes").get<int64_t>();
    options.spill_folder = json.value("spill_folder", "");
    options.spill_bytes = json.value("spill_bytes", int64_t{0});
    options.channel_bytes = json.value("channel_bytes", limits::kChannelBytes);
    options.simulated = json.value("simulated", false);
    options.seed = json.value("seed", uint64_t{0});
    options.clock_us = json.value("clock_us", Timestamp{0});
    FunctionTable table;
    for (const auto& [reference, function] : functions) {
      // Those of aggregates are found by a name that is this job's alone.
      if (reference.starts_with(kAggregatePrefix)) {
        SetUserFunction(reference, Wrap(reference, function));
        aggregates_.names.push_back(reference);
      } else {
        table.emplace(reference, Wrap(reference, function));
      }
    }
    auto made = [&] {
      nb::gil_scoped_release release;
      return Job::Make(plan, options, std::move(table));
    }();
    job_ = ValueOrThrow(std::move(made));
  }

  ~PyJob() {
    nb::gil_scoped_release release;
    if (getpid() != process_) (void)job_.release();  // the threads are the parent's
    job_.reset();
  }

  std::string discover(bool bounded, const std::string& known, const std::vector<std::string>& sources) {
    Job& job = live();
    const auto names = nlohmann::json::parse(known);
    auto found = [&] {
      nb::gil_scoped_release release;
      return job.discover(bounded, names, {sources.begin(), sources.end()});
    }();
    return Dump(ValueOrThrow(std::move(found)));
  }

  void assign(const std::string& partitions) {
    ThrowIfError(live().assign(nlohmann::json::parse(partitions)));
  }
  void start() { ThrowIfError(live().start()); }
  void end_sources(const std::vector<std::string>& sources) {
    live().end_sources({sources.begin(), sources.end()});
  }
  void expect(const std::string& partitions) {
    ThrowIfError(live().expect(nlohmann::json::parse(partitions)));
  }
  void restore(const std::string& node, nb::bytes file) {
    Job& job = live();
    // A copy: it is read after this call.
    auto bytes = arrow::Buffer::FromString(std::string(file.c_str(), file.size()));
    auto restored = [&] {
      nb::gil_scoped_release release;
      return job.restore(node, std::move(bytes));
    }();
    ThrowIfError(restored);
  }
  void open_table(const std::string& sink, const std::string& table, const std::string& options) {
    live().tell_table(sink, table, nlohmann::json::parse(options), "");
  }
  void fail_table(const std::string& sink, const std::string& table, const std::string& reason) {
    live().tell_table(sink, table, nullptr, reason);
  }
  void restored() {
    Job& job = live();
    auto done = [&] {
      nb::gil_scoped_release release;
      return job.restored();
    }();
    ThrowIfError(done);
  }
  void barrier(Epoch epoch, const std::vector<std::string>& full, const std::vector<std::string>& lookups) {
    ThrowIfError(live().barrier(epoch, {full.begin(), full.end()}, {lookups.begin(), lookups.end()}));
  }
  // (rows, bytes) of a lookup table, which is given as an Arrow stream.
  nb::tuple load(const std::string& lookup, nb::handle schema, nb::handle rows) {
    Job& job = live();
    const auto columns = ImportSchema(schema);
    auto batches = ImportBatches(rows);
    auto loaded = [&] {
      nb::gil_scoped_release release;
      auto made = job.load(lookup, columns, batches);
      batches.clear();
      return made;
    }();
    const nlohmann::json size = ValueOrThrow(std::move(loaded));
    return nb::make_tuple(size.at("rows").get<int64_t>(), size.at("bytes").get<int64_t>());
  }
  std::vector<std::tuple<std::string, int, bool, nb::object>> take_state() {
    std::vector<std::tuple<std::string, int, bool, nb::object>> taken;
    for (const auto& file : live().take_state()) {
      nb::object bytes = nb::none();
      if (file.bytes != nullptr)
        bytes = nb::bytes(file.bytes->data(), static_cast<size_t>(file.bytes->size()));
      taken.emplace_back(file.node, file.worker, file.full, std::move(bytes));
    }
    return taken;
  }
  std::vector<std::pair<std::string, int32_t>> take_wanted_schemas() { return live().take_wanted_schemas(); }
  // What a registry has under an id: its kind and texts; or why there is none.
  void give_schema(const std::string& registry, int32_t id, const std::string& kind,
                   const std::vector<std::string>& texts, const std::string& missing) {
    using State = RegisteredSchema::State;
    live().give_schema(registry, id,
                       {missing.empty() ? State::kKnown : State::kMissing, kind, texts, missing});
  }
  void note_registry(const std::string& registry, const std::string& trouble) {
    live().note_registry(registry, trouble);
  }
  void rest(int64_t now_us, std::optional<int64_t> others_us) { live().rest(now_us, others_us); }
  void committed(const std::string& positions) { live().committed(nlohmann::json::parse(positions)); }

  std::vector<std::string> wait(double timeout_seconds) {
    Job& job = live();
    nb::gil_scoped_release release;
    std::vector<std::string> events;
    for (const auto& event : job.wait(timeout_seconds)) events.push_back(Dump(event));
    return events;
  }

  int64_t polled() { return live().polled(); }
  bool full() { return live().full(); }
  int64_t clock_us() { return live().clock(); }
  std::string metrics() { return Dump(live().metrics()); }

  void stop() {
    Job& job = live();
    nb::gil_scoped_release release;
    job.stop();
  }

 private:
  Job& live() {
    if (getpid() != process_) {
      ThrowIfError(Error(ErrorKind::kUser,
                         "a job belongs to the process that started it, and this is a forked child\n"
                         "start child processes with the multiprocessing method \"spawn\""));
    }
    return *job_;
  }

  const pid_t process_;
  // What the job has registered; with it goes.
  struct Registered {
    std::vector<std::string> names;
    ~Registered() {
      for (const std::string& name : names) DropUserFunction(name);
    }
  } aggregates_;
  std::unique_ptr<Job> job_;
};

}  // namespace

void init_job(nb::module_& m) {
  nb::class_<PyJob>(m, "Job")
      .def(nb::init<const std::string&, const std::string&, const std::map<std::string, nb::object>&>())
      .def("discover", &PyJob::discover)
      .def("assign", &PyJob::assign)
      .def("expect", &PyJob::expect)
      .def("restore", &PyJob::restore)
      .def("restored", &PyJob::restored)
      .def("start", &PyJob::start)
      .def("barrier", &PyJob::barrier, nb::arg("epoch"), nb::arg("full"),
           nb::arg("lookups") = std::vector<std::string>{})
      .def("load", &PyJob::load)
      .def("take_state", &PyJob::take_state)
      .def("take_wanted_schemas", &PyJob::take_wanted_schemas)
      .def("give_schema", &PyJob::give_schema, nb::arg("registry"), nb::arg("id"), nb::arg("kind") = "",
           nb::arg("texts") = std::vector<std::string>{}, nb::arg("missing") = "")
      .def("note_registry", &PyJob::note_registry)
      .def("end_sources", &PyJob::end_sources)
      .def("open_table", &PyJob::open_table)
      .def("fail_table", &PyJob::fail_table)
      .def("rest", &PyJob::rest, nb::arg("now_us"), nb::arg("others_us").none())
      .def("committed", &PyJob::committed)
      .def("wait", &PyJob::wait)
      .def("polled", &PyJob::polled)
      .def("full", &PyJob::full)
      .def("clock_us", &PyJob::clock_us)
      .def("metrics", &PyJob::metrics)
      .def("stop", &PyJob::stop);
  m.def("generator_schema", [] { return SchemaCarrier{GeneratorSchema()}; });
  m.def("rejected_schema", [] { return SchemaCarrier{RejectedSchema()}; });
}

}  // namespace frazil::python
