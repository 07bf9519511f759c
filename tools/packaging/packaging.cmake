# What `cmake --install` puts beside the programs, and the Debian package:
#   cmake --preset release && cmake --build --preset release && (cd build/release && cpack)
set(packaging ${CMAKE_SOURCE_DIR}/tools/packaging)
install(CODE "set(MAILRACE_PACKAGING \"${packaging}\")
set(MAILRACE_STAGING \"${CMAKE_BINARY_DIR}/packaging\")")
install(SCRIPT ${packaging}/install_system_files.cmake)
install(FILES README.md CHANGELOG.md docs/ARCHITECTURE.md docs/CONFIGURATION.md docs/LOGS.md
  DESTINATION share/doc/mailrace)
install(FILES ${packaging}/copyright DESTINATION share/doc/mailrace)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME mailrace)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The Mailrace authors <mailrace@mailrace.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "outbound mail queue engine")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "Takes mail from applications, keeps it in a durable queue and sends it through
 an authenticated TLS relay. Configured as Postfix's SMTP client is; logs as
 Postfix does.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION mail)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${packaging}/conffiles ${packaging}/postinst
  ${packaging}/prerm ${packaging}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
  GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
include(CPack)

# Of a sanitizer's build no package is made.
if(BUILD_TESTING AND TARGET mailrace AND NOT MAILRACE_SANITIZE)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  add_test(NAME packaging
    COMMAND ${Python3_EXECUTABLE} -B ${packaging}/packaging_test.py -v ${CMAKE_BINARY_DIR}
      ${CMAKE_COMMAND} ${CMAKE_CPACK_COMMAND})
  set_tests_properties(packaging PROPERTIES TIMEOUT 300)
endif()
