/* Score a text, or write one: symbols come from the standard input.
 *
 *   model score [-e STATE] < text            bits per symbol
 *   model generate [-n COUNT] [-t TEMPERATURE] [-s SEED] [-e STATE] < prompt
 *
 * -w WEIGHTS is model.bin if not given, or what is in model.h; -e begins with a saved state. Where symbols are only numbers, so is the input.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"

static int fail(const char *what, const char *name) {
  fprintf(stderr, "%s: %s\n", name, what);
  return 1;
}

/* The next symbol of the input, -1 at its end, -2 for what is no symbol. */
static int next_symbol(void) {
  static int of_byte[256], ready; /* symbols of one byte, for speed */
  size_t bytes;
  if (!model_text(0, &bytes)) {
    int symbol;
    const int found = scanf("%d", &symbol);
    return found == EOF ? -1 : found == 1 && symbol >= 0 && symbol < MODEL_SYMBOLS ? symbol : -2;
  }
  if (!ready) {
    for (int i = 0; i < 256; i++) of_byte[i] = -2;
    for (int i = MODEL_SYMBOLS - 1; i >= 0; i--) {
      const char *text = model_text(i, &bytes);
      if (bytes == 1) of_byte[(unsigned char)text[0]] = i;
    }
    ready = 1;
  }
  const int first = getchar();
  if (first == EOF) return -1;
  if (first < 0xC0 || of_byte[first] >= 0) return of_byte[first];
  char given[4] = {(char)first, 0, 0, 0};
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  for (size_t i = 1; i < length; i++) {
    const int byte = getchar();
    if (byte == EOF) return -2;
    given[i] = (char)byte;
  }
  for (int i = 0; i < MODEL_SYMBOLS; i++) {
    const char *text = model_text(i, &bytes);
    if (bytes == length && !memcmp(text, given, length)) return i;
  }
  return -2;
}

static void put_symbol(int symbol) {
  size_t bytes;
  const char *text = model_text(symbol, &bytes);
  if (text)
    fwrite(text, 1, bytes, stdout);
  else
    printf("%d ", symbol);
}

/* log(sum(exp(logits / temperature))) */
static double total(const float *logits, double temperature) {
  double most = -HUGE_VAL, sum = 0;
  for (int i = 0; i < MODEL_SYMBOLS; i++) most = logits[i] > most ? logits[i] : most;
  for (int i = 0; i < MODEL_SYMBOLS; i++) sum += exp((logits[i] - most) / temperature);
  return log(sum) + most / temperature;
}

static int draw(const float *logits, double temperature, unsigned long long *seed) {
  *seed ^= *seed << 13, *seed ^= *seed >> 7, *seed ^= *seed << 17; /* xorshift64 */
  double left = (double)(*seed >> 11) / 9007199254740992.0;
  const double all = total(logits, temperature);
  for (int i = 0; i < MODEL_SYMBOLS; i++) {
    left -= exp(logits[i] / temperature - all);
    if (left < 0) return i;
  }
  return MODEL_SYMBOLS - 1;
}

static int restore(const model *m, model_state *s, const char *path) {
  FILE *file = fopen(path, "rb");
  unsigned char *bytes = NULL;
  size_t size = 0, room = 0;
  while (file && !feof(file) && !ferror(file)) {
    if (size == room) {
      unsigned char *more = realloc(bytes, room = room ? 2 * room : 1 << 16);
      if (!more) break;
      bytes = more;
    }
    size += fread(bytes + size, 1, room - size, file);
  }
  const int found = file && feof(file) ? model_restore(m, s, bytes, size) : -1;
  if (file) fclose(file);
  free(bytes);
  return found;
}

int main(int argc, char **argv) {
#ifdef MODEL_EMBEDDED
  const char *weights = NULL, *state = NULL;
#else
  const char *weights = "model.bin", *state = NULL;
#endif
  long count = 200;
  double temperature = 1.0;
  unsigned long long seed = (unsigned long long)time(NULL);
  const int scores = argc > 1 && !strcmp(argv[1], "score");
  if (argc < 2 || argc % 2 || !(scores || !strcmp(argv[1], "generate")))
    return fail("model score|generate [-w WEIGHTS] [-e STATE] [-n COUNT] [-t TEMPERATURE] [-s SEED]", "usage");
  for (int i = 2; i < argc; i += 2) {
    const char *value = argv[i + 1];
    if (!strcmp(argv[i], "-w")) weights = value;
    else if (!strcmp(argv[i], "-e")) state = value;
    else if (!strcmp(argv[i], "-n")) count = strtol(value, NULL, 10);
    else if (!strcmp(argv[i], "-t")) temperature = strtod(value, NULL);
    else if (!strcmp(argv[i], "-s")) seed = strtoull(value, NULL, 10);
    else return fail("no such option", argv[i]);
  }
  if (!(temperature > 0)) return fail("a temperature is above 0", "-t");
  seed = seed * 2862933555777941757u + 3037000493u;
  seed = seed ? seed : 1;

  model *m = model_open(weights);
  if (!m) return fail("cannot be read, is damaged, or is of another model", weights ? weights : "model");
  model_state *s = model_start(m);
  int failed = s ? 0 : fail("there is not enough memory", "model");
  if (s && state && restore(m, s, state)) failed = fail("cannot be read, is damaged, or is of another model", state);

  float logits[MODEL_SYMBOLS];
  double bits = 0;
  long read = 0, left_out = 0;
  for (int symbol; !failed && (symbol = next_symbol()) != -1;) {
    if (symbol < 0) {
      left_out++;
      continue;
    }
    if (read) bits += (total(logits, 1.0) - logits[symbol]) / log(2.0);
    model_step(m, s, symbol, logits);
    read++;
  }
  if (!failed && left_out) fprintf(stderr, "%ld symbols of the input are none of the model's and were left out\n", left_out);
  if (!failed && scores) {
    if (read > 1) printf("%.6f bits per symbol over %ld symbols\n", bits / (double)(read - 1), read - 1);
    fprintf(stderr, "%zu bytes of weights, %zu of state\n", model_weight_bytes(), model_state_bytes());
  } else if (!failed) {
    int symbol = 0;
    if (!read) model_step(m, s, symbol, logits);
    model_remember(s, 0);
    for (long i = 0; i < count; i++) {
      symbol = draw(logits, temperature, &seed);
      put_symbol(symbol);
      fflush(stdout);
      model_step(m, s, symbol, logits);
    }
    putchar('\n');
  }
  model_stop(s);
  model_close(m);
  return failed;
}
