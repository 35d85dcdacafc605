// A picture with its name, its numbers as a table, and a menu to save it.

const figures = new Set(); // those on the page now, to be drawn again when colours change

/**
 * A figure. `height`: CSS pixels, or a function of the width. `draw(ctx, width, height)`: on a canvas or an SvgContext.
 * `rows()`: its numbers, the first row the names of the columns. `label()`: what it shows, in words, for screen readers.
 * `controls`: elements beside the title. `click(x, y)`, `hover(x, y)`: pointer events in CSS pixels.
 */
function figure({ title, note, height, draw, rows, label, controls = [], click, hover }) {
  const canvas = el("canvas", { role: "img" });
  const body = el("div.canvas", {}, canvas);
  const numbers = el("div.numbers", { hidden: true, tabindex: 0, role: "region", "aria-label": `${title}: numbers` });
  const node = el("figure", {}, el("figcaption", {}, el("h3", {}, title), ...controls, menu()), note ? el("p.note", {}, note) : null, body, numbers);

  function size() {
    const width = Math.max(160, Math.floor(body.clientWidth));
    return [width, Math.ceil(typeof height === "function" ? height(width) : height)];
  }

  function redraw() {
    if (!node.isConnected) return;
    const [width, tall] = size(), scale = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(tall * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(tall * scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${tall}px`;
    }
    const ctx = canvas.getContext("2d");
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, tall);
    draw(ctx, width, tall);
    node.drawn = (node.drawn ?? 0) + 1;
    if (label && !app.playing) canvas.setAttribute("aria-label", `${title}. ${label()}`);
    if (!numbers.hidden) numbers.replaceChildren(table(rows()));
  }

  function menu() {
    const name = title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
    const item = (text, act) => el("button", { type: "button", onclick: () => { box.open = false; box.firstChild.focus(); act(); } }, text);
    const items = [item("Save as PNG", () => saveCanvas(name)), item("Save as SVG", () => saveSvg(name))];
    if (rows) {
      items.push(item("Save as CSV", () => saveCsv(name, rows())));
      items.push(item("Show the numbers", () => { numbers.hidden = !numbers.hidden; redraw(); }));
    }
    const box = el("details.menu", { onkeydown: (e) => { if (e.key === "Escape" && box.open) { box.open = false; box.firstChild.focus(); e.stopPropagation(); } } },
      el("summary", { "aria-label": `${title}: save, show the numbers`, title: "Save, show the numbers" }, "⋯"), el("div.items", {}, ...items));
    box.addEventListener("focusout", (e) => { if (!box.contains(e.relatedTarget)) box.open = false; });
    return box;
  }

  function saveCanvas(name) {
    const [width, tall] = size(), copy = document.createElement("canvas");
    copy.width = 2 * width;
    copy.height = 2 * tall;
    const ctx = copy.getContext("2d");
    ctx.scale(2, 2);
    ctx.fillStyle = palette().panel;
    ctx.fillRect(0, 0, width, tall);
    draw(ctx, width, tall);
    copy.toBlob((blob) => save(`${name}.png`, blob));
  }

  function saveSvg(name) {
    const [width, tall] = size(), ctx = new SvgContext(width, tall);
    ctx.fillStyle = palette().panel;
    ctx.fillRect(0, 0, width, tall);
    draw(ctx, width, tall);
    save(`${name}.svg`, new Blob([ctx.text()], { type: "image/svg+xml" }));
  }

  const inside = (act) => (e) => {
    const box = canvas.getBoundingClientRect();
    act(e.clientX - box.left, e.clientY - box.top, canvas);
  };
  if (click) canvas.addEventListener("click", inside(click));
  if (hover) {
    canvas.addEventListener("pointermove", inside(hover));
    canvas.addEventListener("pointerleave", () => hover(-1, -1, canvas));
  }
  new ResizeObserver(redraw).observe(body);
  node.redraw = redraw;
  figures.add(node);
  return node;
}

function save(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** A cell of a CSV file; what a spreadsheet would run as a formula is kept from it by a quote mark. */
function csvCell(value) {
  const text = String(value ?? "");
  const tame = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(tame) ? `"${tame.replaceAll('"', '""')}"` : tame;
}

function saveCsv(name, rows) {
  save(`${name}.csv`, new Blob([rows.map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n"], { type: "text/csv" }));
}

const LONGEST = 400;

/** Rows as a table; a long one is cut here, the CSV file has all of it. */
function table([head, ...rows]) {
  const shown = rows.slice(0, LONGEST).map((row) => el("tr", {}, row.map((cell, j) => el(j ? "td" : "th", j ? {} : { scope: "row" }, cellText(cell)))));
  const more = rows.length > LONGEST ? el("p.muted", {}, `${format.whole(rows.length - LONGEST)} more rows are in the CSV file.`) : null;
  return el("div", {}, el("table", {}, el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, shown)), more);
}

const cellText = (cell) => (typeof cell === "number" ? format.number(cell) : cell instanceof Node ? cell : String(cell ?? "–"));

/**
 * A table that is a part of the page: title, sortable columns, a CSV file. `cells[i][j]`: value or {value, shown};
 * `meanings`: [[column, what it means], ...].
 */
function dataTable(title, head, cells, note, meanings = []) {
  const name = title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const value = (cell) => (cell && typeof cell === "object" && !(cell instanceof Node) ? cell.value : cell);
  const shown = (cell) => (cell && typeof cell === "object" && !(cell instanceof Node) ? cell.shown : cellText(cell));
  const body = el("tbody");
  let sorted = -1, down = true;
  const fill = () => {
    const rows = sorted < 0 ? cells : [...cells].sort((a, b) => {
      const [x, y] = [value(a[sorted]), value(b[sorted])];
      const order = !known(x) ? 1 : !known(y) ? -1 : typeof x === "number" ? y - x : String(x).localeCompare(String(y));
      return down || !known(x) || !known(y) ? order : -order;
    });
    body.replaceChildren(...rows.map((row) => el("tr", {}, row.map((cell, j) => el(j ? "td" : "th", { ...(j ? {} : { scope: "row" }), class: j && typeof value(cell) === "number" && !/[a-z]/i.test(shown(cell)) ? "number" : null }, shown(cell))))));
  };
  const heads = head.map((text, j) => {
    const cell = el("th", { scope: "col", class: j && cells.some((row) => typeof value(row[j]) === "number" && !/[a-z]/i.test(shown(row[j]))) ? "number" : null });
    cell.append(el("button", { type: "button", onclick: () => {
      down = sorted === j ? !down : true;
      sorted = j;
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      fill();
    } }, text));
    return cell;
  });
  fill();
  const plain = () => [head, ...cells.map((row) => row.map((cell) => value(cell)))];
  return el("section.block", {}, el("div.caption", {}, el("h3", {}, title), el("button.plain.small", { type: "button", onclick: () => saveCsv(name, plain()) }, "CSV")),
    note ? el("p.note", {}, note) : null,
    scrolling(el("div.scroll", { tabindex: 0, role: "region", "aria-label": title }, el("table.data", {}, el("thead", {}, el("tr", {}, heads)), body))),
    meanings.length ? el("dl.meanings", {}, meanings.map(([name, meaning]) => el("div", {}, el("dt", {}, name), el("dd", {}, meaning)))) : null);
}

/** A box that may be wider than there is room for, and a line under it that says so where it is. */
function scrolling(box) {
  const hint = el("p.hint.note", { hidden: true, "aria-hidden": "true" }, "← more columns: scroll sideways →");
  const look = () => {
    hint.hidden = box.scrollWidth <= box.clientWidth + 1;
    box.classList.toggle("ended", box.scrollLeft + box.clientWidth >= box.scrollWidth - 1);
  };
  box.addEventListener("scroll", look);
  new ResizeObserver(look).observe(box);
  return [box, hint];
}
