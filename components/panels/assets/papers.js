// A list of papers: what each is, its distance, and its buttons.
// Text that comes from papers enters the page through textContent alone.

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function webAddress(url) {
  try { return ["http:", "https:"].includes(new URL(url).protocol) ? url : null; } catch { return null; }
}

// Tell other components what is pointed at: a row, or build → row of a paper, or null.
function highlight(what) { window.dispatchEvent(new CustomEvent("cocite:highlight", { detail: what })); }

function item(card, data, send, open) {
  const li = make("li", card.rank ? "" : "lone");
  li.dataset.row = card.row;
  const pointedAt = () => highlight(card.marks ?? card.row);
  li.onmouseenter = pointedAt;
  li.onmouseleave = () => highlight(null);
  li.addEventListener("focusin", pointedAt);
  li.addEventListener("focusout", () => highlight(null));
  li.append(make("span", "rank", card.rank ?? ""));

  const body = make("div");
  const title = make("h3", "", card.title);
  body.append(title);
  const meta = make("p", "meta");
  meta.append(card.byline);
  if (card.region) {
    const region = make("span", "region");
    const dot = make("i");
    dot.style.background = card.regionColour[data.dark ? 1 : 0];
    region.append(dot, card.region);
    meta.append(card.byline ? " · " : "", region);
  }
  body.append(meta);
  if (card.note) {
    const [symbol, words] = card.note;
    const note = make("p", ["▲", "▼", "="].includes(symbol) ? "note shared" : "note", words), sign = make("b", "", symbol);
    sign.setAttribute("aria-hidden", "true");
    if (symbol) note.prepend(sign, " ");
    body.append(note);
  }
  if (card.topics.length) {
    const topics = make("p", "topics");
    for (const topic of card.topics) topics.append(make("span", "", topic));
    body.append(topics);
  }

  const actions = make("div", "actions");
  const abstract = make("p", "abstract", card.abstract || "No abstract.");
  abstract.id = `abstract-${card.row}`;
  const more = make("button", "", "");
  more.type = "button";
  more.setAttribute("aria-controls", abstract.id);
  const show = (shown) => {
    abstract.hidden = !shown;
    more.textContent = shown ? "Hide abstract" : "Show abstract";
    more.setAttribute("aria-expanded", String(shown));
    if (shown) open.add(card.row); else open.delete(card.row);
  };
  more.onclick = () => show(abstract.hidden);
  show(open.has(card.row) || Boolean(card.expanded));
  actions.append(more);
  const like = make("button", "", data.like);
  like.type = "button";
  like.setAttribute("aria-label", `${data.like}: ${card.title}`);
  like.onclick = () => {
    send("like", { row: card.row });
    if (data.toTop) document.querySelector("[data-testid=stMain]")?.scrollTo({ top: 0 });
  };
  actions.append(like);
  for (const [name, url] of card.links) {
    const address = webAddress(url);
    if (!address) continue;
    const link = make("a", "", `${name} ↗`);
    link.href = address; link.target = "_blank"; link.rel = "noopener noreferrer";
    link.setAttribute("aria-label", `${name}: ${card.title} (opens a new tab)`);
    actions.append(link);
  }
  if (data.closable) {
    const close = make("button", "", "Close");
    close.type = "button";
    close.onclick = () => send("close", { row: card.row });
    actions.append(close);
  }
  body.append(actions, abstract);
  li.append(body);

  const distance = make("div", "distance");
  if (card.distance) {
    distance.title = card.meaning;
    distance.append(make("span", "", card.distance));
    if (card.share) { // of a handful of papers, shares of their pairs send nothing
      const bar = make("span", "bar"), filled = make("b");
      bar.setAttribute("aria-hidden", "true");
      filled.style.width = `${Math.round(100 * card.closeness)}%`;
      bar.append(filled);
      distance.append(bar, make("small", "", card.share));
    }
  }
  li.append(distance);
  return li;
}

const opened = new WeakMap();

// Highlight the paper that is pointed at in another list. One listener per list, however often it is drawn.
function listen(list, build) {
  if (list.marking) window.removeEventListener("cocite:highlight", list.marking);
  list.marking = build ? ({ detail }) => {
    const row = detail?.[build];
    for (const li of list.children) li.classList.toggle("marked", row !== undefined && Number(li.dataset.row) === row);
  } : null;
  if (list.marking) window.addEventListener("cocite:highlight", list.marking);
}

function cleanUp(list) { return () => { opened.delete(list); listen(list, ""); highlight(null); }; }

export default function render({ parentElement, data, setTriggerValue }) {
  const list = parentElement.querySelector("ol");
  if (!opened.has(list)) opened.set(list, new Set());
  listen(list, data.build);
  list.setAttribute("aria-label", data.label);
  const style = getComputedStyle(list);
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = style.getPropertyValue("--st-background-color").trim() || "#fff";
  const [r, g, b] = canvas.fillStyle.match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  const dark = 0.299 * r + 0.587 * g + 0.114 * b < 128;
  list.style.setProperty("--muted", "color-mix(in srgb, var(--st-text-color) 70%, transparent)");
  const content = JSON.stringify([data, dark]);
  if (list.content === content) return cleanUp(list); // unchanged: keep open abstracts and the focus
  list.content = content;
  list.replaceChildren(...data.cards.map((card) => item(card, { ...data, dark }, setTriggerValue, opened.get(list))));
  if (data.closable && data.cards[0]?.row !== list.shown) {
    list.shown = data.cards[0]?.row;
    list.querySelector("h3").scrollIntoView({ block: "nearest" }); // no further than needed to see that it opened
  }
  return cleanUp(list);
}
