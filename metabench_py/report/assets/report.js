"use strict";
// The page can be read without this: it sorts, filters, draws item curves, saves the results.

const value = (row, column) => {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text);
  return text !== "" && !Number.isNaN(number) ? number : text.toLowerCase();
};

const compare = (one, other) => {
  if (one === other) return 0;
  if (one === "") return 1;
  if (other === "") return -1;
  return typeof one === typeof other ? (one < other ? -1 : 1) : typeof one === "number" ? -1 : 1;
};

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("pick")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      const body = table.tBodies[0];
      const empty = (row) => row.cells[column].dataset.value === "";
      const rows = [...body.rows].map((row) => [empty(row) ? "" : value(row, column), row]);
      rows.sort((a, b) => {
        const order = compare(a[0], b[0]);
        return a[0] === "" || b[0] === "" || up ? order : -order;
      });
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      body.append(...rows.map((pair) => pair[1]));
    });
  });
}

const wanted = {
  all: () => true,
  surprising: (row) => Math.abs(Number(row.dataset.residual)) >= Number(row.dataset.limit),
  right: (row) => row.dataset.answer === "1",
  wrong: (row) => row.dataset.answer === "0",
  missing: (row) => row.dataset.answer === "-1",
};

for (const tools of document.querySelectorAll(".tools.filter")) {
  tools.hidden = false;
  const rows = [...document.getElementById(tools.dataset.table).tBodies[0].rows];
  const [input, select, count] = ["input", "select", "output"].map((tag) => tools.querySelector(tag));
  const apply = () => {
    const text = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const show = wanted[select.value](row) && row.cells[0].textContent.toLowerCase().includes(text);
      row.hidden = !show;
      shown += show;
    }
    count.textContent = `${shown} of ${rows.length} items`;
  };
  input.addEventListener("input", apply);
  select.addEventListener("change", apply);
  apply();
}

// An item's curve, over the information of its benchmark: bottom 0, top 1.
const draw = (figure, item) => {
  const svg = figure.querySelector("svg");
  const [low, high] = [Number(svg.dataset.low), Number(svg.dataset.high)];
  let path = "";
  for (let i = 0; item && i <= 80; i += 1) {
    const theta = low + ((high - low) * i) / 80;
    const share = 1 / (1 + Math.exp(-(item.a * theta + item.d)));
    const right = item.g + (item.u - item.g) * share;
    path += `${i ? "L" : "M"}${(44 + (344 * i) / 80).toFixed(1)},${(150 - 136 * right).toFixed(1)}`;
  }
  svg.querySelector(".curve").setAttribute("d", path);
  figure.querySelector(".drawn").textContent = item
    ? ` Line: probability of a right answer to item ${item.name}, from 0 (bottom) to 1 (top).`
    : "";
};

for (const button of document.querySelectorAll("td.pick button")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const figure = document.getElementById(button.dataset.figure);
    const pressed = button.getAttribute("aria-pressed") === "true";
    for (const other of document.querySelectorAll("td.pick button[aria-pressed=true]")) {
      if (other.dataset.figure === button.dataset.figure) other.setAttribute("aria-pressed", "false");
    }
    button.setAttribute("aria-pressed", String(!pressed));
    const [a, d, g, u] = button.dataset.item.split(" ").map(Number);
    const name = button.closest("tr").cells[0].textContent;
    draw(figure, pressed ? null : { name, a, d, g, u });
  });
}

const save = document.getElementById("save");
if (save) {
  save.closest(".tools").hidden = false;
  save.addEventListener("click", () => {
    const text = document.getElementById("results").textContent;
    const pretty = JSON.stringify(JSON.parse(text), null, 2);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([pretty], { type: "application/json" }));
    link.download = "metabench-results.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

// Paper has no disclosure triangles.
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
});
window.addEventListener("afterprint", () => {
  for (const one of closed) one.open = false;
});
