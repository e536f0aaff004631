/*
 * moh.h - the public interface of libmoh: transformer language models with
 * Mixture-of-Heads attention (MoH, arXiv 2410.11842), on plain CPUs.
 *
 * Conventions
 *  - Every function that can fail returns a moh_status and takes a moh_error
 *    as its last argument, which may be NULL. On failure it holds one sentence
 *    that says what was wrong, where, and what to do.
 *  - Objects are opaque. What a function returns through a pointer-to-pointer
 *    belongs to the caller, who frees it with the matching *_free, for which
 *    NULL is fine.
 *  - A moh_model is read-only once loaded: any number of threads may use it.
 *    A moh_session belongs to one thread at a time.
 *  - The library never prints, exits or aborts on data.
 */
#ifndef MOH_H
#define MOH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOH_VERSION_MAJOR 0
#define MOH_VERSION_MINOR 1
#define MOH_VERSION_PATCH 0
#define MOH_VERSION "0.1.0"

#if defined(__GNUC__)
#define MOH_API __attribute__((visibility("default")))
#else
#define MOH_API
#endif

/* ---- status ----------------------------------------------------------- */

/* One list makes the codes, their names and their messages. */
#define MOH_STATUS_MAP(X)                                                  \
  X(OK, "success")                                                         \
  X(ERR_MEMORY, "out of memory")                                           \
  X(ERR_ARGUMENT, "invalid argument")                                      \
  X(ERR_CONFIG, "invalid model configuration")                             \
  X(ERR_FORMAT, "invalid input file")                                      \
  X(ERR_IO, "input or output failed")                                      \
  X(ERR_UNSUPPORTED, "not supported")                                      \
  X(ERR_DIVERGED, "training diverged")                                     \
  X(ERR_INTERRUPTED, "interrupted")

typedef enum moh_status {
#define MOH_STATUS_CODE(name, text) MOH_##name,
  MOH_STATUS_MAP(MOH_STATUS_CODE)
#undef MOH_STATUS_CODE
} moh_status;

typedef struct moh_error {
  moh_status status;
  char message[512]; /* one sentence, NUL-terminated UTF-8 */
} moh_error;

/* The name of a code ("MOH_ERR_IO") and what it means in general. Static
 * strings; thread safe. Unknown codes give "MOH_ERR_UNKNOWN". */
MOH_API const char *moh_status_name(moh_status status);
MOH_API const char *moh_status_text(moh_status status);

/* The version of the library that is linked, "major.minor.patch". */
MOH_API const char *moh_version(void);

#ifdef __cplusplus
}
#endif
#endif
