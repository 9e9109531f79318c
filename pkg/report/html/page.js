"use strict";
// Sorts and filters the table of images. Without this the page says the same.
(() => {
  const table = document.getElementById("images");
  if (!table) return;
  document.documentElement.classList.add("js");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const form = document.getElementById("controls");
  const shown = document.getElementById("shown");
  const heads = Array.from(table.tHead.rows[0].cells);
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  const key = (row, column, number) => {
    const cell = row.cells[column];
    if (number) return Number(cell.dataset.sort);
    return (cell.querySelector("b, .tag") || cell).textContent;
  };

  const sort = (column) => {
    const head = heads[column];
    const number = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : number; // the largest first
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keys = new Map(rows.map((row) => [row, key(row, column, number)]));
    const sign = down ? -1 : 1;
    rows.sort((a, b) => {
      const x = keys.get(a), y = keys.get(b);
      return sign * (number ? x - y : collator.compare(x, y));
    });
    body.append(...rows);
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(column));
    head.replaceChildren(button);
  });

  let texts;
  const filter = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verb = form.elements.verb.value, code = form.elements.code.value;
    texts ||= words.length > 0 && new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    let count = 0;
    for (const row of rows) {
      row.hidden = (verb && row.dataset.verb !== verb) || (code && row.dataset.code !== code) ||
        !words.every((word) => texts.get(row).includes(word));
      if (!row.hidden) count++;
    }
    shown.textContent = `${count} of ${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
  };

  let due;
  form.addEventListener("input", () => {
    clearTimeout(due);
    due = setTimeout(filter, 100);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
})();
