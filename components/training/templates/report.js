"use strict";
// Draws the charts in the theme that the reader's system asks for, and again when that changes.
const colours = Object.entries({{ colours | tojson }});
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const finger = window.matchMedia("(pointer: coarse)");
const charts = [...document.querySelectorAll(".plotly-graph-div")];
const drawings = charts.map((chart) => JSON.stringify({ data: chart.data, layout: chart.layout }));

function draw() {
  charts.forEach((chart, i) => {
    let drawing = drawings[i];
    if (dark.matches) for (const [light, other] of colours) drawing = drawing.replaceAll(light, other);
    const { data, layout } = JSON.parse(drawing);
    layout.dragmode = finger.matches ? false : "zoom"; // a finger that drags means to scroll the page
    Plotly.react(chart, data, layout, { responsive: true, displayModeBar: false });
  });
  document.body.dataset.drawn = dark.matches ? "dark" : "light";
}

draw();
dark.addEventListener("change", draw);
