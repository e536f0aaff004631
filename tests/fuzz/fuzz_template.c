/*
 * A chat template and its messages: they stand in the input one after the
 * other, with a byte 0x00 between. Whatever is rendered lies within the
 * bounds, in pieces that cover it; what is content is a part of the data's
 * texts as far as single bytes go.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
  if (!holds) abort();
}

static void check_rendered(const moh__rendered *r, size_t most) {
  size_t at = 0;
  require(r->n <= most && r->bytes[r->n] == '\0');
  for (size_t i = 0; i < r->n_pieces; i++) {
    require(r->pieces[i].start == at && r->pieces[i].end > at);
    require(i == 0 || r->pieces[i].content != r->pieces[i - 1].content);
    at = r->pieces[i].end;
  }
  require(at == r->n);
}

static void check_template(const moh__template *t, const json_t *data) {
  const moh__template_limits limits = {
      .steps = 1 << 16, .output = 1 << 14, .memory = 1 << 22};
  json_t *settings = json_pack("{s:s, s:b}", "eos_token", "</s>",
                               "add_generation_prompt", 1);
  moh__rendered r;
  moh_error err = {0};
  moh_status status =
      moh__template_render(t, settings, data, &limits, &r, &err);
  if (status == MOH_OK)
    check_rendered(&r, limits.output);
  else
    require(r.bytes == NULL && err.message[0] != '\0');
  moh__rendered_free(&r);
  json_decref(settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
  size_t n = end != NULL ? (size_t)(end - data) : size;
  moh__template *t;
  moh_error err = {0};
  json_t *variables = NULL;
  moh__text source = {(const char *)data, n};
  if (moh__template_parse(&t, source, "fuzz", &err) != MOH_OK) {
    require(t == NULL && strncmp(err.message, "fuzz", 4) == 0);
    return 0;
  }
  if (n < size)
    (void)moh__json_parse(&variables, (const char *)data + n + 1,
                          size - n - 1, "fuzz", NULL);
  check_template(t, json_is_object(variables) ? variables : NULL);
  json_decref(variables);
  moh__template_free(t);
  return 0;
}
