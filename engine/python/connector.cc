// Sources and sinks written in Python: their queues, and the calls into them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "connector/python/readers.h"
#include "connector/python/writers.h"
#include "python/capsule.h"
#include "python/error.h"
#include "python/module.h"

namespace frazil::python {
namespace {

// An error by the name of its class in frazil.errors; one that may pass keeps only its kind.
Status ErrorOf(const std::string& name, const std::string& text, bool retryable) {
  return retryable ? Error(ErrorKind::kConnect, text, /*retryable=*/true) : NamedError(name, text);
}

// An object of Python that any thread may let go of.
class Held {
 public:
  explicit Held(nb::object object) : object_(std::move(object)) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    nb::gil_scoped_acquire gil;
    object_ = nb::object();
  }
  nb::handle get() const { return object_; }

 private:
  nb::object object_;
};

// Calls a method that answers in JSON and raises nothing: {"error": {"name", "text", "retryable"}}, or what
// was asked for.
template <typename Call>
Result<nlohmann::json> Ask(Call call) {
  nb::gil_scoped_acquire gil;
  try {
    const nb::object text = call();
    const auto answer = nlohmann::json::parse(nb::cast<std::string>(text));
    const auto error = answer.find("error");
    if (error == answer.end()) return Result<nlohmann::json>(answer);
    return ErrorOf(error->at("name").get<std::string>(), error->at("text").get<std::string>(),
                   error->at("retryable").get<bool>());
  } catch (const std::exception& error) {  // nb::python_error is one
    return Error(ErrorKind::kInternal, std::string("calling a connector in Python: ") + error.what());
  }
}

// Calls a frazil.run.source_readers.Gate.
class GateReaders : public PartitionReaders {
 public:
  explicit GateReaders(nb::object gate) : gate_(std::move(gate)) {}

  Result<std::vector<Listed>> partitions() override {
    FZ_ASSIGN(const auto answer, Ask([this] { return gate_.get().attr("partitions")(); }));
    std::vector<Listed> listed;
    for (const auto& each : answer.at("partitions")) {
      listed.push_back({each.at("name").get<std::string>(), each.at("start").get<std::string>(),
                        each.at("ends").get<bool>()});
    }
    return listed;
  }

  Status open(const std::string& partition, const std::string& position, bool until_now,
              std::shared_ptr<ReadQueue> queue) override {
    return Ask([&] { return gate_.get().attr("open")(partition, position, until_now, std::move(queue)); })
        .status();
  }

 private:
  const Held gate_;
};

// Calls a frazil.run.sink_writers.Gate.
class GateWriters : public WorkerWriters {
 public:
  explicit GateWriters(nb::object gate) : gate_(std::move(gate)) {}

  Status open(int worker, std::shared_ptr<WriteQueue> queue) override {
    return Ask([&] { return gate_.get().attr("open")(worker, std::move(queue)); }).status();
  }

 private:
  const Held gate_;
};

// Every call that may wait lets go of the GIL.
bool Put(ReadQueue& queue, nb::handle rows, std::string position) {
  ReadQueue::Read read{ImportBatch(rows), std::move(position)};
  nb::gil_scoped_release release;
  return queue.put(std::move(read));
}

bool Pause(ReadQueue& queue, double seconds) {
  nb::gil_scoped_release release;
  return queue.pause(seconds);
}

// Rows (None: the end of the epoch) and the epoch; None if the queue is closed.
std::optional<nb::tuple> Take(WriteQueue& queue) {
  std::optional<WriteQueue::Item> item;
  {
    nb::gil_scoped_release release;
    item = queue.take();
  }
  if (!item.has_value()) return std::nullopt;
  const nb::object rows = item->rows == nullptr ? nb::none() : nb::cast(BatchCarrier{item->rows});
  return nb::make_tuple(rows, item->epoch);
}

void Answer(WriteQueue& queue, std::string token) {
  nb::gil_scoped_release release;
  queue.answer(std::move(token));
}

void Fail(WriteQueue& queue, const std::string& name, const std::string& text) {
  nb::gil_scoped_release release;
  queue.fail(ErrorOf(name, text, false));
}

void Close(WriteQueue& queue) {
  nb::gil_scoped_release release;
  queue.close();
}

}  // namespace

void init_connector(nb::module_& m) {
  nb::class_<ReadQueue>(m, "ReadQueue")
      .def("put", &Put, nb::arg("rows"), nb::arg("position"))
      .def("pause", &Pause, nb::arg("seconds"))
      .def("catch_up", &ReadQueue::catch_up)
      .def("end", &ReadQueue::end)
      .def(
          "fail",
          [](ReadQueue& queue, const std::string& name, const std::string& text) {
            queue.fail(ErrorOf(name, text, false));
          },
          nb::arg("name"), nb::arg("text"))
      .def("note", &ReadQueue::note, nb::arg("condition"))
      .def("take_committed", &ReadQueue::take_committed)
      .def("close", &ReadQueue::close);
  m.def(
      "add_readers",
      [](nb::object gate) { return AddReaders(std::make_shared<GateReaders>(std::move(gate))); },
      nb::arg("gate"));
  m.def("remove_readers", &RemoveReaders, nb::arg("number"));
  nb::class_<WriteQueue>(m, "WriteQueue")
      .def("take", &Take)
      .def("answer", &Answer, nb::arg("token"))
      .def("fail", &Fail, nb::arg("name"), nb::arg("text"))
      .def("close", &Close);
  m.def(
      "add_writers",
      [](nb::object gate) { return AddWriters(std::make_shared<GateWriters>(std::move(gate))); },
      nb::arg("gate"));
  m.def("remove_writers", &RemoveWriters, nb::arg("number"));
}

}  // namespace frazil::python
