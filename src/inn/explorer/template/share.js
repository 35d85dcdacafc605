// What a person takes away from playing: a link to the text and what was silenced, a picture, and dares that were met.

const LINK = "play?"; // what the fragment of such an address begins with

/** The address of this page with the text, the silenced neurons and the closed edges in its fragment. */
function linkTo({ text, silenced, closed }) {
  const said = new URLSearchParams({ text, ...(silenced.length ? { without: silenced.join(".") } : {}), ...(closed.length ? { closed: closed.map((e) => e.join("-")).join(".") } : {}) });
  return `${location.href.split("#")[0]}#${LINK}${said}`;
}

/** What the address asks for: {text, silenced, closed}, or null. What is no number of a neuron is left out. */
function linked(neurons) {
  if (!location.hash.startsWith(`#${LINK}`)) return null;
  const said = new URLSearchParams(location.hash.slice(1 + LINK.length)), there = (n) => Number.isInteger(n) && n >= 0 && n < neurons;
  const list = (name) => (said.get(name) ?? "").split(".").filter(Boolean);
  return {
    text: (said.get("text") ?? "").slice(0, 200_000),
    silenced: list("without").map(Number).filter(there),
    closed: list("closed").map((edge) => edge.split("-").map(Number)).filter((edge) => edge.length === 2 && edge.every(there)),
  };
}

/** What a person is dared to do: each is told whether it was done, by a reading and what the whole model needs. */
const DARES = [
  { name: "boring", says: (unit) => `Find a sentence of 40 ${unit}s or more that it finds boring: at most 1 bit per ${unit}.`, met: (passage) => !passage.silenced && !passage.closed && passage.symbols >= 40 && passage.mean_bits <= 1 },
  { name: "shocking", says: (unit) => `Shock it: 40 ${unit}s or more at 8 bits each.`, met: (passage) => !passage.silenced && !passage.closed && passage.symbols >= 40 && passage.mean_bits >= 8 },
  { name: "spelling", says: (unit) => `Silence one neuron and watch it lose its spelling: half a bit per ${unit} more, over 40 ${unit}s.`, met: (passage, whole) => passage.silenced?.length === 1 && !passage.closed && passage.symbols >= 40 && passage.mean_bits - whole >= 0.5 },
  { name: "edge", says: (unit) => `Close one edge and make it better: fewer bits over 200 ${unit}s.`, met: (passage, whole) => !passage.silenced && passage.closed?.length === 1 && passage.symbols >= 200 && passage.mean_bits < whole },
];

/** The dares as a list; `note(passage, whole)` marks those that a reading meets, for good. */
function dares(unit) {
  const met = new Set(), score = el("span.note", { "aria-live": "polite" }, `0 of ${DARES.length} done`);
  const items = DARES.map((dare) => el("li", {}, dare.says(unit)));
  return {
    node: el("details.dares", {}, el("summary", {}, "Dares ", score), el("ul", {}, items)),
    note: (passage, whole) => {
      DARES.forEach((dare, i) => {
        if (met.has(dare.name) || !dare.met(passage, whole)) return;
        met.add(dare.name);
        items[i].classList.add("done");
        items[i].append(` Done: ${format.bits(passage.mean_bits)} bits.`);
      });
      score.textContent = `${met.size} of ${DARES.length} done`;
    },
  };
}

/** A picture of the text, coloured by surprise, with what it cost and what was silenced: 1200 by 630 pixels. */
function pictureOf(look) {
  const { facts } = look.passage, canvas = el("canvas"), [width, tall, left, size] = [1200, 630, 60, 30];
  Object.assign(canvas, { width, height: tall });
  const ctx = canvas.getContext("2d"), { panel, ink, muted, warm } = palette(), lines = [[]], step = 0.6 * size, room = Math.floor((width - 2 * left) / step);
  ctx.fillStyle = panel;
  ctx.fillRect(0, 0, width, tall);
  facts.text.forEach((_, t) => {
    const piece = look.passage.piece(t), last = lines.at(-1);
    if (piece === "\n") return lines.push([]);
    if (last.reduce((a, [p]) => a + breadth(p), 0) + breadth(piece) > room) lines.push([[piece, facts.bits[t]]]);
    else last.push([piece, facts.bits[t]]);
  });
  const shown = lines.slice(-11), font = (px, weight, family) => { ctx.font = `${weight} ${px}px ${family}`; };
  shown.forEach((line, row) => {
    let x = left;
    for (const [piece, bits] of line) {
      const wide = breadth(piece) * step, y = 70 + 1.35 * size * row;
      ctx.globalAlpha = Math.min(1, (bits ?? 0) / FULL);
      ctx.fillStyle = warm;
      ctx.fillRect(x, y - size, wide, 1.3 * size);
      ctx.globalAlpha = 1;
      ctx.fillStyle = ink;
      font(size, 400, "monospace");
      ctx.fillText(piece, x, y);
      x += wide;
    }
  });
  ctx.fillStyle = ink;
  font(40, 700, "sans-serif");
  ctx.fillText(`${format.bits(facts.mean_bits)} bits per ${facts.unit}`, left, tall - 48);
  ctx.fillStyle = muted;
  font(24, 400, "sans-serif");
  const without = [facts.silenced ? `without neuron ${facts.silenced.join(", ")}` : null, facts.closed ? `${counted(facts.closed.length, "edge")} closed` : null].filter(Boolean);
  ctx.textAlign = "right";
  ctx.fillText([look.name, `${facts.neurons} neurons`, ...without].join(" · "), width - left, tall - 48);
  return canvas;
}
