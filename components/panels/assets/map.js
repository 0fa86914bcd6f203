// The map: draws the corpus with plotly.js, and reports what was clicked, selected or asked for. Follows map_model.js
// in one script. Text that comes from papers enters the page through textContent only.

const maps = new WeakMap(); // root element → AtlasMap
const MAX_TITLES = 2000; // kept for tooltips
const MAX_ANSWERS = 20; // masks and topic codes kept; at most one byte per paper each
const SETTLE_MS = 700; // after the last movement, before the window is put into the link

class AtlasMap {
  constructor(root) {
    this.root = root;
    this.plot = root.querySelector(".plot");
    this.labels = root.querySelector(".labels");
    this.tip = root.querySelector(".tip");
    this.note = root.querySelector(".note");
    this.legend = root.querySelector(".legend");
    this.titles = new Map(); // row → tooltip
    this.masks = new Map();
    this.topicCodes = new Map();
    this.drag = "pan";
    this.type = hasWebGL() ? "scattergl" : "scatter";
    this.highlighted = null;
    // detail: a row of this map, or build → row of a paper, or null.
    this.onHighlight = ({ detail }) => {
      this.highlighted = detail !== null && typeof detail === "object" ? detail[this.data?.build] ?? null : detail;
      this.drawQuery();
    };
    window.addEventListener("cocite:highlight", this.onHighlight);
    this.drawings = new Set(); // promises of plotly
    this.resizer = new ResizeObserver(() => this.drawn && this.track(window.Plotly.Plots.resize(this.plot)));
    this.resizer.observe(this.plot);
    this.wire();
  }

  destroy() {
    window.removeEventListener("cocite:highlight", this.onHighlight);
    this.resizer.disconnect();
    clearTimeout(this.settling);
    this.updates = this.animation = Infinity; // pending updates and animations must not draw any more
    // Plotly draws in steps, and fails if its plot is removed between two of them.
    if (window.Plotly && this.drawn) Promise.allSettled(this.drawings).then(() => window.Plotly.purge(this.plot));
  }

  track(drawing) {
    this.drawings.add(drawing);
    drawing.finally(() => this.drawings.delete(drawing));
    return drawing;
  }

  wire() {
    for (const button of this.root.querySelectorAll("[data-colour]")) {
      button.onclick = () => { this.setColour(button.dataset.colour); this.send("colour", button.dataset.colour); };
    }
    for (const button of this.root.querySelectorAll("[data-drag]")) {
      button.onclick = () => this.setDrag(this.drag === button.dataset.drag ? "pan" : button.dataset.drag);
    }
    this.root.querySelector("[data-do=hits]").onclick = () => {
      this.goTo(hitsWindow(this.points, this.data.hits, this.data.query));
    };
    this.root.querySelector("[data-do=all]").onclick = () => this.goTo(this.whole);
    this.root.querySelector("[data-do=clear]").onclick = () => this.send("area", { corners: [] });
    this.plot.addEventListener("keydown", (event) => this.onKey(event));
    this.plot.addEventListener("mouseleave", () => this.hideTip());
  }

  // Updates from Python

  async update(component) {
    const { data } = component;
    this.setTriggerValue = component.setTriggerValue;
    this.events = data.events;
    const number = (this.updates = (this.updates || 0) + 1);
    if (this.drawnUrl !== data.url) this.showNote("Loading the map…");
    try {
      const [points] = await Promise.all([this.loadPoints(data), this.loadMask(data), this.loadTopics(data)]);
      if (number !== this.updates) return; // a newer update will draw
      if (points !== this.points) { this.points = points; this.whole = wholeWindow(points); }
    } catch (error) {
      if (number === this.updates) this.showNote(`The map could not be loaded. ${error.message} Reload the page to try again.`);
      return;
    }
    const before = this.data;
    this.data = data;
    this.colour = data.colour;
    this.palette = data.palettes[themeOf(this.root)];
    this.root.style.setProperty("--ink", this.palette.ink);
    this.root.style.setProperty("--halo", this.palette.halo);
    this.root.classList.toggle("compact", data.compact);
    this.plot.setAttribute("aria-label", data.description);
    this.showNote("");
    this.draw(this.drawnUrl !== data.url, before);
    this.drawnUrl = data.url;
  }

  // One request per atlas, however many updates wait for it; the next update retries after a failure.
  loadPoints(data) {
    if (this.loading?.url !== data.url) {
      const points = Promise.all([loadPlotly(data.plotly), fetchBytes(`${data.url}/points`)])
        .then(([, buffer]) => readPoints(buffer, data.count, data.scale));
      const loading = (this.loading = { url: data.url, points });
      this.masks.clear(); this.topicCodes.clear(); this.titles.clear();
      points.catch(() => { if (this.loading === loading) this.loading = null; });
    }
    return this.loading.points;
  }

  loadMask(data) { return data.mask ? this.load(this.masks, data.mask, `${data.url}/mask?${data.mask}`) : null; }

  loadTopics(data, colour = data.colour) {
    return colour === "topic" && data.topicQuery
      ? this.load(this.topicCodes, data.topicQuery, `${data.url}/topics?${data.topicQuery}`) : null;
  }

  async load(cache, key, url) {
    if (cache.has(key)) return;
    const bytes = new Uint8Array(await fetchBytes(url));
    if (cache.size > MAX_ANSWERS) cache.clear();
    cache.set(key, bytes);
  }

  send(name, value) { if (this.events?.includes(name)) this.setTriggerValue?.(name, value); }

  showNote(text) { this.note.textContent = text; this.note.hidden = !text; }

  // Drawing

  draw(fresh, before) {
    const { camera } = this.data, target = camera || this.whole;
    this.track(window.Plotly.react(this.plot, this.traces(), this.layout(fresh ? target : this.shownWindow()), {
      displayModeBar: false, scrollZoom: true, responsive: false, doubleClick: false, showTips: false,
    }));
    if (!this.drawn) this.listen();
    this.drawn = true;
    // The window was changed by a link or by going back, not by this map.
    const changed = !fresh && JSON.stringify(camera) !== JSON.stringify(before.camera);
    if (changed && !sameWindow(this.shownWindow(), target)) this.goTo(target);
    this.sentWindow = camera || [];
    this.drawLegend();
    this.drawLabels();
    this.drawButtons();
  }

  traces() {
    const { points, palette, data } = this, { x, y } = points;
    const topicCodes = this.topicCodes.get(data.topicQuery);
    const { codes, colours } = colouring(this.colour, { points, palette, years: data.years, topics: data.topics, topicCodes });
    const { faded, shown } = splitRows(data.count, data.mask ? this.masks.get(data.mask) : null, codes);
    const trace = (rows, marker) => ({
      type: this.type, mode: "markers", hoverinfo: "none", showlegend: false, customdata: rows,
      x: Float32Array.from(rows, (row) => x[row]), y: Float32Array.from(rows, (row) => y[row]),
      marker: { size: this.pointSize(), ...marker },
    });
    return [
      trace(faded, { color: palette.faded }),
      trace(shown, {
        opacity: 0.72, colorscale: colourScale(colours), cmin: 0, cmax: colours.length, showscale: false,
        color: Float32Array.from(shown, (row) => scalePlace(codes[row], colours)),
      }),
      ...this.queryTraces(),
    ];
  }

  queryTraces() {
    const { query, hits, opened } = this.data, { x, y } = this.points;
    const { accent, halo, ink } = this.palette;
    const ring = Math.max(11, this.pointSize() + 5), isChosen = (row) => row === this.highlighted || row === opened;
    const common = { type: "scatter", hoverinfo: "none", showlegend: false };
    const circles = (rows, marker) => ({
      ...common, mode: "markers", customdata: rows, x: rows.map((row) => x[row]), y: rows.map((row) => y[row]), marker,
    });
    const traces = [];
    if (query) {
      // hoverinfo "skip", or the line's end would be pointed at instead of the paper there.
      traces.push({
        ...common, mode: "lines", hoverinfo: "skip", line: { color: accent, width: 1 }, opacity: 0.45,
        x: hits.flatMap((row) => [query[0], x[row], null]), y: hits.flatMap((row) => [query[1], y[row], null]),
      });
    }
    if (hits.length) {
      traces.push(circles(hits, {
        size: hits.map((row) => (isChosen(row) ? ring + 6 : ring)), color: halo,
        line: { color: accent, width: hits.map((row) => (isChosen(row) ? 4 : 2.2)) },
      }));
    }
    const others = [opened, this.highlighted].filter((row) => row !== null && row !== undefined && !hits.includes(row));
    if (others.length) traces.push(circles(others, { size: 13, color: "rgba(0,0,0,0)", line: { color: ink, width: 2.2 } }));
    if (query) {
      traces.push({
        ...common, mode: "markers", hoverinfo: "skip", x: [query[0]], y: [query[1]],
        marker: { symbol: "star", size: 20, color: accent, line: { color: halo, width: 1.6 } },
      });
    }
    return traces;
  }

  drawQuery() {
    if (!this.drawn) return;
    const traces = [...this.plot.data.slice(0, 2), ...this.queryTraces()];
    this.track(window.Plotly.react(this.plot, traces, this.layout(this.shownWindow())));
  }

  layout([x0, x1, y0, y1]) {
    const axis = { visible: false, showgrid: false, zeroline: false, fixedrange: false };
    const { area } = this.data, dotted = { color: this.palette.ink, width: 1.5, dash: "dot" };
    const shapes = area.length < 3 ? [] : [{
      type: "path", path: `M${area.map(([x, y]) => `${x},${y}`).join("L")}Z`, layer: "above",
      line: dotted, fillcolor: this.palette.accent, opacity: 0.18,
    }];
    this.layouts = (this.layouts || 0) + 1;
    return {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { ...axis, range: [x0, x1] }, yaxis: { ...axis, range: [y0, y1], scaleanchor: "x" },
      dragmode: this.drag, hovermode: "closest", hoverdistance: 12, shapes, showlegend: false, uirevision: 1,
      selectionrevision: this.layouts, // drops plotly's own outline; ours is the shape
      newselection: { line: dotted },
    };
  }

  toPixels(x, y) {
    const { xaxis, yaxis } = this.plot._fullLayout;
    return [xaxis.l2p(x), yaxis.l2p(y)];
  }

  drawLabels() {
    const { regions, query } = this.data;
    const placed = this.colour === "region" || query ? placeLabels(regions, {
      toPixels: (x, y) => this.toPixels(x, y), width: this.plot.clientWidth, height: this.plot.clientHeight, query,
    }) : [];
    this.labels.replaceChildren(...placed.map(({ name, x, y }) => {
      const span = document.createElement("span");
      span.textContent = name;
      span.style.left = `${x}px`; span.style.top = `${y}px`;
      return span;
    }));
  }

  drawLegend() {
    const entries = legendEntries(this.colour, { ...this.data, palette: this.palette });
    this.legend.replaceChildren(...entries.map(({ text, colour, kind = "", years, colours }) => {
      const entry = document.createElement("span"), mark = document.createElement(years ? "span" : "i");
      mark.className = years ? "ramp" : kind;
      mark.style.background = years ? `linear-gradient(to right, ${colours.join(",")})` : colour;
      if (!years) mark.style.borderColor = colour;
      entry.append(...(years ? [String(years[0]), mark, String(years[1])] : [mark, text]));
      return entry;
    }));
  }

  drawButtons() {
    const { topics, years, hits, area } = this.data;
    for (const name of ["colour", "drag"]) {
      for (const button of this.root.querySelectorAll(`[data-${name}]`)) {
        button.setAttribute("aria-pressed", String(button.dataset[name] === this[name]));
      }
    }
    this.root.querySelector("[data-colour=topic]").disabled = !topics.length;
    this.root.querySelector("[data-colour=year]").disabled = !years;
    this.root.querySelector("[data-do=hits]").disabled = !hits.length;
    this.root.querySelector("[data-do=clear]").hidden = area.length < 3;
    this.root.querySelector("[aria-label=Select]").hidden = !this.events.includes("area");
  }

  pointSize() { return pointSize(this.data.count, this.whole, this.plot._fullLayout && this.shownWindow()); }

  // Events of the map

  listen() {
    this.plot.on("plotly_click", (event) => {
      const row = pointedRow(event);
      if (row !== undefined) this.send("opened", { row });
    });
    this.plot.on("plotly_hover", (event) => this.showTip(event));
    this.plot.on("plotly_unhover", () => this.hideTip());
    this.plot.on("plotly_relayouting", () => this.drawLabels());
    this.plot.on("plotly_relayout", () => this.onMoved());
    this.plot.on("plotly_doubleclick", () => this.goTo(this.whole));
    this.plot.on("plotly_selected", (event) => {
      const corners = selectedCorners(event);
      if (!corners) return;
      this.send("area", { corners });
      this.setDrag("pan");
    });
  }

  onMoved() {
    this.drawLabels();
    const size = this.pointSize();
    if (!this.moving && Math.abs(size - this.plot.data[1].marker.size) > 0.3) {
      window.Plotly.restyle(this.plot, { "marker.size": size }, [0, 1]);
      this.drawQuery();
    }
    clearTimeout(this.settling);
    if (this.moving) return;
    this.settling = setTimeout(() => {
      const shown = this.shownWindow(), value = sameWindow(shown, this.whole) ? [] : shown;
      const known = value.length ? this.sentWindow.length && sameWindow(shown, this.sentWindow) : !this.sentWindow.length;
      if (!known) { this.sentWindow = value; this.send("camera", { window: value }); }
    }, SETTLE_MS);
  }

  onKey(event) {
    const target = windowAfterKey(event.key, this.shownWindow(), this.whole);
    if (!target || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.setWindow(target);
  }

  async setColour(colour) {
    this.colour = colour;
    try {
      await this.loadTopics(this.data, colour);
    } catch { return; } // Python gets the colour too, and its update shows the error
    if (this.colour === colour && this.drawn) this.draw(false, this.data);
  }

  setDrag(drag) {
    this.drag = drag;
    if (this.drawn) this.track(window.Plotly.relayout(this.plot, { dragmode: drag, selections: [] }));
    this.drawButtons();
  }

  // The window

  shownWindow() {
    const { xaxis, yaxis } = this.plot._fullLayout;
    return [...xaxis.range, ...yaxis.range];
  }

  setWindow([x0, x1, y0, y1]) {
    return this.track(window.Plotly.relayout(this.plot, { "xaxis.range": [x0, x1], "yaxis.range": [y0, y1] }));
  }

  async goTo(target) {
    const start = this.shownWindow();
    const steps = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : 14;
    const number = (this.animation = (this.animation || 0) + 1);
    this.moving = true;
    for (let i = 1; i <= steps && number === this.animation; i += 1) {
      const t = i / steps, ease = t * t * (3 - 2 * t);
      await this.setWindow(start.map((value, j) => value + (target[j] - value) * ease));
      if (i < steps) await new Promise(requestAnimationFrame);
    }
    if (number === this.animation) { this.moving = false; this.onMoved(); }
  }

  // Tooltips: titles are fetched when a paper is pointed at

  async showTip(event) {
    const row = pointedRow(event);
    if (row === undefined) { this.hideTip(); return; }
    this.plot.style.cursor = "pointer";
    this.pointed = row;
    if (!this.titles.has(row)) {
      await new Promise((resolve) => { setTimeout(resolve, 60); });
      if (this.pointed !== row) return;
      try {
        const answer = await fetch(`${this.data.url}/papers?rows=${row}`);
        if (!answer.ok) return;
        if (this.titles.size > MAX_TITLES) this.titles.clear();
        for (const card of await answer.json()) this.titles.set(card.row, card);
      } catch { return; } // a missing tooltip needs no error message
    }
    const card = this.titles.get(row);
    if (!card || this.pointed !== row) return;
    const title = document.createElement("b"), details = document.createElement("small");
    title.textContent = card.title;
    details.textContent = [card.venue, card.year, card.region].filter(Boolean).join(" · ");
    this.tip.replaceChildren(title, details);
    this.tip.hidden = false;
    const [x, y] = this.toPixels(this.points.x[row], this.points.y[row]);
    const { offsetWidth: width, offsetHeight: height } = this.tip;
    const left = x + 14 + width > this.plot.clientWidth ? x - 14 - width : x + 14;
    this.tip.style.left = `${Math.max(4, left)}px`;
    this.tip.style.top = `${Math.max(4, Math.min(y - 10, this.plot.clientHeight - height - 4))}px`;
  }

  hideTip() { this.pointed = null; this.tip.hidden = true; this.plot.style.cursor = ""; }
}

export default function render(component) {
  const root = component.parentElement.querySelector(".map-root");
  if (!maps.has(root)) maps.set(root, new AtlasMap(root));
  maps.get(root).update(component);
  return () => { maps.get(root)?.destroy(); maps.delete(root); };
}
