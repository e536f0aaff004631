# Man pages of all commands in man/man1 and completion for two shells, made by
# running the program; nothing else depends on them. The commands are those of
# the table in commands.c.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS commands.c)
file(STRINGS commands.c MOH_COMMANDS REGEX "^ *&moh__command_[a-z]+,$")
list(TRANSFORM MOH_COMMANDS REPLACE "^ *&moh__command_|,$" "")

set(MOH_MAN_DIR ${CMAKE_BINARY_DIR}/man/man1)
set(MOH_COMPLETION_DIR ${CMAKE_BINARY_DIR}/completion)
file(MAKE_DIRECTORY ${MOH_MAN_DIR} ${MOH_COMPLETION_DIR})

# The file holds what "moh WORDS..." prints.
function(moh_printed file)
  add_custom_command(OUTPUT ${file}
    COMMAND ${CMAKE_COMMAND} -E env --unset=MOH_CPU
      $<TARGET_FILE:moh_cli> ${ARGN} > ${file}
    DEPENDS moh_cli VERBATIM)
endfunction()

moh_printed(${MOH_MAN_DIR}/moh.1 help --man)
set(MOH_MAN_PAGES ${MOH_MAN_DIR}/moh.1)
foreach(command ${MOH_COMMANDS})
  moh_printed(${MOH_MAN_DIR}/moh-${command}.1 help --man ${command})
  list(APPEND MOH_MAN_PAGES ${MOH_MAN_DIR}/moh-${command}.1)
endforeach()
moh_printed(${MOH_COMPLETION_DIR}/moh completion bash)
moh_printed(${MOH_COMPLETION_DIR}/_moh completion zsh)
add_custom_target(moh_pages ALL DEPENDS ${MOH_MAN_PAGES}
  ${MOH_COMPLETION_DIR}/moh ${MOH_COMPLETION_DIR}/_moh)

install(FILES ${MOH_MAN_PAGES} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${MOH_COMPLETION_DIR}/moh
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${MOH_COMPLETION_DIR}/_moh
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
