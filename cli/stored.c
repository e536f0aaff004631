/* Matrices that are stored otherwise than was asked for. */
#include "stored.h"

#include <stdio.h>

/* All that may be stored in fewer bits are so in f16, which has no blocks. */
int moh__stored_exact(const moh__model *model, moh__block_type type) {
  int n = 0;
  for (int i = 0; i < model->n_params; i++)
    n += moh__param_stores(&model->params[i], MOH__BLOCK_F16) &&
         !moh__param_stores(&model->params[i], type);
  return n;
}

void moh__stored_print_exact(const moh__model *model, moh__block_type type) {
  int n = moh__stored_exact(model, type);
  if (n == 0) return;
  printf("in f32      %d %s whose rows are no blocks of %d\n", n,
         n == 1 ? "matrix" : "matrices", MOH__BLOCK);
}
