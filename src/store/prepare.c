/*
 * The preparation itself. Records are read into blocks of some hundred
 * kilobytes; a few blocks at a time are encoded by all threads; then their
 * ids go into the shard in their order. Whenever a shard is full it is
 * written, and then the place behind its last token.
 */
#include "store/prepare.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/prepare_internal.h"

enum {
  BLOCKS_PER_THREAD = 4,
  MAX_BLOCKS = 32,
  BATCH_BYTES = 4 << 20 /* of the blocks of a step, about */
};

/* Records that follow each other in a file, and their ids. */
typedef struct block {
  int64_t file;
  moh__reader_mark mark; /* where it begins */
  moh__bytes bytes;      /* the texts, side by side */
  int64_t *ends;         /* [n] of the texts, in bytes */
  int64_t *lines;        /* [n] on which they begin */
  int64_t n, capacity;
  int64_t next_offset; /* behind the block, in all files together */
  bool lead;           /* the ids begin with the end of the file before */
  moh__ids ids;
  int64_t *starts; /* [n + 1] in ids */
  moh_status status;
  moh_error err;
} block;

struct moh__prepare {
  const moh__prepare_options *options;
  moh__pool *pool;
  moh__prepare_dir dir;
  moh__prepare_state state;
  moh__tokenizer *tokenizer;
  moh__encoder **encoders; /* [n_encoders] */
  int n_encoders;
  moh__reader *reader; /* of options->paths[file] */
  int64_t file;
  int64_t passed; /* bytes of the files before it */
  bool started;   /* a reader was opened; the first goes to state.mark */
  block blocks[MAX_BLOCKS];
  int n_blocks;
  atomic_int next_block;
  moh__shard shard;
  int64_t bytes_done, bytes_all;
};

static moh_status no_memory(moh_error *err) {
  return moh__fail(err, MOH_ERR_MEMORY, "out of memory to prepare data");
}

/* ---- opening ---- */

/* Plain texts are a stream; records are examples, unless packed. */
static moh_status look_at_files(moh__prepare *p, moh_error *err) {
  const moh__prepare_options *o = p->options;
  bool examples = false;
  for (int i = 0; i < o->n_paths; i++) {
    moh__reader *reader;
    MOH_TRY(moh__reader_open(&reader, o->paths[i], &o->format, err));
    bool here = moh__text_has_examples(moh__reader_format(reader));
    p->bytes_all += moh__reader_size(reader);
    moh__reader_close(reader);
    if (i > 0 && here != examples && !o->pack)
      return moh__fail(
          err, MOH_ERR_ARGUMENT,
          "%s is %s and %s is %s; prepare them apart, or pack "
          "all to one stream",
          o->paths[i - 1], examples ? "a file of examples" : "plain text",
          o->paths[i], here ? "a file of examples" : "plain text");
    examples = here;
  }
  p->shard.head.examples = examples && !o->pack;
  return MOH_OK;
}

static moh_status fail_empty(const char *path, moh_error *err) {
  return moh__fail(err, MOH_ERR_FORMAT, "%s: it is empty, without a text",
                   path);
}

/* Finds what is wrong with a file before anything is replaced. */
static moh_status read_through(const moh__prepare_options *o,
                               const char *path, moh_error *err) {
  moh__reader *reader;
  moh__text text;
  bool found = true;
  MOH_TRY(moh__reader_open(&reader, path, &o->format, err));
  moh_status status = MOH_OK;
  while (status == MOH_OK && found)
    status = moh__reader_next(reader, &text, &found, err);
  bool empty = moh__reader_tell(reader).n_records == 0;
  moh__reader_close(reader);
  MOH_TRY(status);
  return empty ? fail_empty(path, err) : MOH_OK;
}

static moh_status open_tokenizer(moh__prepare *p, moh_error *err) {
  MOH_TRY(moh__prepare_tokenizer(&p->dir, &p->tokenizer, err));
  int n = moh__pool_threads(p->pool);
  p->encoders = calloc((size_t)n, sizeof(moh__encoder *));
  if (p->encoders == NULL) return no_memory(err);
  for (; p->n_encoders < n; p->n_encoders++)
    MOH_TRY(
        moh__encoder_new(&p->encoders[p->n_encoders], p->tokenizer, err));
  p->shard.head.vocab = moh__tokenizer_size(p->tokenizer);
  p->state.numbers.vocab = p->shard.head.vocab;
  p->state.numbers.examples = p->shard.head.examples;
  return MOH_OK;
}

static moh_status open_all(moh__prepare *p, moh_error *err) {
  MOH_TRY(look_at_files(p, err));
  MOH_TRY(moh__prepare_dir_open(&p->dir, p->options, &p->state, err));
  p->file = p->state.file;
  p->passed = moh__prepare_bytes_before(&p->dir, p->file);
  p->bytes_done = p->passed + p->state.mark.place.offset;
  if (p->dir.complete) return MOH_OK;
  for (int i = 0; i < p->options->n_paths && p->dir.replace; i++)
    MOH_TRY(read_through(p->options, p->options->paths[i], err));
  bool made = p->dir.tokenizer[0] != '\0';
  MOH_TRY(open_tokenizer(p, err));
  return made ? MOH_OK : moh__prepare_dir_save(&p->dir, &p->state, err);
}

moh_status moh__prepare_open(moh__prepare **out,
                             const moh__prepare_options *options,
                             moh__pool *pool, moh_error *err) {
  moh__prepare *p = calloc(1, sizeof(*p));
  *out = NULL;
  if (p == NULL) return no_memory(err);
  p->options = options;
  p->pool = pool;
  moh_status status = open_all(p, err);
  if (status == MOH_OK)
    *out = p;
  else
    moh__prepare_free(p);
  return status;
}

static void free_block(block *b) {
  free(b->bytes.bytes);
  free(b->ends);
  free(b->lines);
  free(b->starts);
  moh__ids_free(&b->ids);
}

void moh__prepare_free(moh__prepare *p) {
  if (p == NULL) return;
  for (int i = 0; i < MAX_BLOCKS; i++) free_block(&p->blocks[i]);
  for (int i = 0; i < p->n_encoders; i++) moh__encoder_free(p->encoders[i]);
  free(p->encoders);
  moh__shard_free(&p->shard);
  moh__reader_close(p->reader);
  moh__tokenizer_free(p->tokenizer);
  moh__prepare_dir_close(&p->dir);
  free(p);
}

/* ---- reading blocks ---- */

static moh_status open_reader(moh__prepare *p, moh_error *err) {
  const moh__prepare_options *o = p->options;
  MOH_TRY(moh__reader_open(&p->reader, o->paths[p->file], &o->format, err));
  bool first = !p->started;
  p->started = true;
  return first ? moh__reader_seek(p->reader, p->state.mark, err) : MOH_OK;
}

static moh_status close_reader(moh__prepare *p, moh_error *err) {
  bool empty = moh__reader_tell(p->reader).n_records == 0;
  p->passed += moh__reader_size(p->reader);
  moh__reader_close(p->reader);
  p->reader = NULL;
  p->file++;
  if (!empty) return MOH_OK;
  return fail_empty(p->options->paths[p->file - 1], err);
}

static moh_status grow_block(block *b, moh_error *err) {
  int64_t capacity = 2 * b->capacity + 64;
  size_t n = (size_t)capacity;
  int64_t *ends = reallocarray(b->ends, n, sizeof(*ends));
  if (ends != NULL) b->ends = ends;
  int64_t *lines = reallocarray(b->lines, n, sizeof(*lines));
  if (lines != NULL) b->lines = lines;
  int64_t *starts = reallocarray(b->starts, n + 1, sizeof(*starts));
  if (starts != NULL) b->starts = starts;
  if (!ends || !lines || !starts) return no_memory(err);
  b->capacity = capacity;
  return MOH_OK;
}

static moh_status add_text(block *b, moh__text text, int64_t line,
                           moh_error *err) {
  if (b->n == b->capacity) MOH_TRY(grow_block(b, err));
  MOH_TRY(moh__bytes_add(&b->bytes, text.bytes, text.n, err));
  b->lines[b->n] = line;
  b->ends[b->n++] = (int64_t)b->bytes.n;
  return MOH_OK;
}

/* A new stream's file begins with the end of the text before. */
static bool needs_lead(const moh__prepare *p, const block *b) {
  return !p->shard.head.examples && b->file > 0 && b->mark.n_records == 0 &&
         moh__tokenizer_end(p->tokenizer) >= 0;
}

/* The next records of one file; b->n is 0 behind the last file. Where a
 * block ends depends on where it begins, nothing else. */
static moh_status fill_block(moh__prepare *p, block *b, moh_error *err) {
  moh__text text;
  bool found = true;
  b->n = 0;
  b->bytes.n = 0;
  while (p->file < p->options->n_paths && b->bytes.n < MOH__STRETCH) {
    if (p->reader == NULL) MOH_TRY(open_reader(p, err));
    moh__reader_mark mark = moh__reader_tell(p->reader);
    if (b->n == 0) b->mark = mark;
    if (b->n == 0) b->file = p->file;
    MOH_TRY(moh__reader_next(p->reader, &text, &found, err));
    b->next_offset = p->passed + moh__reader_tell(p->reader).place.offset;
    if (found) MOH_TRY(add_text(b, text, mark.place.line, err));
    if (!found) MOH_TRY(close_reader(p, err));
    if (!found && b->n > 0) break;
  }
  b->lead = needs_lead(p, b);
  return MOH_OK;
}

static moh_status fill_blocks(moh__prepare *p, moh_error *err) {
  int most = BLOCKS_PER_THREAD * p->n_encoders;
  size_t bytes = 0;
  p->n_blocks = 0;
  while (p->n_blocks < most && p->n_blocks < MAX_BLOCKS &&
         bytes < BATCH_BYTES) {
    block *b = &p->blocks[p->n_blocks];
    MOH_TRY(fill_block(p, b, err));
    if (b->n == 0) break;
    bytes += b->bytes.n;
    p->n_blocks++;
  }
  return MOH_OK;
}

/* ---- encoding ---- */

static moh_status encode_text(const moh__prepare *p, moh__encoder *encoder,
                              block *b, int64_t i, moh_error *err) {
  int64_t from = i > 0 ? b->ends[i - 1] : 0;
  int32_t end = moh__tokenizer_end(p->tokenizer);
  moh__text text = {b->bytes.bytes + from, (size_t)(b->ends[i] - from)};
  size_t start = b->ids.n;
  if (i == 0 && b->lead) MOH_TRY(moh__ids_push(&b->ids, end, err));
  bool record = moh__text_has_examples(
      moh__text_format_of(p->options->paths[b->file], &p->options->format));
  if (record && text.n > 0)
    MOH_TRY(moh__tokenizer_begin(p->tokenizer, &b->ids, err));
  MOH_TRY(moh__encoder_encode(encoder, text, true, &b->ids, err));
  bool closed = b->ids.n == start || b->ids.ids[b->ids.n - 1] == end;
  if (p->options->pack && record && !closed)
    MOH_TRY(moh__ids_push(&b->ids, end, err));
  b->starts[i + 1] = (int64_t)b->ids.n;
  return MOH_OK;
}

static void encode_block(const moh__prepare *p, moh__encoder *encoder,
                         block *b) {
  b->ids.n = 0;
  b->starts[0] = 0;
  b->status = MOH_OK;
  for (int64_t i = 0; i < b->n && b->status == MOH_OK; i++) {
    b->status = encode_text(p, encoder, b, i, &b->err);
    if (b->status != MOH_OK)
      moh__fail_in(&b->err, b->status, "%s, line %" PRId64,
                   p->options->paths[b->file], b->lines[i]);
  }
}

/* One task for each encoder; blocks go to whoever is free. */
static void encode_task(void *context, int64_t task, void *scratch) {
  moh__prepare *p = context;
  (void)scratch;
  for (;;) {
    int i = atomic_fetch_add(&p->next_block, 1);
    if (i >= p->n_blocks) return;
    encode_block(p, p->encoders[task], &p->blocks[i]);
  }
}

/* ---- shards ---- */

static void add_head(moh__data_numbers *n, const moh__shard_head *head) {
  n->n_tokens += head->n_tokens;
  n->n_examples += head->n_examples;
  n->n_unknown += head->n_unknown;
  n->n_open += head->n_open;
}

/* Writes the shard, and then where the work stands. */
static moh_status flush(moh__prepare *p, moh_error *err) {
  char name[MOH__SHARD_NAME];
  moh__data_numbers *numbers = &p->state.numbers;
  moh__shard_name(name, numbers->n_shards);
  char *path = moh__path_join(p->options->out, name);
  if (path == NULL) return no_memory(err);
  moh_status status = moh__shard_write(&p->shard, path, err);
  free(path);
  MOH_TRY(status);
  numbers->n_shards++;
  add_head(numbers, &p->shard.head);
  moh__shard_clear(&p->shard);
  return moh__prepare_dir_save(&p->dir, &p->state, err);
}

static moh_status add_ids(moh__prepare *p, const int32_t *ids, int64_t n,
                          moh_error *err) {
  int32_t unknown = moh__tokenizer_unknown(p->tokenizer);
  MOH_TRY(moh__shard_add(&p->shard, ids, n, err));
  for (int64_t i = 0; i < n && unknown >= 0; i++)
    p->shard.head.n_unknown += ids[i] == unknown;
  if (n > 0) p->state.last = ids[n - 1];
  return MOH_OK;
}

static moh_status take_stretch(moh__prepare *p, const block *b, int64_t i,
                               moh_error *err) {
  const int32_t *ids = b->ids.ids + b->starts[i];
  int64_t n = b->starts[i + 1] - b->starts[i];
  int64_t *at = &p->state.tokens_done;
  int32_t end = moh__tokenizer_end(p->tokenizer);
  if (i == 0 && *at == 0 && b->lead && p->state.last == end) *at = 1;
  while (*at < n) {
    int64_t room = p->options->shard_tokens - p->shard.head.n_tokens;
    int64_t here = n - *at < room ? n - *at : room;
    MOH_TRY(add_ids(p, ids + *at, here, err));
    *at += here;
    if (here == room) MOH_TRY(flush(p, err));
  }
  return MOH_OK;
}

static moh_status take_example(moh__prepare *p, const block *b, int64_t i,
                               moh_error *err) {
  const int32_t *ids = b->ids.ids + b->starts[i];
  int64_t n = b->starts[i + 1] - b->starts[i];
  int64_t there = p->shard.head.n_tokens;
  if (n < 2) { /* a token to read and one to predict */
    p->state.numbers.n_short++;
    return MOH_OK;
  }
  if (there > 0 && there + n > p->options->shard_tokens)
    MOH_TRY(flush(p, err));
  MOH_TRY(add_ids(p, ids, n, err));
  p->shard.head.n_open += ids[n - 1] != moh__tokenizer_end(p->tokenizer);
  return MOH_OK;
}

static moh_status take_block(moh__prepare *p, const block *b,
                             moh_error *err) {
  moh__prepare_state *s = &p->state;
  bool examples = p->shard.head.examples;
  s->file = b->file;
  s->mark = b->mark;
  for (int64_t i = s->texts_done; i < b->n; i++) {
    MOH_TRY(examples ? take_example(p, b, i, err)
                     : take_stretch(p, b, i, err));
    s->texts_done = i + 1;
    s->tokens_done = 0;
    s->numbers.n_bytes += b->ends[i] - (i > 0 ? b->ends[i - 1] : 0);
  }
  s->texts_done = 0;
  p->bytes_done = b->next_offset;
  return MOH_OK;
}

/* ---- steps ---- */

static moh_status finish(moh__prepare *p, moh_error *err) {
  p->state.file = p->options->n_paths;
  p->state.mark = (moh__reader_mark){{0, 0, 0}, 0};
  if (p->shard.head.n_tokens > 0) MOH_TRY(flush(p, err));
  if (p->state.numbers.n_tokens < 2)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s%s: no text of 2 tokens or more to learn from",
                     p->options->paths[0],
                     p->options->n_paths > 1 ? " and the other files" : "");
  return moh__prepare_dir_finish(&p->dir, &p->state, err);
}

void moh__prepare_start(const moh__prepare *p,
                        moh__prepare_report *report) {
  *report = (moh__prepare_report){.bytes_done = p->bytes_done,
                                  .bytes_all = p->bytes_all,
                                  .numbers = p->state.numbers,
                                  .done = p->dir.complete};
  add_head(&report->numbers, &p->shard.head);
}

moh_status moh__prepare_step(moh__prepare *p, moh__prepare_report *report,
                             moh_error *err) {
  MOH_TRY(fill_blocks(p, err));
  atomic_store(&p->next_block, 0);
  moh__pool_run(p->pool, p->n_encoders, encode_task, p);
  for (int i = 0; i < p->n_blocks; i++) {
    const block *b = &p->blocks[i];
    if (b->status != MOH_OK && err != NULL) *err = b->err;
    MOH_TRY(b->status);
    MOH_TRY(take_block(p, b, err));
  }
  if (p->n_blocks == 0) MOH_TRY(finish(p, err));
  moh__prepare_start(p, report);
  return MOH_OK;
}
