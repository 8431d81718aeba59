#include "python/error.h"

namespace frazil::python {

void ThrowIfError(const Status& status) {
  if (status.ok()) [[likely]]
    return;
  nb::object make = nb::module_::import_("frazil.errors").attr("from_engine");
  // Messages may carry bytes of the data; what is not UTF-8 must not hide the error.
  const std::string text = MessageOf(status);
  nb::object decoded =
      nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace"));
  if (!decoded.is_valid()) nb::raise_python_error();
  nb::object exception = make(KindName(KindOf(status)), NameOf(status).c_str(), decoded, IsRetryable(status));
  PyErr_SetObject(nb::handle(Py_TYPE(exception.ptr())).ptr(), exception.ptr());
  throw nb::python_error();
}

}  // namespace frazil::python
