/* Shard files: writing, and opening with every number checked. */
#include "text/shard.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static const char magic[8] = "MOHSHARD";

/* The header as it lies in the file. */
typedef struct disk_head {
  char magic[8];
  uint32_t version, width;
  uint64_t n_tokens, n_examples;
  uint32_t vocab, examples;
  uint64_t n_open, n_unknown, zero;
} disk_head;

_Static_assert(sizeof(disk_head) == MOH__SHARD_HEAD, "no gaps");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "numbers are written as they are");

int32_t moh__shard_width(int32_t vocab) { return vocab <= 65536 ? 2 : 4; }

/* ---- making ---- */

/* Makes `*array` hold n items of a size, growing by half. */
static moh_status reserve(void **array, int64_t *capacity, int64_t n,
                          size_t size, moh_error *err) {
  size_t bytes;
  if (n <= *capacity) return MOH_OK;
  int64_t wanted = n + n / 2 + 64;
  void *grown = NULL;
  if (moh__mul_size((size_t)wanted, size, &bytes))
    grown = realloc(*array, bytes);
  if (grown == NULL)
    return moh__fail(err, MOH_ERR_MEMORY,
                     "no memory for a shard of %" PRId64 " tokens", n);
  *array = grown;
  *capacity = wanted;
  return MOH_OK;
}

static void put_ids(moh__shard *shard, const int32_t *ids, int64_t n) {
  int64_t at = shard->head.n_tokens;
  if (shard->head.width == sizeof(*ids)) {
    memcpy((int32_t *)shard->ids + at, ids, (size_t)n * sizeof(*ids));
    return;
  }
  uint16_t *narrow = (uint16_t *)shard->ids + at;
  for (int64_t i = 0; i < n; i++) narrow[i] = (uint16_t)ids[i];
}

moh_status moh__shard_add(moh__shard *shard, const int32_t *ids, int64_t n,
                          moh_error *err) {
  moh__shard_head *head = &shard->head;
  head->width = moh__shard_width(head->vocab);
  int64_t n_tokens = head->n_tokens + n;
  MOH_TRY(reserve(&shard->ids, &shard->capacity, n_tokens,
                  (size_t)head->width, err));
  if (head->examples) {
    void *starts = shard->starts;
    moh_status status = reserve(&starts, &shard->n_starts,
                                head->n_examples + 2, sizeof(int64_t), err);
    shard->starts = starts;
    MOH_TRY(status);
    shard->starts[0] = 0;
    shard->starts[++head->n_examples] = n_tokens;
  }
  put_ids(shard, ids, n);
  head->n_tokens = n_tokens;
  return MOH_OK;
}

void moh__shard_clear(moh__shard *shard) {
  moh__shard_head *head = &shard->head;
  head->n_tokens = head->n_examples = head->n_open = head->n_unknown = 0;
}

void moh__shard_free(moh__shard *shard) {
  free(shard->ids);
  free(shard->starts);
  shard->ids = shard->starts = NULL;
  shard->capacity = shard->n_starts = 0;
}

/* Zeros between ids and starts. */
static size_t padding_of(size_t bytes) { return (8 - bytes % 8) % 8; }

static moh_status put_all(moh__writer *writer, const moh__shard *shard,
                          moh_error *err) {
  static const char zeros[8];
  const moh__shard_head *head = &shard->head;
  disk_head disk = {.version = MOH__SHARD_VERSION,
                    .width = (uint32_t)moh__shard_width(head->vocab),
                    .n_tokens = (uint64_t)head->n_tokens,
                    .n_examples = (uint64_t)head->n_examples,
                    .vocab = (uint32_t)head->vocab,
                    .examples = head->examples,
                    .n_open = (uint64_t)head->n_open,
                    .n_unknown = (uint64_t)head->n_unknown};
  memcpy(disk.magic, magic, sizeof(magic));
  size_t ids = (size_t)head->n_tokens * disk.width;
  MOH_TRY(moh__writer_put(writer, &disk, sizeof(disk), err));
  MOH_TRY(moh__writer_put(writer, shard->ids, ids, err));
  MOH_TRY(moh__writer_put(writer, zeros, padding_of(ids), err));
  if (!head->examples) return MOH_OK;
  return moh__writer_put(
      writer, shard->starts,
      ((size_t)head->n_examples + 1) * sizeof(*shard->starts), err);
}

moh_status moh__shard_write(const moh__shard *shard, const char *path,
                            moh_error *err) {
  moh__writer *writer;
  MOH_TRY(moh__writer_open(&writer, path, err));
  moh_status status = put_all(writer, shard, err);
  if (status == MOH_OK) return moh__writer_commit(writer, err);
  moh__writer_discard(writer);
  return status;
}

/* ---- opening ---- */

static moh_status refuse(const char *name, const char *what,
                         moh_error *err) {
  return moh__fail(err, MOH_ERR_FORMAT, "%s: %s", name, what);
}

/* The numbers of a header against each other. */
static moh_status check_head(const disk_head *disk, const char *name,
                             moh_error *err) {
  if (memcmp(disk->magic, magic, sizeof(magic)) != 0)
    return refuse(name, "not a shard of 'moh data', or a damaged one", err);
  if (disk->version != MOH__SHARD_VERSION)
    return moh__fail(err, MOH_ERR_UNSUPPORTED,
                     "%s: version %u of the shard format, this program knows "
                     "%d",
                     name, disk->version, MOH__SHARD_VERSION);
  if (disk->vocab < 1 || disk->vocab > MOH__TOKENS_MAX)
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: a vocabulary of %u tokens, it must be 1 to %d",
                     name, disk->vocab, MOH__TOKENS_MAX);
  if (disk->width != (uint32_t)moh__shard_width((int32_t)disk->vocab))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: ids of %u bytes for a vocabulary of %u", name,
                     disk->width, disk->vocab);
  if (disk->examples > 1 || disk->zero != 0 ||
      (disk->examples == 0 && (disk->n_examples > 0 || disk->n_open > 0)))
    return refuse(name, "its header contradicts itself", err);
  if (disk->n_unknown > disk->n_tokens || disk->n_open > disk->n_examples)
    return refuse(name, "its header counts more than there is", err);
  return MOH_OK;
}

/* The file's size must be what the header says. *ids: bytes of the ids. */
static moh_status check_size(const disk_head *disk, size_t n,
                             const char *name, size_t *ids, moh_error *err) {
  size_t total, starts = 0;
  bool fits = moh__mul_size(disk->n_tokens, disk->width, ids) &&
              moh__add_size(*ids, MOH__SHARD_HEAD + 7, &total);
  if (fits && disk->examples == 1)
    fits = moh__add_size(disk->n_examples, 1, &starts) &&
           moh__mul_size(starts, sizeof(int64_t), &starts);
  if (fits) total = MOH__SHARD_HEAD + *ids + padding_of(*ids);
  if (fits && moh__add_size(total, starts, &total) && total == n)
    return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: %zu bytes do not fit to %" PRIu64 " tokens and %" PRIu64
                   " examples: it was cut, changed or not fully copied",
                   name, n, disk->n_tokens, disk->n_examples);
}

static moh_status check_starts(const moh__segment *segment,
                               const char *name, moh_error *err) {
  const int64_t *starts = segment->starts;
  int64_t n = segment->n_examples;
  for (int64_t i = 0; i < n; i++) {
    if (starts[i] >= 0 && starts[i] <= starts[i + 1]) continue;
    return moh__fail(err, MOH_ERR_FORMAT,
                     "%s: example %" PRId64 " goes from token %" PRId64
                     " to %" PRId64,
                     name, i, starts[i], starts[i + 1]);
  }
  if (starts[0] == 0 && starts[n] == segment->n) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "%s: its examples go from token %" PRId64 " to %" PRId64
                   ", but it has %" PRId64,
                   name, starts[0], starts[n], segment->n);
}

static moh__shard_head head_of(const disk_head *disk) {
  return (moh__shard_head){.width = (int32_t)disk->width,
                           .n_tokens = (int64_t)disk->n_tokens,
                           .n_examples = (int64_t)disk->n_examples,
                           .vocab = (int32_t)disk->vocab,
                           .examples = disk->examples == 1,
                           .n_open = (int64_t)disk->n_open,
                           .n_unknown = (int64_t)disk->n_unknown};
}

moh_status moh__shard_parse(moh__segment *segment, moh__shard_head *head,
                            const unsigned char *bytes, size_t n,
                            const char *name, moh_error *err) {
  disk_head disk;
  size_t ids;
  *segment = (moh__segment){.width = 0};
  if (n < sizeof(disk)) return refuse(name, "too short for a shard", err);
  memcpy(&disk, bytes, sizeof(disk));
  MOH_TRY(check_head(&disk, name, err));
  MOH_TRY(check_size(&disk, n, name, &ids, err));
  *head = head_of(&disk);
  moh__segment found = {.ids = bytes + MOH__SHARD_HEAD,
                        .width = head->width,
                        .n = head->n_tokens};
  if (head->examples) {
    const unsigned char *starts =
        bytes + MOH__SHARD_HEAD + ids + padding_of(ids);
    found.starts = (const int64_t *)(const void *)starts;
    found.n_examples = head->n_examples;
    MOH_TRY(check_starts(&found, name, err));
  }
  *segment = found;
  return MOH_OK;
}

moh_status moh__shard_open(moh__segment *segment, moh__shard_head *head,
                           const char *path, moh_error *err) {
  moh__map map;
  *segment = (moh__segment){.width = 0};
  MOH_TRY(moh__map_open(&map, path, err));
  char *name = strdup(path);
  moh_status status =
      name == NULL
          ? moh__fail(err, MOH_ERR_MEMORY, "no memory to open '%s'", path)
          : moh__shard_parse(segment, head, map.bytes, map.size, path, err);
  if (status != MOH_OK) {
    moh__map_close(&map);
    free(name);
    return status;
  }
  segment->map = map;
  segment->path = name;
  return MOH_OK;
}
