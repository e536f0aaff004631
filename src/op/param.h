/*
 * A parameter: a trained (or stored) tensor, and the weight handle that
 * kernels read. `data` has the layout of the file and is f32; `packed` and
 * `packed_back` are derived from it, in the parameter's precision, and
 * head-major: one panel block per group (a head, an expert). A matrix that is
 * only run may be there as its file has it instead: rows of blocks (stored).
 */
#ifndef MOH_OP_PARAM_H
#define MOH_OP_PARAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/real.h"
#include "kernel/kernel.h"

enum {
  MOH__PARAM_DECAY = 1 << 0,  /* weight decay applies */
  MOH__PARAM_ROUTER = 1 << 1, /* a router's; its learning rate may differ */
  MOH__PARAM_FROZEN = 1 << 2, /* not updated */
  MOH__PARAM_BUFFER = 1 << 3, /* saved, neither trained nor counted */
  MOH__PARAM_EMBEDDING = 1 << 4, /* unit of clipping: a row */
  MOH__PARAM_OUTPUT = 1 << 5,    /* exempt from unit-wise clipping */
  MOH__PARAM_F32 = 1 << 6,       /* products with it are f32 always */
  MOH__PARAM_ADAPTED = 1 << 7,   /* its gradient is its adapters', which are
                                  * updated in its place (train/lora.h) */
};

/* How a matrix is cut into groups for packing. */
typedef enum moh__grouping {
  MOH__PACK_NONE,    /* looked up or used element by element: never packed */
  MOH__PACK_OUTPUTS, /* groups of rows (outputs): W_Q by head; 1 group: all
                      */
  MOH__PACK_INPUTS   /* groups of columns (inputs): W_O by head */
} moh__grouping;

/*
 * What weights are in memory, and what products with them compute in: f16 in
 * f32; q8_0 and q4_0 in integers, both operands being rounded to blocks of 32.
 * Training knows the first two. The numbers are moh_precision's.
 */
typedef enum moh__precision {
  MOH__PRECISION_F32,
  MOH__PRECISION_BF16,
  MOH__PRECISION_F16,
  MOH__PRECISION_Q8_0,
  MOH__PRECISION_Q4_0,
  MOH__PRECISIONS
} moh__precision;

/* Of weights in blocks of a type: f32, bf16, f16, q8_0 or q4_0. */
moh__precision moh__precision_of(moh__block_type type);

/* "f32", "bf16", ..., NULL; and those of training. */
extern const char *const moh__precision_names[];
extern const char *const moh__precision_trained_names[];
static inline bool moh__precision_trains(moh__precision precision) {
  return precision <= MOH__PRECISION_BF16;
}
/* False when there is none of that name. */
bool moh__precision_find(const char *name, moh__precision *precision);

enum { MOH__NAME_MAX = 96, MOH__DIMS_MAX = 3 };

typedef struct moh__param {
  char name[MOH__NAME_MAX];
  int n_dims;
  int64_t shape[MOH__DIMS_MAX]; /* matrices: outputs, inputs; with 3
                                   dimensions a matrix for each of the first */
  int64_t n;                    /* elements */
  unsigned flags;
  moh__grouping grouping;
  int64_t n_groups;
  real *data;         /* NULL where there is `stored` alone */
  const void *stored; /* NULL: there is data */
  moh__block_type stored_type;
  real *grad; /* NULL unless training, and where it is frozen */
  bool fresh; /* grad counts as 0, whatever it holds: as a tensor's g */
  moh__precision precision;
  void *packed;      /* for W x; NULL when never packed */
  void *packed_back; /* for W^T dy; NULL unless training */
} moh__param;

/* Whether updates change it. Its gradient need not be computed otherwise.
 */
static inline bool moh__param_is_trained(const moh__param *w) {
  return w->grad != NULL &&
         (w->flags & (MOH__PARAM_FROZEN | MOH__PARAM_BUFFER)) == 0;
}

/* Whether it may be stored as rows of blocks: a matrix that is multiplied with,
 * or looked up by token, but no router; its inputs are whole blocks. */
bool moh__param_stores(const moh__param *w, moh__block_type type);

/* Row i of a matrix. */
void moh__param_row(const moh__param *w, int64_t i, real *row);

/* Bytes of data, or of what is stored instead. */
int64_t moh__param_bytes(const moh__param *w);

/* As moh__tensor_adds and moh__tape_settle, of its gradient. */
static inline bool moh__param_adds(moh__param *w) {
  bool adds = !w->fresh;
  w->fresh = false;
  return adds;
}
void moh__param_settle(moh__param *w, moh__pool *pool);

/* Inputs and outputs of all groups. */
static inline int64_t moh__param_in(const moh__param *w) {
  return w->shape[w->n_dims - 1];
}
static inline int64_t moh__param_out(const moh__param *w) {
  return w->n_dims == 3 ? w->shape[0] * w->shape[1] : w->shape[0];
}

/* Inputs and outputs of one packed group. */
static inline int64_t moh__param_group_in(const moh__param *w) {
  int64_t in = moh__param_in(w);
  return w->grouping == MOH__PACK_INPUTS ? in / w->n_groups : in;
}
static inline int64_t moh__param_group_out(const moh__param *w) {
  int64_t out = moh__param_out(w);
  return w->grouping == MOH__PACK_OUTPUTS ? out / w->n_groups : out;
}

/* What `packed` is made of: as the precision says, but f32 where a group's
 * inputs are no whole blocks of it. packed_back is bf16 or f32. */
moh__block_type moh__param_type(const moh__param *w);

/* Bytes that `packed` and `packed_back` need, 0 when never packed. */
int64_t moh__param_packed_bytes(const moh__param *w);
int64_t moh__param_packed_back_bytes(const moh__param *w);

/* Sets the B operand of a product with group g: W_g^T, or W_g when backward
 * (from `data`, in f32, where there is no packed_back). */
void moh__param_operand(const moh__param *w, int64_t g, bool backward,
                        moh__gemm *product);

/* Whether packing needs `data`, which is not there: what is stored is of
 * another type, or there are gradients. */
bool moh__param_lacks_data(const moh__param *w);

/* Renews `packed` and `packed_back` from `data`, or `packed` from what is
 * stored: after loading and after every update. */
void moh__param_pack(moh__param *w, moh__pool *pool);

#endif
