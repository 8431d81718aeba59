#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "connector/kafka/publisher.h"
#include "python/error.h"
#include "python/module.h"

namespace frazil::python {
namespace {

template <typename Call>
auto WithoutGil(Call call) {
  nb::gil_scoped_release release;
  return call();
}

// kafka::Publisher with JSON in its calls; nothing holds the GIL while it waits for brokers.
class KafkaPublisher {
 public:
  explicit KafkaPublisher(const std::string& options) : publisher_(ValueOrThrow(Parse(options))) {}

  void check() {
    ThrowIfError(WithoutGil([this] { return publisher_.check(); }));
  }

  // {"slot", "digest", "messages", "whole"}, or "" if nothing was sent yet.
  std::string recover() {
    const auto proof = ValueOrThrow(WithoutGil([this] { return publisher_.recover(); }));
    if (!proof.has_value()) return {};
    return nlohmann::json{{"slot", proof->slot},
                          {"digest", proof->digest},
                          {"messages", proof->messages},
                          {"whole", proof->whole}}
        .dump();
  }

  int64_t publish(int64_t slot, const std::string& digest, const std::vector<std::string>& files,
                  int64_t skip) {
    return ValueOrThrow(WithoutGil([&] { return publisher_.publish({slot, digest, files, skip}); }));
  }

 private:
  static Result<kafka::ProducerOptions> Parse(const std::string& text) {
    return kafka::ParseProducerOptions(nlohmann::json::parse(text));
  }

  kafka::Publisher publisher_;
};

}  // namespace

void init_kafka(nb::module_& m) {
  nb::class_<KafkaPublisher>(m, "KafkaPublisher")
      .def(nb::init<const std::string&>(), nb::arg("options"))
      .def("check", &KafkaPublisher::check)
      .def("recover", &KafkaPublisher::recover)
      .def("publish", &KafkaPublisher::publish, nb::arg("slot"), nb::arg("digest"), nb::arg("files"),
           nb::arg("skip"));
}

}  // namespace frazil::python
