/*
 * The kernel table in use: chosen once from what this build has and this
 * processor can run, best first; MOH_CPU names another. It is the library's
 * only global state.
 */
#if defined(MOH_HAVE_X86_KERNELS)
#include <cpuid.h>
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

#ifndef MOH_REAL_DOUBLE
extern const moh__kernels moh__kernels_base;
#endif
#if defined(MOH_HAVE_X86_KERNELS)
extern const moh__kernels moh__kernels_avx2;
extern const moh__kernels moh__kernels_avx512;
extern const moh__kernels moh__kernels_avx512bf16;

/* Not a name that every compiler's __builtin_cpu_supports knows. */
static bool has_f16c(void) {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
static bool has_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         has_f16c();
}
static bool has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
static bool has_avx512bf16(void) {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512vnni");
}
#endif

static bool always(void) { return true; }

typedef struct entry {
  const moh__kernels *kernels;
  bool (*runs_here)(void);
} entry;

/* Best first. */
static const entry entries[] = {
#if defined(MOH_HAVE_X86_KERNELS)
    {&moh__kernels_avx512bf16, has_avx512bf16},
    {&moh__kernels_avx512, has_avx512},
    {&moh__kernels_avx2, has_avx2},
#endif
#ifndef MOH_REAL_DOUBLE
    {&moh__kernels_base, always},
#endif
    {&moh__kernels_reference, always},
};

enum { N_ENTRIES = sizeof(entries) / sizeof(entries[0]) };

static _Atomic(const moh__kernels *) in_use;
static pthread_once_t chosen = PTHREAD_ONCE_INIT;

const moh__kernels *moh__kernel_named(const char *name) {
  for (int i = 0; i < N_ENTRIES; i++)
    if (strcmp(entries[i].kernels->name, name) == 0)
      return entries[i].runs_here() ? entries[i].kernels : NULL;
  return NULL;
}

static void choose_once(void) {
  if (atomic_load(&in_use) != NULL) return;
  const char *wanted = getenv("MOH_CPU");
  const moh__kernels *table =
      wanted == NULL ? NULL : moh__kernel_named(wanted);
  for (int i = 0; table == NULL && i < N_ENTRIES; i++)
    if (entries[i].runs_here()) table = entries[i].kernels;
  atomic_store(&in_use, table);
}

const moh__kernels *moh__kernel(void) {
  pthread_once(&chosen, choose_once);
  return atomic_load(&in_use);
}

void moh__kernel_use(const moh__kernels *table) {
  pthread_once(&chosen, choose_once);
  atomic_store(&in_use, table);
}
