// The map: draws the corpus with plotly.js, and tells Python what was clicked, framed or asked for.
// Text that comes from papers enters the page through textContent alone.

const states = new WeakMap();
const scripts = new Map();
const ROWS_KEPT = 2000; // titles remembered for hovering
const ANSWERS_KEPT = 20; // masks, and sets of topics; each a byte a paper at the most
const SETTLE_MS = 700; // after the last movement, before the window is put into the link

function loadPlotly(url) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  if (!scripts.has(url)) {
    scripts.set(url, new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = () => done(window.Plotly);
      script.onerror = () => { scripts.delete(url); failed(new Error("plotly.js did not load")); };
      document.head.append(script);
    }));
  }
  return scripts.get(url);
}

async function fetchBytes(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 300) || `HTTP ${answer.status}`);
  return answer.arrayBuffer();
}

function readPoints(buffer, n, scale) {
  const steps = new Int16Array(buffer, 0, 2 * n);
  const x = new Float32Array(n), y = new Float32Array(n);
  for (let i = 0; i < n; i += 1) { x[i] = steps[i] * scale; y[i] = steps[n + i] * scale; }
  return { x, y, region: new Uint8Array(buffer, 4 * n, n), year: new Uint8Array(buffer, 5 * n, n) };
}

function hasWebGL() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
}

function themeOf(element) {
  const probe = getComputedStyle(element).getPropertyValue("--st-background-color").trim();
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = probe || "#fff";
  const [r, g, b] = (canvas.fillStyle.match(/[0-9a-f]{2}/gi) || ["ff", "ff", "ff"]).map((v) => parseInt(v, 16));
  return 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
}

class AtlasMap {
  constructor(root) {
    this.root = root;
    this.plot = root.querySelector(".plot");
    this.labels = root.querySelector(".labels");
    this.tip = root.querySelector(".tip");
    this.note = root.querySelector(".note");
    this.legend = root.querySelector(".legend");
    this.titles = new Map();
    this.masks = new Map();
    this.topicCodes = new Map();
    this.drag = "pan";
    this.type = hasWebGL() ? "scattergl" : "scatter";
    this.highlighted = null;
    // A row of this map, or a paper's rows by the builds of the atlases that hold it.
    this.onHighlight = ({ detail }) => {
      this.highlighted = detail !== null && typeof detail === "object" ? detail[this.data?.build] ?? null : detail;
      this.drawQuery();
    };
    window.addEventListener("cocite:highlight", this.onHighlight);
    this.steps = new Set();
    this.resizer = new ResizeObserver(() => this.drawn && this.track(window.Plotly.Plots.resize(this.plot)));
    this.resizer.observe(this.plot);
    this.wire();
  }

  destroy() {
    window.removeEventListener("cocite:highlight", this.onHighlight);
    this.resizer.disconnect();
    clearTimeout(this.settling);
    this.turn = this.journey = Infinity; // whatever is on its way must not draw into a map that is gone
    // Plotly draws in steps; taken away between two of them, it stumbles over its own plot.
    if (window.Plotly && this.drawn) Promise.allSettled(this.steps).then(() => window.Plotly.purge(this.plot));
  }

  // What Plotly is drawing, until it is drawn. What goes wrong in it stays an error of the page.
  track(step) {
    this.steps.add(step);
    step.finally(() => this.steps.delete(step));
    return step;
  }

  wire() {
    for (const button of this.root.querySelectorAll("[data-colour]")) {
      button.onclick = () => { this.setColour(button.dataset.colour); this.tell("colour", button.dataset.colour); };
    }
    for (const button of this.root.querySelectorAll("[data-drag]")) {
      button.onclick = () => this.setDrag(this.drag === button.dataset.drag ? "pan" : button.dataset.drag);
    }
    this.root.querySelector("[data-do=hits]").onclick = () => this.goToHits();
    this.root.querySelector("[data-do=all]").onclick = () => this.goTo(this.whole());
    this.root.querySelector("[data-do=clear]").onclick = () => this.tell("area", { corners: [] });
    this.plot.addEventListener("keydown", (event) => this.onKey(event));
    this.plot.addEventListener("mouseleave", () => this.hideTip());
  }

  // ------------------------------------------------------------------ what Python says

  async update(component) {
    const { data } = component;
    this.setTriggerValue = component.setTriggerValue;
    this.heard = data.heard;
    const turn = (this.turn = (this.turn || 0) + 1);
    if (this.drawnPlace !== data.place) this.say("Loading the map…");
    try {
      const [points] = await Promise.all([this.needPoints(data), this.needMask(data), this.needTopics(data)]);
      if (turn !== this.turn) return; // a newer update will draw
      this.points = points;
    } catch (error) {
      if (turn === this.turn) this.say(`The map could not be loaded: ${error.message} Reload the page to try again.`);
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
    this.say("");
    this.draw(this.drawnPlace !== data.place, before);
    this.drawnPlace = data.place;
  }

  // One load a place, however many updates wait for it; one that failed is tried again by the next.
  async needPoints(data) {
    if (this.loading?.place !== data.place) {
      const points = Promise.all([loadPlotly(data.plotly), fetchBytes(`${data.place}/points`)])
        .then(([, buffer]) => readPoints(buffer, data.count, data.scale));
      const loading = (this.loading = { place: data.place, points });
      this.masks.clear(); this.topicCodes.clear(); this.titles.clear();
      points.catch(() => { if (this.loading === loading) this.loading = null; });
    }
    return this.loading.points;
  }

  needMask(data) { return data.mask ? this.need(this.masks, data.mask, `${data.place}/mask?${data.mask}`) : null; }

  needTopics(data, colour = data.colour) {
    return colour === "topic" && data.topicQuery
      ? this.need(this.topicCodes, data.topicQuery, `${data.place}/topics?${data.topicQuery}`) : null;
  }

  async need(kept, key, url) {
    if (kept.has(key)) return;
    const bytes = new Uint8Array(await fetchBytes(url));
    if (kept.size > ANSWERS_KEPT) kept.clear();
    kept.set(key, bytes);
  }

  tell(name, value) { if (this.heard?.includes(name)) this.setTriggerValue?.(name, value); }

  say(text) { this.note.textContent = text; this.note.hidden = !text; }

  // ------------------------------------------------------------------ drawing

  draw(fresh, before) {
    const { camera } = this.data;
    const layout = this.layout(fresh ? camera || this.whole() : this.windowNow());
    this.track(window.Plotly.react(this.plot, this.traces(), layout, {
      displayModeBar: false, scrollZoom: true, responsive: false, doubleClick: false, showTips: false,
    }));
    if (!this.drawn) this.listen();
    this.drawn = true;
    // The link's window was changed by something else than this map: a link, or the way back.
    if (!fresh && JSON.stringify(camera) !== JSON.stringify(before.camera) && !this.sameWindow(camera || this.whole())) {
      this.goTo(camera || this.whole());
    }
    this.told = camera || [];
    this.drawLegend();
    this.drawLabels();
    this.drawButtons();
  }

  traces() {
    const { x, y } = this.points;
    const codes = this.codes();
    const bits = this.data.mask ? this.masks.get(this.data.mask) : null;
    const here = [], faded = [];
    for (let i = 0; i < this.data.count; i += 1) (bits && !((bits[i >> 3] >> (i & 7)) & 1) ? faded : here).push(i);
    // The unlabelled first, so that colour lies on grey and not under it.
    here.sort((a, b) => (codes.of[b] === 255) - (codes.of[a] === 255));
    const size = this.pointSize();
    const pick = (array, rows) => Float32Array.from(rows, (row) => array[row]);
    const common = { type: this.type, mode: "markers", hoverinfo: "none", showlegend: false };
    const scale = codes.colours.flatMap((colour, i) => [
      [i / codes.colours.length, colour], [(i + 1) / codes.colours.length, colour],
    ]);
    return [
      { ...common, x: pick(x, faded), y: pick(y, faded), customdata: faded, marker: { size, color: this.palette.faded } },
      {
        ...common, x: pick(x, here), y: pick(y, here), customdata: here,
        marker: {
          size, opacity: 0.72, colorscale: scale, cmin: 0, cmax: codes.colours.length, showscale: false,
          color: Float32Array.from(here, (row) => (codes.of[row] === 255 ? codes.colours.length : codes.of[row] + 1) - 0.5),
        },
      },
      ...this.queryTraces(),
    ];
  }

  // Codes by row, and the colour of each code; the last colour is that of rows without a code.
  codes() {
    const { palette, data } = this;
    if (this.colour === "year" && data.years) {
      const [first, last] = data.years, span = Math.max(1, last - first);
      const steps = Array.from({ length: Math.min(255, last - first + 1) }, (_, i) => ramp(palette.years, i / span));
      return { of: this.points.year, colours: [...steps, palette.unlabelled] };
    }
    const topics = this.topicCodes.get(data.topicQuery);
    if (this.colour === "topic" && topics) {
      return { of: topics, colours: [...data.topics.map((_, i) => palette.regions[i % palette.regions.length]), palette.unlabelled] };
    }
    return { of: this.points.region, colours: [...palette.regions, palette.unlabelled] };
  }

  queryTraces() {
    const { query, hits, opened } = this.data;
    const { accent, halo, ink } = this.palette;
    const ring = Math.max(11, this.pointSize() + 5), chosen = (row) => row === this.highlighted || row === opened;
    const at = (row) => [this.points.x[row], this.points.y[row]];
    const traces = [];
    const common = { type: "scatter", hoverinfo: "none", showlegend: false };
    if (query) {
      const x = [], y = [];
      for (const row of hits) { const [hx, hy] = at(row); x.push(query[0], hx, null); y.push(query[1], hy, null); }
      // "skip", or the line's end would be pointed at in place of the paper that lies there.
      traces.push({ ...common, mode: "lines", hoverinfo: "skip", x, y, line: { color: accent, width: 1 }, opacity: 0.45 });
    }
    if (hits.length) {
      traces.push({
        ...common, mode: "markers", customdata: hits, x: hits.map((row) => at(row)[0]), y: hits.map((row) => at(row)[1]),
        marker: {
          size: hits.map((row) => (chosen(row) ? ring + 6 : ring)), color: halo,
          line: { color: accent, width: hits.map((row) => (chosen(row) ? 4 : 2.2)) },
        },
      });
    }
    const lone = [opened, this.highlighted].filter((row) => row !== null && row !== undefined && !hits.includes(row));
    if (lone.length) {
      traces.push({
        ...common, mode: "markers", customdata: lone, x: lone.map((row) => at(row)[0]), y: lone.map((row) => at(row)[1]),
        marker: { size: 13, color: "rgba(0,0,0,0)", line: { color: ink, width: 2.2 } },
      });
    }
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
    this.track(window.Plotly.react(this.plot, [...this.plot.data.slice(0, 2), ...this.queryTraces()], this.layout(this.windowNow())));
  }

  layout([x0, x1, y0, y1]) {
    const axis = { visible: false, showgrid: false, zeroline: false, fixedrange: false };
    const { area } = this.data;
    const shapes = area.length < 3 ? [] : [{
      type: "path", path: `M${area.map(([x, y]) => `${x},${y}`).join("L")}Z`, layer: "above",
      line: { color: this.palette.ink, width: 1.5, dash: "dot" }, fillcolor: this.palette.accent, opacity: 0.18,
    }];
    return {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { ...axis, range: [x0, x1] }, yaxis: { ...axis, range: [y0, y1], scaleanchor: "x" },
      dragmode: this.drag, hovermode: "closest", hoverdistance: 12, shapes, uirevision: 1, selectionrevision: (this.drawing = (this.drawing || 0) + 1), showlegend: false,
      newselection: { line: { color: this.palette.ink, width: 1.5, dash: "dot" } },
    };
  }

  // As many region names as fit, the query's region and the largest first, none over another.
  drawLabels() {
    const { xaxis, yaxis } = this.plot._fullLayout;
    const width = this.plot.clientWidth, height = this.plot.clientHeight;
    const taken = this.data.query ? [box(xaxis.l2p(this.data.query[0]), yaxis.l2p(this.data.query[1]), 26, 26)] : [];
    const spans = [];
    if (this.colour === "region" || this.data.query) {
      for (const region of [...this.data.regions].sort((a, b) => b.first - a.first || b.size - a.size)) {
        const px = xaxis.l2p(region.x), py = yaxis.l2p(region.y);
        const place = box(px, py, region.name.length * 6.9 + 14, 19);
        const seen = place.left > 2 && place.right < width - 2 && place.top > 2 && place.bottom < height - 2;
        if (!seen || taken.some((other) => overlap(place, other))) continue;
        taken.push(place);
        const span = document.createElement("span");
        span.textContent = region.name;
        span.style.left = `${px}px`; span.style.top = `${py}px`;
        spans.push(span);
      }
    }
    this.labels.replaceChildren(...spans);
  }

  drawLegend() {
    const { palette, data } = this;
    const parts = [];
    const entry = (colour, text, kind = "") => {
      const part = document.createElement("span"), mark = document.createElement("i");
      mark.className = kind; mark.style.background = colour; mark.style.borderColor = colour;
      part.append(mark, document.createTextNode(text));
      return part;
    };
    if (data.query) parts.push(entry(palette.accent, "your query", "star"), entry(palette.accent, "its nearest papers", "ring"));
    if (this.colour === "year" && data.years) {
      const part = document.createElement("span"), bar = document.createElement("span");
      bar.className = "ramp"; bar.style.background = `linear-gradient(to right, ${palette.years.join(",")})`;
      part.append(String(data.years[0]), bar, String(data.years[1]));
      parts.push(part);
    } else if (this.colour === "topic") {
      data.topics.forEach((topic, i) => parts.push(entry(palette.regions[i % palette.regions.length], topic)));
      parts.push(entry(palette.unlabelled, "none of these"));
    } else if (!data.regions.length) {
      parts.push(entry(palette.unlabelled, "a paper; nowhere do enough gather to make a region"));
    } else {
      parts.push(entry(palette.regions[0], "a colour a region, neighbours unlike"), entry(palette.unlabelled, "between regions"));
    }
    if (data.mask) parts.push(entry(palette.faded, "left out by the filter"));
    this.legend.replaceChildren(...parts);
  }

  drawButtons() {
    for (const button of this.root.querySelectorAll("[data-colour]")) button.setAttribute("aria-pressed", String(button.dataset.colour === this.colour));
    for (const button of this.root.querySelectorAll("[data-drag]")) button.setAttribute("aria-pressed", String(button.dataset.drag === this.drag));
    this.root.querySelector("[data-colour=topic]").disabled = !this.data.topics.length;
    this.root.querySelector("[data-colour=year]").disabled = !this.data.years;
    this.root.querySelector("[data-do=hits]").disabled = !this.data.hits.length;
    this.root.querySelector("[data-do=clear]").hidden = this.data.area.length < 3;
    this.root.querySelector("[aria-label=Select]").hidden = !this.heard.includes("area");
  }

  // ------------------------------------------------------------------ what a person does

  listen() {
    this.plot.on("plotly_click", (event) => {
      const row = event.points.find((point) => point.customdata !== undefined)?.customdata;
      if (row !== undefined) this.tell("opened", { row });
    });
    this.plot.on("plotly_hover", (event) => this.showTip(event));
    this.plot.on("plotly_unhover", () => this.hideTip());
    this.plot.on("plotly_relayouting", () => this.drawLabels());
    this.plot.on("plotly_relayout", () => this.moved());
    this.plot.on("plotly_doubleclick", () => this.goTo(this.whole()));
    this.plot.on("plotly_selected", (event) => {
      // plotly.js tells of a selection that it drops, too; that one has no outline.
      if (!event?.range && !event?.lassoPoints) return;
      const { range, lassoPoints } = event;
      const corners = lassoPoints
        ? lassoPoints.x.map((x, i) => [x, lassoPoints.y[i]])
        : [[range.x[0], range.y[0]], [range.x[1], range.y[0]], [range.x[1], range.y[1]], [range.x[0], range.y[1]]];
      this.tell("area", { corners });
      this.setDrag("pan");
    });
  }

  // Points grow as the map is entered, slower than the gaps between them do.
  pointSize() {
    const base = this.data.count > 40000 ? 2.5 : this.data.count > 5000 ? 3.5 : this.data.count > 500 ? 5 : 8;
    if (!this.plot._fullLayout) return base;
    const [a0, a1] = this.whole(), [x0, x1] = this.windowNow();
    return base * Math.max(1, Math.min(2.6, ((a1 - a0) / (x1 - x0)) ** 0.4));
  }

  moved() {
    this.drawLabels();
    const size = this.pointSize();
    if (!this.moving && Math.abs(size - this.plot.data[1].marker.size) > 0.3) {
      window.Plotly.restyle(this.plot, { "marker.size": size }, [0, 1]);
      this.drawQuery();
    }
    clearTimeout(this.settling);
    if (this.moving) return;
    this.settling = setTimeout(() => {
      const now = this.windowNow();
      const value = this.sameWindow(this.whole()) ? [] : now;
      const known = value.length ? this.told.length && this.sameWindow(this.told) : !this.told.length;
      if (!known) { this.told = value; this.tell("camera", { window: value }); }
    }, SETTLE_MS);
  }

  onKey(event) {
    const [x0, x1, y0, y1] = this.windowNow();
    const dx = (x1 - x0) / 8, dy = (y1 - y0) / 8;
    const steps = {
      ArrowLeft: [x0 - dx, x1 - dx, y0, y1], ArrowRight: [x0 + dx, x1 + dx, y0, y1],
      ArrowUp: [x0, x1, y0 + dy, y1 + dy], ArrowDown: [x0, x1, y0 - dy, y1 - dy],
      "+": [x0 + dx, x1 - dx, y0 + dy, y1 - dy], "=": [x0 + dx, x1 - dx, y0 + dy, y1 - dy],
      "-": [x0 - dx, x1 + dx, y0 - dy, y1 + dy], 0: this.whole(),
    };
    if (!steps[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.setWindow(steps[event.key]);
  }

  async setColour(colour) {
    this.colour = colour;
    try {
      await this.needTopics(this.data, colour);
    } catch { return; } // Python hears of the colour too, and its answer says what is wrong
    if (this.colour === colour && this.drawn) this.draw(false, this.data);
  }

  setDrag(drag) {
    this.drag = drag;
    if (this.drawn) this.track(window.Plotly.relayout(this.plot, { dragmode: drag, selections: [] }));
    this.drawButtons();
  }

  // ------------------------------------------------------------------ the window on the map

  whole() {
    if (this.wholeOf === this.points) return this.wholeWindow;
    const { x, y } = this.points;
    let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
    for (let i = 0; i < x.length; i += 1) { x0 = Math.min(x0, x[i]); x1 = Math.max(x1, x[i]); y0 = Math.min(y0, y[i]); y1 = Math.max(y1, y[i]); }
    if (!x.length) [x0, x1, y0, y1] = [-1, 1, -1, 1];
    const pad = 0.05 * Math.max(x1 - x0, y1 - y0, 0.2);
    this.wholeOf = this.points;
    this.wholeWindow = [x0 - pad, x1 + pad, y0 - pad, y1 + pad];
    return this.wholeWindow;
  }

  windowNow() {
    const { xaxis, yaxis } = this.plot._fullLayout;
    return [...xaxis.range, ...yaxis.range];
  }

  // Equal but for what keeping the map's proportions adds on one axis.
  sameWindow([x0, x1, y0, y1]) {
    const [a0, a1, b0, b1] = this.windowNow();
    const near = (p, q, span) => Math.abs(p - q) < 0.02 * span;
    const x = near(a0, x0, x1 - x0) && near(a1, x1, x1 - x0), y = near(b0, y0, y1 - y0) && near(b1, y1, y1 - y0);
    return (x && (y || b1 - b0 >= y1 - y0)) || (y && a1 - a0 >= x1 - x0);
  }

  setWindow([x0, x1, y0, y1]) {
    return this.track(window.Plotly.relayout(this.plot, { "xaxis.range": [x0, x1], "yaxis.range": [y0, y1] }));
  }

  goToHits() {
    const { query, hits } = this.data;
    const xs = hits.map((row) => this.points.x[row]), ys = hits.map((row) => this.points.y[row]);
    if (query) { xs.push(query[0]); ys.push(query[1]); }
    const x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = Math.min(...ys), y1 = Math.max(...ys);
    const half = 0.62 * Math.max(x1 - x0, y1 - y0, 0.06), cx = (x0 + x1) / 2, cy = (y0 + y1) / 2;
    this.goTo([cx - half, cx + half, cy - half, cy + half]);
  }

  async goTo(target) {
    const start = this.windowNow();
    const steps = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : 14;
    const journey = (this.journey = (this.journey || 0) + 1);
    this.moving = true;
    for (let i = 1; i <= steps && journey === this.journey; i += 1) {
      const t = i / steps, ease = t * t * (3 - 2 * t);
      await this.setWindow(start.map((value, j) => value + (target[j] - value) * ease));
      if (i < steps) await new Promise(requestAnimationFrame);
    }
    if (journey === this.journey) { this.moving = false; this.moved(); }
  }

  // ------------------------------------------------------------------ titles, fetched as they are pointed at

  async showTip(event) {
    const row = event.points.find((point) => point.customdata !== undefined)?.customdata;
    if (row === undefined) return this.hideTip();
    this.plot.style.cursor = "pointer";
    this.pointed = row;
    if (!this.titles.has(row)) {
      await new Promise((done) => { setTimeout(done, 60); });
      if (this.pointed !== row) return undefined;
      try {
        const answer = await fetch(`${this.data.place}/papers?rows=${row}`);
        if (!answer.ok) return undefined;
        if (this.titles.size > ROWS_KEPT) this.titles.clear();
        for (const card of await answer.json()) this.titles.set(card.row, card);
      } catch { return undefined; } // a title that does not come is no reason for an alarm
    }
    const card = this.titles.get(row);
    if (!card || this.pointed !== row) return undefined;
    const title = document.createElement("b"), more = document.createElement("small");
    title.textContent = card.title;
    more.textContent = [card.venue, card.year, card.region].filter(Boolean).join(" · ");
    this.tip.replaceChildren(title, more);
    this.tip.hidden = false;
    const { xaxis, yaxis } = this.plot._fullLayout;
    const px = xaxis.l2p(this.points.x[row]), py = yaxis.l2p(this.points.y[row]);
    const left = px + 14 + this.tip.offsetWidth > this.plot.clientWidth ? px - 14 - this.tip.offsetWidth : px + 14;
    this.tip.style.left = `${Math.max(4, left)}px`;
    this.tip.style.top = `${Math.max(4, Math.min(py - 10, this.plot.clientHeight - this.tip.offsetHeight - 4))}px`;
    return undefined;
  }

  hideTip() { this.pointed = null; this.tip.hidden = true; this.plot.style.cursor = ""; }
}

function ramp(colours, t) {
  const at = Math.max(0, Math.min(1, t)) * (colours.length - 1), i = Math.min(colours.length - 2, Math.floor(at));
  const rgb = (hex) => hex.match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  const [a, b] = [rgb(colours[i]), rgb(colours[i + 1])];
  return `rgb(${a.map((value, j) => Math.round(value + (b[j] - value) * (at - i))).join(",")})`;
}

function box(x, y, width, height) { return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 }; }
function overlap(a, b) { return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom; }

export default function render(component) {
  const root = component.parentElement.querySelector(".map-root");
  if (!states.has(root)) states.set(root, new AtlasMap(root));
  states.get(root).update(component);
  return () => { states.get(root)?.destroy(); states.delete(root); };
}
