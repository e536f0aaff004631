/*
 * Loads a model and goes on with a prompt, writing text as it comes.
 *
 *     load_and_generate DIRECTORY PROMPT [TEMPERATURE [SEED]]
 *
 * Then does the same by hand, token by token, to show what is inside: feed,
 * logits, choose, feed.
 */
#include <moh.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(moh_status status, const moh_error *err) {
  if (status == MOH_OK) return;
  fprintf(stderr, "load_and_generate: %s\n", err->message);
  exit(1);
}

/* Whole characters, as soon as they are certain. false would stop. */
static bool show(void *context, const char *text, size_t n_bytes) {
  fwrite(text, 1, n_bytes, context);
  fflush(context);
  return true;
}

static void describe(const moh_model *model) {
  moh_error err;
  moh_model_info info;
  moh_macs macs;
  check(moh_model_describe(model, &info, sizeof(info), &err), &err);
  check(moh_model_macs(model, info.max_length, &macs, &err), &err);
  printf("%lld parameters in %lld layers; heads: %s\n",
         (long long)info.n_parameters, (long long)info.n_layers, info.heads);
  printf("token %lld of a text costs %lld multiply-adds; with all heads %lld\n",
         (long long)info.max_length, (long long)macs.active,
         (long long)macs.dense);
}

/* The loop itself. The session still knows the prompt: it is rewound. */
static void by_hand(moh_session *session, const moh_model *model,
                    moh_text prompt, const moh_sampling_options *rules) {
  moh_error err;
  const moh_tokenizer *tokenizer = moh_model_tokenizer(model);
  int32_t *tokens;
  size_t n;
  check(moh_encode(tokenizer, prompt, false, &tokens, &n, &err), &err);
  int32_t held;
  check(moh_session_rewind(session, tokens, (int32_t)n, &held, &err), &err);
  const float *logits;
  check(moh_session_feed(session, tokens + held, (int32_t)n - held, &logits,
                         &err),
        &err);
  moh_sampler *sampler;
  check(moh_sampler_new(&sampler, moh_tokenizer_size(tokenizer), rules, &err),
        &err);
  while (moh_session_length(session) < moh_session_max_length(session)) {
    int32_t token;
    check(moh_sampler_choose(sampler, logits, moh_session_tokens(session),
                             (size_t)moh_session_length(session), &token,
                             &err),
          &err);
    if (token == moh_tokenizer_end(tokenizer)) break;
    check(moh_session_feed(session, &token, 1, &logits, &err), &err);
  }
  char *text;
  check(moh_decode(tokenizer, moh_session_tokens(session),
                   (size_t)moh_session_length(session), false, &text, NULL,
                   &err),
        &err);
  printf("by hand (of %zu tokens %d were there):\n%s\n", n, held, text);
  moh_free(text);
  moh_sampler_free(sampler);
  moh_free(tokens);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: load_and_generate DIRECTORY PROMPT "
                    "[TEMPERATURE [SEED]]\n");
    return 2;
  }
  moh_error err;
  moh_text prompt = {argv[2], strlen(argv[2])};
  moh_model *model;
  moh_session *session;
  check(moh_model_load(&model, argv[1], NULL, &err), &err);
  describe(model);
  check(moh_session_new(&session, model, NULL, &err), &err);

  moh_sampling_options rules;
  moh_sampling_options_default(&rules, sizeof(rules));
  if (argc > 3) rules.temperature = strtod(argv[3], NULL);
  if (argc > 4) rules.seed = strtoull(argv[4], NULL, 10);
  moh_generate_options options;
  moh_generate_options_default(&options, sizeof(options));
  options.sampling = &rules;
  options.echo = true;
  options.on_text = show;
  options.context = stdout;
  moh_generate_result result;
  check(moh_generate(session, prompt, &options, NULL, &result,
                     sizeof(result), &err),
        &err);
  printf("\n(%lld tokens, finished by: %s)\n", (long long)result.n_generated,
         moh_finish_name(result.finish));
  by_hand(session, model, prompt, &rules);

  moh_session_free(session);
  moh_model_free(model);
  return 0;
}
