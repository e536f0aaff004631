/* Opening what --data names. */
#include "data_source.h"

#include "base/file.h"
#include "store/data_dir.h"

#define FORMAT(name) .offset = offsetof(moh__format_values, name)
#define SEQUENCES(name) .offset = offsetof(moh__sequence_values, name)

/* In the order of moh__text_format, without its first. */
static const char *const formats[] = {"text", "json", "jsonl", "csv", NULL};
/* In the order of moh__long_rule. */
static const char *const long_rules[] = {"cut", "split", "drop", "refuse",
                                         NULL};

const moh__option moh__format_options[] = {
    {"format", 0, MOH__OPTION_CHOICE, NULL,
     "of the files: plain text, a JSON array, JSON on each line, or CSV",
     "by their endings: .json, .jsonl, .ndjson, .csv, others are text",
     FORMAT(format), .choices = formats},
    {"field", 0, MOH__OPTION_STRING, "NAME",
     "where JSON objects have their text; or a CSV column, by its name or "
     "its number from 1",
     "\"text\"; all columns, joined by commas", FORMAT(field)},
    {"header", 0, MOH__OPTION_FLAG, NULL,
     "the first CSV record names the columns; a --field that is a name says "
     "so, too",
     NULL, FORMAT(header)},
    {.name = NULL},
};

const moh__option moh__sequence_options[] = {
    {"pack", 0, MOH__OPTION_FLAG, NULL,
     "join examples, each ended by </s>, to one stream, and learn windows "
     "of it",
     NULL, SEQUENCES(pack)},
    {"long", 0, MOH__OPTION_CHOICE, NULL,
     "examples longer than the context are cut, split into several, "
     "dropped, or refused",
     "cut", SEQUENCES(long_rule), .choices = long_rules},
    {.name = NULL},
};

moh__text_options moh__format_of(const moh__format_values *values) {
  int format = moh__is_set_choice(values->format) ? values->format + 1 : 0;
  return (moh__text_options){.format = (moh__text_format)format,
                             .field = values->field,
                             .header = values->header};
}

static moh__long_rule rule_of(const moh__sequence_values *sequences) {
  return (moh__long_rule)moh__choice_or(sequences->long_rule,
                                        MOH__LONG_CUT);
}

const char *moh__long_rule_text(const moh__sequence_values *sequences) {
  static const char *const texts[] = {"cut at the context",
                                      "split at the context", "dropped",
                                      "refused"};
  return texts[rule_of(sequences)];
}

moh_status moh__data_source_open(moh__data_source *source, const char *path,
                                 const moh__format_values *format,
                                 const moh__sequence_values *sequences,
                                 moh_error *err) {
  moh__text_options options = moh__format_of(format);
  moh__data_numbers numbers;
  *source = (moh__data_source){.path = path};
  if (moh__is_directory(path)) {
    MOH_TRY(moh__data_load(path, &source->tokens, &source->tokenizer,
                           &numbers, err));
    source->examples = numbers.examples && !sequences->pack;
    return MOH_OK;
  }
  MOH_TRY(moh__texts_load(&source->texts, path, &options, err));
  source->examples = source->texts.examples && !sequences->pack;
  return MOH_OK;
}

void moh__data_source_close(moh__data_source *source) {
  moh__texts_free(&source->texts);
  moh__tokens_free(source->tokens);
  moh__tokenizer_free(source->tokenizer);
}

moh_status moh__data_source_dataset(const moh__data_source *source,
                                    const moh__tokenizer *tokenizer,
                                    int32_t context,
                                    const moh__sequence_values *sequences,
                                    moh__dataset **dataset,
                                    moh_error *err) {
  moh__dataset_options options = {.max_len = (int64_t)context + 1,
                                  .long_rule = rule_of(sequences),
                                  .pack = sequences->pack};
  moh_status status = MOH_OK;
  if (source->tokens == NULL)
    status = moh__dataset_make(dataset, &source->texts, tokenizer, options,
                               err);
  else
    status = moh__data_check_tokenizer(source->tokenizer, tokenizer, err);
  if (status == MOH_OK && source->tokens != NULL)
    status = moh__dataset_of_tokens(dataset, source->tokens, options, err);
  return status == MOH_OK
             ? MOH_OK
             : moh__fail_in(err, status, "%s", source->path);
}
