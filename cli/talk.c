/* Turns in memory, and as a JSON file of messages. */
#include "talk.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "replace.h"

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory");
}

static void free_turn(moh__turn *turn) {
  free(turn->question);
  free(turn->answer);
}

void moh__talk_clear(moh__talk *talk) {
  for (size_t i = 0; i < talk->n; i++) free_turn(&talk->turns[i]);
  talk->n = 0;
}

void moh__talk_free(moh__talk *talk) {
  moh__talk_clear(talk);
  free(talk->turns);
  free(talk->system);
  *talk = (moh__talk){NULL, NULL, 0, 0};
}

moh_status moh__talk_add(moh__talk *talk, const char *question,
                         const char *answer, moh_error *err) {
  if (talk->n == talk->capacity) {
    size_t capacity = 2 * talk->capacity + 8;
    moh__turn *grown = reallocarray(talk->turns, capacity, sizeof *grown);
    if (grown == NULL) return no_memory(err);
    talk->turns = grown;
    talk->capacity = capacity;
  }
  moh__turn turn = {strdup(question), strdup(answer)};
  if (turn.question == NULL || turn.answer == NULL) {
    free_turn(&turn);
    return no_memory(err);
  }
  talk->turns[talk->n++] = turn;
  return MOH_OK;
}

char *moh__talk_take_last(moh__talk *talk) {
  if (talk->n == 0) return NULL;
  moh__turn *last = &talk->turns[--talk->n];
  free(last->answer);
  return last->question;
}

moh_status moh__talk_set_system(moh__talk *talk, const char *text,
                                moh_error *err) {
  bool none = text == NULL || text[0] == '\0';
  char *copy = none ? NULL : strdup(text);
  if (!none && copy == NULL) return no_memory(err);
  free(talk->system);
  talk->system = copy;
  return MOH_OK;
}

/* ---- the file ---- */

static int add_message(json_t *messages, const char *role,
                       const char *content) {
  return json_array_append_new(
      messages, json_pack("{s:s, s:s}", "role", role, "content", content));
}

static int add_turns(json_t *messages, const moh__talk *talk, size_t first) {
  int failed = 0;
  if (talk->system != NULL)
    failed |= add_message(messages, "system", talk->system);
  for (size_t i = first; i < talk->n; i++) {
    failed |= add_message(messages, "user", talk->turns[i].question);
    failed |= add_message(messages, "assistant", talk->turns[i].answer);
  }
  return failed;
}

moh_status moh__talk_messages(const moh__talk *talk, size_t first,
                              const char *question, json_t **messages,
                              moh_error *err) {
  *messages = json_array();
  int failed = add_turns(*messages, talk, first);
  failed |= add_message(*messages, "user", question);
  if (failed == 0) return MOH_OK;
  json_decref(*messages);
  *messages = NULL;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "what was said is not UTF-8, as the model's chat template "
                   "needs it");
}

moh_status moh__talk_save(const moh__talk *talk, const char *path,
                          moh_error *err) {
  MOH_TRY(moh__replace_check(path, "{\n  \"messages\": [", err));
  json_t *messages = json_array();
  int failed = add_turns(messages, talk, 0);
  json_t *object = json_pack("{s:o}", "messages", messages);
  moh_status status =
      failed || object == NULL
          ? moh__fail(err, MOH_ERR_FORMAT,
                      "what was typed is not UTF-8, so it cannot be "
                      "written as JSON")
          : moh__json_save(object, path, err);
  json_decref(object);
  return status;
}

/* The content of message i, whose role must be `role`. */
static moh_status read_message(const json_t *messages, size_t i,
                               const char *role, const char **content,
                               moh_error *err) {
  const json_t *message = json_array_get(messages, i);
  const char *found = NULL;
  moh_status status = moh__json_get_string(message, "role", &found, err);
  if (status == MOH_OK && strcmp(found, role) != 0)
    status = moh__fail(err, MOH_ERR_FORMAT, "the role is not \"%s\"", role);
  if (status == MOH_OK)
    status = moh__json_get_string(message, "content", content, err);
  if (status == MOH_OK) return MOH_OK;
  return moh__fail_in(err, status, "message %zu", i);
}

static bool has_role(const json_t *message, const char *role) {
  const char *found = json_string_value(json_object_get(message, "role"));
  return found != NULL && strcmp(found, role) == 0;
}

static moh_status read_talk(moh__talk *talk, const json_t *document,
                            moh_error *err) {
  const json_t *messages = json_object_get(document, "messages");
  size_t n = json_array_size(messages), i = 0;
  const char *question, *answer;
  if (!json_is_array(messages))
    return moh__fail(err, MOH_ERR_FORMAT, "there is no array \"messages\"");
  if (n > 0 && has_role(json_array_get(messages, 0), "system")) {
    MOH_TRY(read_message(messages, i++, "system", &question, err));
    MOH_TRY(moh__talk_set_system(talk, question, err));
  }
  for (; i < n; i += 2) {
    MOH_TRY(read_message(messages, i, "user", &question, err));
    MOH_TRY(read_message(messages, i + 1, "assistant", &answer, err));
    MOH_TRY(moh__talk_add(talk, question, answer, err));
  }
  return MOH_OK;
}

moh_status moh__talk_load(moh__talk *talk, const char *path, moh_error *err) {
  json_t *document;
  moh__talk read = {NULL, NULL, 0, 0};
  MOH_TRY(moh__json_load(&document, path, err));
  moh_status status = read_talk(&read, document, err);
  json_decref(document);
  if (status != MOH_OK) {
    moh__talk_free(&read);
    return moh__fail_in(err, status, "%s", path);
  }
  moh__talk_free(talk);
  *talk = read;
  return MOH_OK;
}
