# Everything the engine links to. Arrow, Parquet and S3 come from the pyarrow wheel, librdkafka from the
# confluent-kafka wheel (both by full path), headers of librdkafka, simdjson, xxHash and nlohmann-json from Debian.
function(frazil_need what package)
  message(FATAL_ERROR
    "frazil: ${what} was not found.\n"
    "  it is needed to build the engine from source\n"
    "  install it:  apt-get install ${package}   (or run: make system)")
endfunction()

find_package(Python 3.11 REQUIRED COMPONENTS Interpreter OPTIONAL_COMPONENTS Development.Module)
if(NOT Python_Development.Module_FOUND)
  frazil_need("Python.h" "python3-dev")
endif()
find_package(nanobind CONFIG HINTS "${Python_SITELIB}/nanobind/cmake" QUIET)
if(NOT nanobind_FOUND)
  execute_process(COMMAND "${Python_EXECUTABLE}" -m nanobind --cmake_dir
    OUTPUT_VARIABLE nanobind_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  find_package(nanobind CONFIG REQUIRED)
endif()

execute_process(
  COMMAND "${Python_EXECUTABLE}" -c
    "import pyarrow as pa; print(pa.get_include(), pa.get_library_dirs()[0], pa.cpp_build_info.so_version, sep=';')"
  OUTPUT_VARIABLE arrow_info OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
list(GET arrow_info 0 arrow_include)
list(GET arrow_info 1 FZ_ARROW_LIB)
list(GET arrow_info 2 arrow_so)
foreach(name arrow arrow_compute parquet arrow_s3)
  add_library(Arrow::${name} SHARED IMPORTED)
  set_target_properties(Arrow::${name} PROPERTIES
    IMPORTED_LOCATION "${FZ_ARROW_LIB}/lib${name}.so.${arrow_so}"
    INTERFACE_INCLUDE_DIRECTORIES "${arrow_include}")
endforeach()

execute_process(
  COMMAND "${Python_EXECUTABLE}" -c
    "import confluent_kafka as ck, pathlib; print(*pathlib.Path(ck.__file__).parents[1].glob('confluent_kafka.libs/librdkafka-*.so.1'))"
  OUTPUT_VARIABLE rdkafka_lib OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
get_filename_component(FZ_RDKAFKA_DIR "${rdkafka_lib}" DIRECTORY)
find_path(rdkafka_include librdkafka/rdkafka.h)
if(NOT rdkafka_include)
  frazil_need("librdkafka/rdkafka.h" "librdkafka-dev")
endif()
add_library(RdKafka::rdkafka SHARED IMPORTED)
set_target_properties(RdKafka::rdkafka PROPERTIES
  IMPORTED_LOCATION "${rdkafka_lib}" INTERFACE_INCLUDE_DIRECTORIES "${rdkafka_include}")

find_package(simdjson QUIET)
if(NOT simdjson_FOUND)
  frazil_need("simdjson" "libsimdjson-dev")
endif()
find_package(nlohmann_json QUIET)
if(NOT nlohmann_json_FOUND)
  frazil_need("nlohmann/json.hpp" "nlohmann-json3-dev")
endif()
find_path(xxhash_include xxhash.h)
if(NOT xxhash_include)
  frazil_need("xxhash.h" "libxxhash-dev")
endif()
add_library(XxHash::xxhash INTERFACE IMPORTED)
set_target_properties(XxHash::xxhash PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${xxhash_include}")
