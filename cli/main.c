/*
 * moh COMMAND ...: finds the command, parses its options, runs it, and
 * turns its status into one line on stderr and an exit code.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "help.h"
#include "kernel/kernel.h"

enum {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
  EXIT_BAD_FILE = 3,
  EXIT_INTERRUPTED = 130
};

static int unknown_command(const char *word) {
  const char *near = moh__command_nearest(word);
  const char *kind = word[0] == '-' ? "option" : "command";
  fprintf(stderr, "moh: there is no %s '%s'", kind, word);
  if (near != NULL) fprintf(stderr, "; did you mean '%s'?", near);
  fputs(" (see 'moh --help')\n", stderr);
  return EXIT_USAGE;
}

static int exit_code(moh_status status) {
  switch (status) {
    case MOH_OK:
      return EXIT_DONE;
    case MOH_ERR_ARGUMENT:
      return EXIT_USAGE;
    case MOH_ERR_CONFIG:
    case MOH_ERR_FORMAT:
    case MOH_ERR_UNSUPPORTED: /* a newer version, an unknown type */
      return EXIT_BAD_FILE;
    case MOH_ERR_INTERRUPTED:
      return EXIT_INTERRUPTED;
    default:
      return EXIT_FAILED;
  }
}

/* One line, unless there is nothing to say. */
static void report(const moh__command *command, moh_status status,
                   const moh_error *err) {
  if (err->message[0] == '\0') return;
  fprintf(stderr, "moh %s: %s", command->name, err->message);
  if (status == MOH_ERR_ARGUMENT)
    fprintf(stderr, " (see 'moh %s --help')", command->name);
  fputc('\n', stderr);
}

/* Output that could not be written is a failure, too. */
static int close_output(int code) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return code;
  fputs("moh: the output could not be written; is the disk full?\n",
        stderr);
  return code == EXIT_DONE ? EXIT_FAILED : code;
}

static int run_command(const moh__command *command, int n, char **words) {
  moh_error err = {MOH_OK, ""};
  moh__call call;
  void *values = calloc(1, command->values_size);
  if (values == NULL) {
    fputs("moh: out of memory\n", stderr);
    return EXIT_FAILED;
  }
  moh_status status =
      moh__options_parse(command, n, words, values, &call, &err);
  if (status == MOH_OK && call.help)
    moh__help_command(stdout, command);
  else if (status == MOH_OK)
    status = command->run(&call, &err);
  if (status != MOH_OK) {
    fflush(stdout);
    report(command, status, &err);
  }
  free(values);
  return close_output(exit_code(status));
}

/* MOH_CPU names the kernels to use. The library takes the best ones when it
 * is wrong; whoever set it wants to know. */
static bool is_cpu_known(void) {
  const char *cpu = getenv("MOH_CPU");
  if (cpu == NULL || moh__kernel_named(cpu) != NULL) return true;
  fprintf(stderr,
          "moh: MOH_CPU is '%s', which this program or this processor has "
          "not; use avx512bf16, avx512, avx2, base or reference, or unset "
          "it\n",
          cpu);
  return false;
}

/* A closed pipe ends the program quietly, as SIGPIPE does, whatever the
 * parent process has set. */
static void end_by_closed_pipes(void) {
  sigset_t pipe;
  signal(SIGPIPE, SIG_DFL);
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  sigprocmask(SIG_UNBLOCK, &pipe, NULL);
}

/* Standard streams that are closed stay unusable: no file that is opened
 * later takes their place and gets what is meant for them. */
static void fill_standard_streams(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
    if (fcntl(fd, F_GETFD) != -1) continue;
    int got = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    if (got != fd) _exit(EXIT_FAILED);
  }
}

int main(int argc, char **argv) {
  fill_standard_streams();
  end_by_closed_pipes();
  signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of writing */
  if (!is_cpu_known()) return EXIT_USAGE;
  if (argc < 2) {
    fputs("moh: a command is missing (see 'moh --help')\n", stderr);
    return EXIT_USAGE;
  }
  const char *word = argv[1];
  if (strcmp(word, "--version") == 0) {
    printf("moh %s (%s kernels)\n", moh_version(), moh__kernel()->name);
    return close_output(EXIT_DONE);
  }
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
    moh__help_overview(stdout);
    return close_output(EXIT_DONE);
  }
  const moh__command *command = moh__command_find(word);
  if (command == NULL) return unknown_command(word);
  return run_command(command, argc - 2, argv + 2);
}
