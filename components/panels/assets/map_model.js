// The map's model: decoding, colours, windows and label placement, and what it needs of the browser. map.js draws.

const NO_CODE = 255; // a point without region, year or topic

// Coordinates, region colours and years of n points, from the bytes that `points_payload` describes.
function readPoints(buffer, n, scale) {
  const steps = new Int16Array(buffer, 0, 2 * n);
  const x = new Float32Array(n), y = new Float32Array(n);
  for (let i = 0; i < n; i += 1) { x[i] = steps[i] * scale; y[i] = steps[n + i] * scale; }
  return { x, y, region: new Uint8Array(buffer, 4 * n, n), year: new Uint8Array(buffer, 5 * n, n) };
}

function isAllowed(mask, row) { return !mask || Boolean((mask[row >> 3] >> (row & 7)) & 1); }

// Rows to draw: those that the filters exclude, and the others with unlabelled rows first, so that colour lies on top.
function splitRows(count, mask, codes) {
  const faded = [], shown = [];
  for (let row = 0; row < count; row += 1) (isAllowed(mask, row) ? shown : faded).push(row);
  shown.sort((a, b) => (codes[b] === NO_CODE) - (codes[a] === NO_CODE));
  return { faded, shown };
}

// Codes by row, and the colour of each code; the last colour is that of rows without a code.
function colouring(colour, { points, palette, years, topics, topicCodes }) {
  if (colour === "year" && years) {
    const [first, last] = years, span = Math.max(1, last - first);
    const steps = Array.from({ length: Math.min(NO_CODE, last - first + 1) }, (_, i) => ramp(palette.years, i / span));
    return { codes: points.year, colours: [...steps, palette.unlabelled] };
  }
  if (colour === "topic" && topicCodes) {
    return { codes: topicCodes, colours: [...topics.map((_, i) => regionColour(palette, i)), palette.unlabelled] };
  }
  return { codes: points.region, colours: [...palette.regions, palette.unlabelled] };
}

function regionColour(palette, i) { return palette.regions[i % palette.regions.length]; }

// A stepwise colour scale over 0 … colours.length, as plotly wants it.
function colourScale(colours) {
  return colours.flatMap((colour, i) => [[i / colours.length, colour], [(i + 1) / colours.length, colour]]);
}

// The place of a row's code on that scale: the middle of its step.
function scalePlace(code, colours) { return (code === NO_CODE ? colours.length : code + 1) - 0.5; }

// A colour at t (0 … 1) between some hex colours.
function ramp(colours, t) {
  const at = Math.max(0, Math.min(1, t)) * (colours.length - 1), i = Math.min(colours.length - 2, Math.floor(at));
  const rgb = (hex) => hex.match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  const [a, b] = [rgb(colours[i]), rgb(colours[i + 1])];
  return `rgb(${a.map((value, j) => Math.round(value + (b[j] - value) * (at - i))).join(",")})`;
}

// Windows are [x0, x1, y0, y1] in map coordinates.

function wholeWindow({ x, y }) {
  if (!x.length) return [-1.1, 1.1, -1.1, 1.1];
  let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
  for (let i = 0; i < x.length; i += 1) {
    x0 = Math.min(x0, x[i]); x1 = Math.max(x1, x[i]); y0 = Math.min(y0, y[i]); y1 = Math.max(y1, y[i]);
  }
  const pad = 0.05 * Math.max(x1 - x0, y1 - y0, 0.2);
  return [x0 - pad, x1 + pad, y0 - pad, y1 + pad];
}

// The square window around the hits and the query.
function hitsWindow({ x, y }, hits, query) {
  const xs = hits.map((row) => x[row]), ys = hits.map((row) => y[row]);
  if (query) { xs.push(query[0]); ys.push(query[1]); }
  const x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = Math.min(...ys), y1 = Math.max(...ys);
  const half = 0.62 * Math.max(x1 - x0, y1 - y0, 0.06), cx = (x0 + x1) / 2, cy = (y0 + y1) / 2;
  return [cx - half, cx + half, cy - half, cy + half];
}

// Whether two windows are equal, but for what keeping the map's proportions adds on one axis of the shown one.
function sameWindow([a0, a1, b0, b1], [x0, x1, y0, y1]) {
  const near = (p, q, span) => Math.abs(p - q) < 0.02 * span;
  const x = near(a0, x0, x1 - x0) && near(a1, x1, x1 - x0), y = near(b0, y0, y1 - y0) && near(b1, y1, y1 - y0);
  return (x && (y || b1 - b0 >= y1 - y0)) || (y && a1 - a0 >= x1 - x0);
}

// The window after a key; undefined for a key without a meaning.
function windowAfterKey(key, [x0, x1, y0, y1], whole) {
  const dx = (x1 - x0) / 8, dy = (y1 - y0) / 8;
  const nearer = [x0 + dx, x1 - dx, y0 + dy, y1 - dy];
  return {
    ArrowLeft: [x0 - dx, x1 - dx, y0, y1], ArrowRight: [x0 + dx, x1 + dx, y0, y1],
    ArrowUp: [x0, x1, y0 + dy, y1 + dy], ArrowDown: [x0, x1, y0 - dy, y1 - dy],
    "+": nearer, "=": nearer, "-": [x0 - dx, x1 + dx, y0 - dy, y1 + dy], 0: whole,
  }[key];
}

// Points grow as the map is zoomed, slower than the gaps between them do.
function pointSize(count, whole, shown) {
  const base = count > 40000 ? 2.5 : count > 5000 ? 3.5 : count > 500 ? 5 : 8;
  return shown ? base * Math.max(1, Math.min(2.6, ((whole[1] - whole[0]) / (shown[1] - shown[0])) ** 0.4)) : base;
}

// The corners of what was selected, from plotly's event; null for the event of a dropped selection, which has none.
function selectedCorners(event) {
  if (event?.lassoPoints) return event.lassoPoints.x.map((x, i) => [x, event.lassoPoints.y[i]]);
  if (!event?.range) return null;
  const { x, y } = event.range;
  return [[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[1]]];
}

// The row of the paper that was pointed at, from plotly's event; undefined between papers.
function pointedRow(event) { return event.points.find((point) => point.customdata !== undefined)?.customdata; }

// The regions whose names fit into width × height px: the query's region and the largest first, none over another.
// toPixels: map coordinates → px. query: its coordinates, or null.
function placeLabels(regions, { toPixels, width, height, query }) {
  const box = (x, y, w, h) => ({ left: x - w / 2, right: x + w / 2, top: y - h / 2, bottom: y + h / 2 });
  const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const taken = query ? [box(...toPixels(...query), 26, 26)] : [], placed = [];
  for (const region of [...regions].sort((a, b) => b.first - a.first || b.size - a.size)) {
    const [x, y] = toPixels(region.x, region.y);
    const label = box(x, y, region.name.length * 6.9 + 14, 19);
    const seen = label.left > 2 && label.right < width - 2 && label.top > 2 && label.bottom < height - 2;
    if (!seen || taken.some((other) => overlap(label, other))) continue;
    taken.push(label);
    placed.push({ name: region.name, x, y });
  }
  return placed;
}

// Entries of the legend: {text, colour, kind}, or {years, colours} for a ramp.
function legendEntries(colour, { palette, query, years, topics, regions, mask }) {
  const entries = [];
  if (query) {
    entries.push({ text: "Your query", colour: palette.accent, kind: "star" });
    entries.push({ text: "Nearest papers", colour: palette.accent, kind: "ring" });
  }
  if (colour === "year" && years) {
    entries.push({ years, colours: palette.years });
  } else if (colour === "topic") {
    topics.forEach((text, i) => entries.push({ text, colour: regionColour(palette, i) }));
    entries.push({ text: "None of these topics", colour: palette.unlabelled });
  } else if (!regions.length) {
    entries.push({ text: "Papers (too few or too scattered for regions)", colour: palette.unlabelled });
  } else {
    entries.push({ text: "Colours mark regions (colours repeat)", colour: palette.regions[0] });
    entries.push({ text: "Between regions", colour: palette.unlabelled });
  }
  if (mask) entries.push({ text: "Excluded by the filters", colour: palette.faded });
  return entries;
}

// The browser

const scripts = new Map(); // URL → promise of Plotly

function loadPlotly(url) {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  if (!scripts.has(url)) {
    scripts.set(url, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => { scripts.delete(url); reject(new Error("plotly.js did not load.")); };
      document.head.append(script);
    }));
  }
  return scripts.get(url);
}

async function fetchBytes(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 300) || `HTTP ${answer.status}.`);
  return answer.arrayBuffer();
}

function hasWebGL() {
  const canvas = document.createElement("canvas");
  return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
}

function themeOf(element) {
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = getComputedStyle(element).getPropertyValue("--st-background-color").trim() || "#fff";
  const [r, g, b] = (canvas.fillStyle.match(/[0-9a-f]{2}/gi) || ["ff", "ff", "ff"]).map((part) => parseInt(part, 16));
  return 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
}

export {
  colourScale, colouring, hitsWindow, isAllowed, legendEntries, placeLabels, pointSize, pointedRow, ramp, readPoints,
  sameWindow, scalePlace, selectedCorners, splitRows, wholeWindow, windowAfterKey,
};
