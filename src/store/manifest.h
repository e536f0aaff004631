/*
 * manifest.json of a directory: the version of the format, and size and
 * SHA-256 of every other file:
 *
 *   {"format_version": 1, ..., "files": {"config.json": {"size": 931,
 *    "sha256": "..."}, ...}, "manifest_sha256": "..."}
 *
 * The last field covers the manifest itself: the SHA-256 of its bytes with
 * zeros in place of those 64 digits. So no byte of a directory can change
 * without notice.
 */
#ifndef MOH_STORE_MANIFEST_H
#define MOH_STORE_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/hash.h"
#include "base/status.h"

enum { MOH__FORMAT_VERSION = 1 };

extern const char moh__manifest_name[]; /* "manifest.json" */

/* Writes the manifest over the named files (NULL-terminated), with extra
 * fields (borrowed, may be NULL). */
moh_status moh__manifest_write(const char *dir, const char *const *files,
                               const json_t *extra, moh_error *err);

/* Checks a directory's manifest and the files that it lists: their sizes,
 * and their hashes when wanted. manifest: a new reference, or NULL. */
moh_status moh__manifest_check(const char *dir, bool hashes,
                               json_t **manifest, moh_error *err);

/*
 * The steps of it. A manifest that was parsed has a known version and its
 * own hash right, and an object "files" whose names are plain ones, each
 * with "size" and "sha256" of the right form.
 */
moh_status moh__manifest_load(const char *dir, json_t **manifest,
                              moh_error *err);
moh_status moh__manifest_parse(json_t **manifest, const char *text,
                               size_t n, const char *name, moh_error *err);
moh_status moh__manifest_check_file(const char *path, const json_t *entry,
                                    bool hashes, const moh__watch *watch,
                                    moh_error *err);

/* Writes the hash of a manifest's text into it. */
moh_status moh__manifest_seal(char *text, size_t n, moh_error *err);

#endif
