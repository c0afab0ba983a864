"use strict";
const link = (text, href, name) => {
  const a = document.createElement("a");
  Object.assign(a, { textContent: text, href, download: name, className: "save" });
  return a;
};
const text = cell => [...cell.childNodes].map(n => n.nodeName === "BR" ? " " : n.textContent).join("").trim();
const value = cell => {
  const number = parseFloat(text(cell).replace(/^</, "").replace("\u2212", "-").replace(/,/g, ""));
  return Number.isNaN(number) ? text(cell) : number;
};

// Figures: a link to each image.
for (const image of document.querySelectorAll("figure img")) {
  const kind = image.src.startsWith("data:image/svg") ? "svg" : "jpg";
  const name = `${image.dataset.name}.${kind}`;
  image.closest("figure").querySelector("figcaption").append(" ", link(`Download ${name}`, image.src, name));
}

// Tables: sort by a column, and a link to the cells.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const quote = cell => `"${text(cell).replaceAll('"', '""')}"`;
  const csv = [...table.rows].map(row => [...row.cells].map(quote).join(",")).join("\r\n") + "\r\n";
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of table.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order === 1 ? "ascending" : "descending");
      const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
        : typeof a === "number" ? -1 : typeof b === "number" ? 1 : a.localeCompare(b);
      const rows = [...body.rows].sort((a, b) => order * compare(value(a.cells[column]), value(b.cells[column])));
      body.append(...rows);
    });
  });
  const name = `${table.dataset.name}.csv`;
  table.parentElement.after(link(`Download ${name}`, "data:text/csv;charset=utf-8," + encodeURIComponent("\ufeff" + csv), name));
}

// Folded parts: open the one that a link leads to, and all of them on paper.
const reveal = () => {
  const details = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details");
  if (details) details.open = true;
};
addEventListener("hashchange", reveal);
for (const a of document.querySelectorAll("nav a")) a.addEventListener("click", () => setTimeout(reveal));
reveal();
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => { for (const details of folded) details.open = false; });
