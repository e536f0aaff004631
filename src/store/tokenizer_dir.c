/* The names and ids of special tokens in files of JSON. */
#include "store/tokenizer_dir.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "text/utf8.h"

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "no memory for a tokenizer");
}

/* "User: ... Assistant: ..." with the end token behind each answer. */
static const char default_chat[] =
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }} "
    "{% if message['role'] == 'assistant' %}{{ eos_token }} {% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}";

const char *moh__chat_of(const moh__tokenizer *tokenizer) {
  const char *chat = moh__tokenizer_chat(tokenizer);
  return chat != NULL ? chat : default_chat;
}

/* ---- reading ---- */

/* A file that is read. */
typedef struct reading {
  moh__tokenizer *tokenizer;
  moh__ids ends;
  int32_t bos;
  const char *path;
  moh_error *err;
} reading;

static moh_status take_id(const reading *r, const json_t *json,
                          const char *key, int32_t *id) {
  json_int_t value = json_integer_value(json);
  int32_t n = moh__tokenizer_size(r->tokenizer);
  *id = (int32_t)value;
  if (json_is_integer(json) && value >= 0 && value < n) return MOH_OK;
  return moh__fail(r->err, MOH_ERR_FORMAT,
                   "%s: \"%s\" is not one of the ids 0..%d of its tokenizer",
                   r->path, key, n - 1);
}

static moh_status fail_type(const reading *r, const char *key,
                            const char *want) {
  return moh__fail(r->err, MOH_ERR_FORMAT, "%s: \"%s\" must be %s", r->path,
                   key, want);
}

static bool is_absent(const json_t *json) {
  return json == NULL || json_is_null(json);
}

static moh_status read_ids(reading *r, const json_t *root) {
  const json_t *ends = json_object_get(root, "eos_token_id");
  const json_t *bos = json_object_get(root, "bos_token_id");
  int32_t id;
  if (!is_absent(bos)) {
    MOH_TRY(take_id(r, bos, "bos_token_id", &id));
    if (r->bos < 0) r->bos = id;
  }
  if (is_absent(ends)) return MOH_OK;
  if (!json_is_array(ends)) {
    MOH_TRY(take_id(r, ends, "eos_token_id", &id));
    return moh__ids_push(&r->ends, id, r->err);
  }
  for (size_t i = 0; i < json_array_size(ends); i++) {
    MOH_TRY(take_id(r, json_array_get(ends, i), "eos_token_id", &id));
    MOH_TRY(moh__ids_push(&r->ends, id, r->err));
  }
  return MOH_OK;
}

/* The id of "eos_token": "...", or of {"content": "..."}; -1: none. */
static moh_status find_token(const reading *r, const json_t *root,
                             const char *key, int32_t *id) {
  const json_t *token = json_object_get(root, key);
  *id = -1;
  if (is_absent(token)) return MOH_OK;
  if (json_is_object(token)) token = json_object_get(token, "content");
  const char *name = json_string_value(token);
  if (name == NULL)
    return fail_type(r, key, "a text, or an object with its \"content\"");
  *id = moh__tokenizer_id(r->tokenizer, name);
  if (*id >= 0) return MOH_OK;
  moh__text text = moh__text_of(name);
  return moh__fail(r->err, MOH_ERR_FORMAT,
                   "%s: the \"%s\" \"%.*s\" is not in the vocabulary",
                   r->path, key, moh__quoted(text), name);
}

/* Of several templates with names the one that is called "default". */
static moh_status find_named_chat(const reading *r, const json_t *list,
                                  const char **chat) {
  size_t i;
  json_t *entry;
  json_array_foreach((json_t *)list, i, entry) {
    const char *name = json_string_value(json_object_get(entry, "name"));
    const char *text = json_string_value(json_object_get(entry, "template"));
    if (name == NULL || text == NULL)
      return fail_type(r, "chat_template",
                       "a list of objects with \"name\" and \"template\"");
    if (*chat == NULL && strcmp(name, "default") == 0) *chat = text;
  }
  return MOH_OK;
}

/* NULL: none. */
static moh_status find_chat(const reading *r, const json_t *root,
                            const char **chat) {
  const json_t *found = json_object_get(root, "chat_template");
  *chat = json_string_value(found);
  if (is_absent(found) || *chat != NULL) return MOH_OK;
  if (json_array_size(found) > 0) return find_named_chat(r, found, chat);
  return fail_type(r, "chat_template", "a text, or a list of named ones");
}

static moh_status take_chat(const reading *r, moh__text chat) {
  bool same = chat.n == sizeof(default_chat) - 1 &&
              memcmp(chat.bytes, default_chat, chat.n) == 0;
  if (same) return MOH_OK;
  moh_status status = moh__tokenizer_set_chat(r->tokenizer, chat, r->err);
  return status == MOH_OK ? MOH_OK
                          : moh__fail_in(r->err, status, "%s", r->path);
}

static moh_status read_names(reading *r, const json_t *root) {
  int32_t end;
  const char *chat;
  MOH_TRY(find_chat(r, root, &chat));
  if (chat != NULL) MOH_TRY(take_chat(r, moh__text_of(chat)));
  MOH_TRY(find_token(r, root, "eos_token", &end));
  MOH_TRY(find_token(r, root, "bos_token", &r->bos));
  return end < 0 ? MOH_OK : moh__ids_push(&r->ends, end, r->err);
}

static moh_status read_file(reading *r, const char *dir, const char *name,
                            moh_status (*read)(reading *, const json_t *)) {
  json_t *root = NULL;
  char *path = moh__path_join(dir, name);
  if (path == NULL) return no_memory(r->err);
  moh_status status = MOH_OK;
  if (access(path, F_OK) == 0) {
    r->path = path;
    status = moh__json_load(&root, path, r->err);
    if (status == MOH_OK && !json_is_object(root))
      status =
          moh__fail(r->err, MOH_ERR_FORMAT, "%s: must be an object", path);
    if (status == MOH_OK) status = read(r, root);
    json_decref(root);
  }
  free(path);
  return status;
}

static moh_status read_chat_text(reading *r, const char *path) {
  moh__map map;
  MOH_TRY(moh__map_open(&map, path, r->err));
  r->path = path;
  moh__text chat = {"", 0};
  if (map.size > 0) chat = (moh__text){(const char *)map.bytes, map.size};
  moh_status status = take_chat(r, chat);
  moh__map_close(&map);
  return status;
}

/* A template's own file, which newer programs write, counts before the
 * other. */
static moh_status read_chat_file(reading *r, const char *dir) {
  char *path = moh__path_join(dir, "chat_template.jinja");
  if (path == NULL) return no_memory(r->err);
  moh_status status = MOH_OK;
  if (access(path, F_OK) == 0) status = read_chat_text(r, path);
  free(path);
  return status;
}

/* The first end token is the one that a chat's turns have. */
static moh_status read_files(reading *r, const char *dir) {
  MOH_TRY(read_file(r, dir, "tokenizer_config.json", read_names));
  MOH_TRY(read_chat_file(r, dir));
  MOH_TRY(read_file(r, dir, "config.json", read_ids));
  MOH_TRY(read_file(r, dir, "generation_config.json", read_ids));
  if (r->bos >= 0)
    MOH_TRY(moh__tokenizer_set_bos(r->tokenizer, r->bos, r->err));
  if (r->ends.n == 0) return MOH_OK;
  return moh__tokenizer_set_ends(r->tokenizer, r->ends.ids, r->ends.n,
                                 r->err);
}

moh_status moh__tokenizer_load_dir(moh__tokenizer **out, const char *dir,
                                   moh_error *err) {
  reading r = {.bos = -1, .err = err};
  char *path = moh__path_join(dir, "tokenizer.json");
  *out = NULL;
  if (path == NULL) return no_memory(err);
  moh_status status = moh__tokenizer_load(&r.tokenizer, path, err);
  free(path);
  if (status == MOH_OK) status = read_files(&r, dir);
  moh__ids_free(&r.ends);
  if (status == MOH_OK) {
    *out = r.tokenizer;
  } else {
    moh__tokenizer_free(r.tokenizer);
  }
  return status;
}

/* ---- writing ---- */

static json_t *ids_json(const moh__ids *ids) {
  if (ids->n == 0) return json_null();
  if (ids->n == 1) return json_integer(ids->ids[0]);
  json_t *list = json_array();
  for (size_t i = 0; i < ids->n; i++) {
    if (json_array_append_new(list, json_integer(ids->ids[i])) == 0) continue;
    json_decref(list);
    return NULL;
  }
  return list;
}

moh_status moh__put_token_ids(json_t *root, const moh__tokenizer *tokenizer,
                              moh_error *err) {
  static const moh__ids none = {0};
  int32_t bos = tokenizer == NULL ? -1 : moh__tokenizer_bos(tokenizer);
  const moh__ids *ends =
      tokenizer == NULL ? &none : moh__tokenizer_ends(tokenizer);
  int failed = json_object_set_new(root, "bos_token_id",
                                   bos < 0 ? json_null() : json_integer(bos));
  failed |= json_object_set_new(root, "eos_token_id", ids_json(ends));
  return failed == 0 ? MOH_OK : no_memory(err);
}

/* Adds a token as the vocabulary spells it, when there is such a token. */
static int put_token(json_t *root, const char *key,
                     const moh__tokenizer *tokenizer, int32_t id) {
  if (id < 0) return 0;
  moh__text name = moh__tokenizer_spelling(tokenizer, id);
  return json_object_set_new(root, key, json_stringn(name.bytes, name.n));
}

moh_status moh__put_tokens(json_t *root, const moh__tokenizer *tokenizer,
                           moh_error *err) {
  int failed =
      put_token(root, "bos_token", tokenizer, moh__tokenizer_bos(tokenizer));
  failed |=
      put_token(root, "eos_token", tokenizer, moh__tokenizer_end(tokenizer));
  failed |= put_token(root, "unk_token", tokenizer,
                      moh__tokenizer_unknown(tokenizer));
  return failed == 0 ? MOH_OK : no_memory(err);
}
