# cmake --install: both libraries, the header, the program, and what finds
# them: moh.pc and a CMake package with moh::moh (shared) and moh::static.
# Nothing of it holds the prefix, so an installed tree can be moved.
include(CMakePackageConfigHelpers)

set(MOH_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/moh)

install(TARGETS moh_shared EXPORT moh-shared)
install(TARGETS moh EXPORT moh-static)
install(FILES include/moh.h TYPE INCLUDE)
foreach(kind shared static)
  install(EXPORT moh-${kind} NAMESPACE moh:: DESTINATION ${MOH_CMAKE_DIR})
endforeach()

configure_package_config_file(cmake/moh-config.cmake.in moh-config.cmake
  INSTALL_DESTINATION ${MOH_CMAKE_DIR})
write_basic_package_version_file(moh-config-version.cmake
  COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/moh-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/moh-config-version.cmake
  DESTINATION ${MOH_CMAKE_DIR})

# moh.pc finds the prefix from where it lies itself.
set(MOH_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(MOH_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH MOH_PC_UP /${MOH_PC_DIR} /)
  set(MOH_PC_PREFIX "\${pcfiledir}/${MOH_PC_UP}")
  string(REGEX REPLACE "/$" "" MOH_PC_PREFIX "${MOH_PC_PREFIX}")
endif()
foreach(name INCLUDEDIR LIBDIR)
  set(MOH_PC_${name} ${CMAKE_INSTALL_${name}})
  if(NOT IS_ABSOLUTE ${CMAKE_INSTALL_${name}})
    set(MOH_PC_${name} "\${prefix}/${CMAKE_INSTALL_${name}}")
  endif()
endforeach()
configure_file(cmake/moh.pc.in moh.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/moh.pc DESTINATION ${MOH_PC_DIR})
