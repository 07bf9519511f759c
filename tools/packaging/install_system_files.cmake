# Run at installation. Where a system's files go does not follow from the prefix alone:
# that of /usr and /usr/local is /etc, whatever directory they are staged in.
cmake_policy(SET CMP0011 NEW)
if(CMAKE_INSTALL_PREFIX MATCHES "^(.*)(/usr(/local)?)/?$")
  set(root "${CMAKE_MATCH_1}")
  set(prefix "${CMAKE_MATCH_2}")
else()
  set(root "${CMAKE_INSTALL_PREFIX}")
  set(prefix "${CMAKE_INSTALL_PREFIX}")
endif()

configure_file(${MAILRACE_PACKAGING}/mailrace.service.in ${MAILRACE_STAGING}/mailrace.service
  @ONLY)
set(lib ${CMAKE_INSTALL_PREFIX}/lib)
file(INSTALL ${MAILRACE_STAGING}/mailrace.service DESTINATION ${lib}/systemd/system)
file(INSTALL ${MAILRACE_PACKAGING}/mailrace.sysusers DESTINATION ${lib}/sysusers.d
  RENAME mailrace.conf)
file(INSTALL ${MAILRACE_PACKAGING}/mailrace.tmpfiles DESTINATION ${lib}/tmpfiles.d
  RENAME mailrace.conf)
# The administrator's own configuration is never written over.
if(NOT EXISTS $ENV{DESTDIR}${root}/etc/mailrace/main.cf)
  file(INSTALL ${MAILRACE_PACKAGING}/main.cf DESTINATION ${root}/etc/mailrace)
endif()
