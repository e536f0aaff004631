/* Files and directories of other programs: see foreign.h. */
#include "store/foreign.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "format/gguf.h"
#include "model/config_family.h"
#include "store/model_dir.h"
#include "store/model_parts.h"

moh_status moh__refuse_file(const char *path, moh_error *err) {
  if (access(path, F_OK) != 0 || moh__is_directory(path)) return MOH_OK;
  if (moh__gguf_is(path))
    return moh__fail(err, MOH_ERR_FORMAT,
                     "'%s' is a GGUF file: moh import %s --out DIR makes a "
                     "model of it",
                     path, path);
  return moh__fail(err, MOH_ERR_FORMAT,
                   "'%s' is a file, not a model directory; moh import makes "
                   "one of a GGUF file or a checkpoint of llama2.c",
                   path);
}

/* Import would have nothing to do. */
static bool is_of_moh(const char *dir) {
  moh__config config;
  moh_error why;
  char *path = moh__path_join(dir, "config.json");
  bool is = path != NULL &&
            moh__model_load_config(&config, path, &why) == MOH_OK &&
            moh__config_family(&config) == MOH__FAMILY_NONE;
  free(path);
  return is;
}

/* A directory of our own without a manifest may be of LLaMA's type as well:
 * one whose saving was cut short has the staging directory still. */
static bool is_foreign(const char *dir) {
  return moh__holds(dir, "config.json") &&
         !moh__holds(dir, moh__manifest_name) &&
         !moh__holds(dir, moh__model_staging) && !is_of_moh(dir);
}

moh_status moh__refuse_foreign(const char *path, moh_error *err) {
  MOH_TRY(moh__refuse_file(path, err));
  if (!is_foreign(path)) return MOH_OK;
  return moh__fail(err, MOH_ERR_FORMAT,
                   "'%s' has a config.json but no %s, as directories of "
                   "other programs do: moh import %s --out DIR makes a model "
                   "of it",
                   path, moh__manifest_name, path);
}
