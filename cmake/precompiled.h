// The headers that nearly every engine file includes; compiled once per target.
#include <arrow/api.h>
#include <arrow/compute/api.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>
