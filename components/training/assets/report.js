"use strict";
// Draws the charts of a report in the theme that the reader's system asks for, and again when that changes.
const { charts, colours } = JSON.parse(document.getElementById("charts").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const finger = window.matchMedia("(pointer: coarse)");

// Names of colours stand under keys that say so, and nowhere else: a run may be called "@ink".
function themed(value, names, key) {
  if (Array.isArray(value)) return value.map((one) => themed(one, names, key));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, themed(one, names, name)]));
  }
  return /color(scale)?$/.test(key) && Object.hasOwn(names, value) ? names[value] : value;
}

function draw() {
  const names = dark.matches ? colours.dark : colours.light;
  for (const { id, figure } of charts) {
    const { data, layout } = themed(figure, names, "");
    // A finger that drags means to scroll the page.
    layout.dragmode = finger.matches ? false : "zoom";
    Plotly.react(id, data, layout, { responsive: true, displayModeBar: false, displaylogo: false });
  }
  document.body.dataset.drawn = dark.matches ? "dark" : "light";
}

draw();
dark.addEventListener("change", draw);
