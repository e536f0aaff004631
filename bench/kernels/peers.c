/* OpenBLAS and oneDNN, loaded at run time: neither is needed to build. */
#include "peers.h"

#include <dlfcn.h>
#include <stddef.h>

/* Values of the C interface of BLAS. */
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

typedef void cblas_fn(int order, int trans_a, int trans_b, int m, int n,
                      int k, float alpha, const float *a, int lda,
                      const float *b, int ldb, float beta, float *c, int ldc);
typedef int dnnl_fn(char trans_a, char trans_b, int64_t m, int64_t n,
                    int64_t k, float alpha, const float *a, int64_t lda,
                    const float *b, int64_t ldb, float beta, float *c,
                    int64_t ldc);

/* A function of the first of two libraries that is there. */
static void *find(const char *library, const char *other,
                  const char *function) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) handle = dlopen(other, RTLD_NOW | RTLD_LOCAL);
  return handle == NULL ? NULL : dlsym(handle, function);
}

bool peer_openblas(const peer_product *p) {
  static cblas_fn *sgemm;
  static bool tried;
  if (!tried) {
    *(void **)&sgemm =
        find("libopenblas.so.0", "libopenblas.so", "cblas_sgemm");
    tried = true;
  }
  if (sgemm == NULL) return false;
  sgemm(ROW_MAJOR, p->a_transposed ? TRANS : NO_TRANS,
        p->b_transposed ? TRANS : NO_TRANS, (int)p->m, (int)p->n, (int)p->k,
        1, p->a, (int)p->lda, p->b, (int)p->ldb, 0, p->c, (int)p->ldc);
  return true;
}

bool peer_onednn(const peer_product *p) {
  static dnnl_fn *sgemm;
  static bool tried;
  if (!tried) {
    *(void **)&sgemm = find("libdnnl.so.2", "libdnnl.so.3", "dnnl_sgemm");
    tried = true;
  }
  if (sgemm == NULL) return false;
  sgemm(p->a_transposed ? 'T' : 'N', p->b_transposed ? 'T' : 'N', p->m, p->n,
        p->k, 1, p->a, p->lda, p->b, p->ldb, 0, p->c, p->ldc);
  return true;
}
