# ccache where it is installed. Paths below the checkout are relative for it, so that every checkout and every build
# folder of the same kind shares its entries; a precompiled header would undo that, so with ccache the same header is only included.
# Sanitizer builds are slow to compile and seldom done: there the precompiled header wins.
find_program(ccache_program ccache)
if(ccache_program AND NOT FZ_SANITIZE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${ccache_program})
  set(FZ_PRECOMPILE OFF)
else()
  set(FZ_PRECOMPILE ON)
endif()

# Gives a target the headers that nearly every file needs; further ones are precompiled only.
function(frazil_common_headers target)
  if(FZ_PRECOMPILE)
    target_precompile_headers(${target} PRIVATE cmake/precompiled.h <nlohmann/json.hpp> ${ARGN})
  else()
    target_compile_options(${target} PRIVATE -include ${PROJECT_SOURCE_DIR}/cmake/precompiled.h)
  endif()
endfunction()

find_program(mold_program mold)
if(mold_program)
  add_link_options(-fuse-ld=mold)
endif()
