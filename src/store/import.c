/* What importers give, and how it is given back. */
#include "store/import.h"

#include <stdlib.h>

void moh__imported_free(moh__imported *imported) {
  moh__model_free(imported->model);
  moh__tokenizer_free(imported->tokenizer);
  free(imported->chat_template);
  *imported = (moh__imported){.model = NULL};
}
