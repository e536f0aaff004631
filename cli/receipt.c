/* Notes of how a model was made. */
#include "receipt.h"

#include "base/dir.h"
#include "base/file.h"
#include "base/hash.h"

moh_status moh__receipt_check_out(const char *out, moh_error *err) {
  moh__names names;
  MOH_TRY(moh__list_dir(&names, out, err));
  bool empty = names.n == 0;
  moh__names_free(&names);
  if (empty) return MOH_OK;
  return moh__fail(err, MOH_ERR_ARGUMENT,
                   "%s is not empty; name another --out", out);
}

moh_status moh__receipt_files(json_t *files, const moh__list *data,
                              moh_error *err) {
  for (int i = 0; i < data->n; i++) {
    moh__map map;
    char hex[MOH__SHA256_HEX];
    MOH_TRY(moh__map_open(&map, data->items[i], err));
    moh_status status = moh__sha256(map.bytes, map.size, hex, err);
    json_t *file = json_pack("{s:s, s:I, s:s}", "file", data->items[i],
                             "size", (json_int_t)map.size, "sha256", hex);
    moh__map_close(&map);
    if (json_array_append_new(files, file) != 0 && status == MOH_OK)
      status = moh__fail(err, MOH_ERR_FORMAT,
                         "a name of a file is not UTF-8, so no receipt can "
                         "be written");
    MOH_TRY(status);
  }
  return MOH_OK;
}
