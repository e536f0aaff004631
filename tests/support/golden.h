/* The small models of scripts/golden.py, and what it computed with them. */
#ifndef MOH_TESTS_GOLDEN_H
#define MOH_TESTS_GOLDEN_H

#include "format/safetensors.h"
#include "model/model.h"

/* The model of tests/golden/NAME, not packed. */
moh__model *golden_model(const char *name);

/* A file of that directory. */
moh__safetensors *golden_tensors(const char *name, const char *file);

/* Fails with the message. */
void must(moh_status status, const moh_error *err);

#endif
