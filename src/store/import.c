/* What importers give, and how it is given back. */
#include "store/import.h"

void moh__imported_free(moh__imported *imported) {
  moh__model_free(imported->model);
  moh__tokenizer_free(imported->tokenizer);
  *imported = (moh__imported){.model = NULL};
}
