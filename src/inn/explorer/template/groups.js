// Large graphs: groups of neurons first, then the neurons of one group.

/**
 * A passage of which rows are shown, each one or more neurons: what a row does is the mean of its neurons, and what it
 * hears of another row the share of all that it hears (of itself too, but where only what goes `across` is asked). Whatever draws a passage draws a level of it.
 */
class Level extends Passage {
  static of(passage, rows, names, across = false) {
    const owner = new Int32Array(passage.neurons).fill(-1);
    rows.forEach((row, i) => row.forEach((n) => { owner[n] = i; }));
    const hushed = new Set(rows.flatMap((row, i) => (row.every((n) => passage.silenced.has(n)) ? [i] : [])));
    const facts = { ...passage.facts, routing: passage.facts.routing && { ...passage.facts.routing, kept: undefined } };
    const level = Object.assign(new Level(), passage, { whole: passage, rows, names, owner, across, facts, neurons: rows.length, silenced: hushed, sources: null, left: 46 });
    if (passage.routes) Object.assign(level, level.spread());
    return level;
  }

  name(i) {
    return this.names[i];
  }

  meanOf(i, value) {
    let sum = 0;
    for (const n of this.rows[i]) sum += value(n);
    return sum / this.rows[i].length;
  }

  activity(t, r, i) {
    return this.meanOf(i, (n) => this.whole.activity(t, r, n));
  }

  gate(t, r, i) {
    return this.gates && this.meanOf(i, (n) => this.whole.gate(t, r, n));
  }

  matrix(t, r) {
    const M = this.neurons, { whole, owner } = this, { kept } = whole.facts.routing, found = new Float32Array(M * M);
    const at = (t * this.rounds + r) * whole.neurons * kept, step = whole.largest(r) / whole.steps;
    for (let to = 0; to < M; to++) for (const n of this.rows[to]) for (let k = 0; k < kept; k++) {
      const i = at + n * kept + k, from = owner[whole.sources[i]];
      if (from >= 0 && !(this.across && from === to)) found[to * M + from] += (whole.weights[i] * step) / this.rows[to].length;
    }
    return found;
  }
}

/** What of a run is shown: all of a small graph; of a large one its groups, or the neurons of the group that was chosen. */
function levelOf(look) {
  const { passage } = look;
  if (passage.neurons <= LARGE) return passage;
  const groups = groupsOf(passage), chosen = look.group ?? null;
  if (look.level?.whole === passage && look.level.group === chosen) return look.level;
  const rows = chosen === null ? groups : groups[chosen].map((n) => [n]);
  const names = chosen === null ? groups.map((_, g) => `G${g}`) : groups[chosen].map(String);
  look.level = Object.assign(Level.of(passage, rows, names, chosen === null), { group: chosen });
  return look.level;
}

/** Groups of neurons that hear one another; runs of 32 where it is not known who does. */
function groupsOf(passage) {
  passage.groups ??= passage.facts.groups ?? Array.from({ length: Math.ceil(passage.neurons / 32) }, (_, g) =>
    Array.from({ length: Math.min(32, passage.neurons - 32 * g) }, (_, i) => 32 * g + i));
  return passage.groups;
}

const groupOf = (passage, n) => groupsOf(passage).findIndex((group) => group.includes(n));

/** Show the neurons of a group, or all groups for null. */
function enter(look, group) {
  look.group = group;
  show();
}

/** Which group is shown: a choice for the keyboard as well. */
function groupChoice(look) {
  if (look.passage.neurons <= LARGE) return [];
  const groups = groupsOf(look.passage), name = (group, g) => `G${g} (${counted(group.length, "neuron")})`;
  const select = el("select", { onchange: () => enter(look, select.value === "" ? null : Number(select.value)) },
    el("option", { value: "", selected: (look.group ?? null) === null }, `all ${counted(groups.length, "group")}`),
    groups.map((group, g) => el("option", { value: g, selected: look.group === g }, name(group, g))));
  return [el("label.choice", {}, "show ", select)];
}

/** Of a large graph, shares between groups averaged over a passage, [R][G][G]. */
function groupShares(passage) {
  const groups = groupsOf(passage), level = Level.of(passage, groups, []), each = Math.max(1, Math.floor(passage.symbols / 100));
  const places = Array.from({ length: Math.ceil(passage.symbols / each) }, (_, i) => i * each);
  return Array.from({ length: passage.rounds }, (_, r) => {
    const sum = new Float64Array(groups.length ** 2);
    for (const t of places) level.matrix(t, r).forEach((share, i) => { sum[i] += share / places.length; });
    return groups.map((_, g) => [...sum.subarray(g * groups.length, (g + 1) * groups.length)]);
  });
}
