/*
 * HRM, the hierarchical reasoning model (arXiv 2506.21734), with causal blocks
 * of the transformer: two modules of n_layers / 2 blocks each, the first half
 * of the layers f_L, the second f_H, with a state each. x are the embeddings:
 *   n_cycles times:  n_steps times  z_L = f_L(z_L + z_H + x)
 *                    once           z_H = f_H(z_H + z_L)
 * and the output is z_H. Both states begin as one fixed vector for every
 * position, which is saved and not trained. Embeddings are multiplied by
 * 1 / init_std, so that they begin with a root mean square of 1, as states do.
 *
 * Gradient (section 3 of the paper): one step. All but the last step of each
 * module are made without a record, and the states before them are constants;
 * memory does not grow with the number of steps. Or exact, through all steps.
 *
 * Deep supervision (section 2 of the paper), where asked for: in training the
 * loss is the mean of those of z_H behind equal parts of the cycles, and
 * between parts the states are held. Each part then has a gradient of one step
 * (or an exact one) of its own.
 *
 * Keys and values have a state slot for each time that a block is passed.
 */
#ifndef MOH_ARCH_HRM_H
#define MOH_ARCH_HRM_H

#include "arch/arch.h"
#include "arch/block.h"

extern const moh__arch moh__hrm;

/* A pass under way. */
typedef struct moh__hrm_pass {
  moh__pass pass;
  moh__tensor *x, *low, *high; /* (n, d_model) */
} moh__hrm_pass;

/* Everything before the last step of either module, and these steps: together
 * the forward pass. The pass must live as long as the tape's step. */
void moh__hrm_begin(moh__hrm_pass *h, const moh__model *model,
                    moh__tape *tape, const moh__batch *batch);
moh__tensor *moh__hrm_end(moh__hrm_pass *h);

#endif
