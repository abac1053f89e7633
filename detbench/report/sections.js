"use strict";
/* A click on a table's heading sorts, a field finds rows by name where there are many, and links open details. */
(() => {
  const MANY = 8;
  const value = (row, column) => {
    const text = row.cells[column]?.textContent.trim() ?? "";
    const number = Number.parseFloat(text.replace(/,/g, ""));
    return [Number.isNaN(number) ? null : number, text];
  };

  /** Numbers by size, words by letter, and what is missing last, whichever way. */
  function order(column, falling) {
    return (a, b) => {
      const [[x, one], [y, other]] = [value(a, column), value(b, column)];
      if ((x === null) !== (y === null)) return x === null ? 1 : -1;
      const found = x === null ? one.localeCompare(other) : x - y;
      return falling ? -found : found;
    };
  }

  function sort(table, column, heading) {
    const falling = heading.ariaSort !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.ariaSort = falling ? "descending" : "ascending";
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => row.cells.length > 1);
      body.append(...rows.sort(order(column, falling)));
    }
  }

  function reveal() {
    const details = document.getElementById(location.hash.slice(1))?.closest("details");
    if (details) details.open = true;
  }
  addEventListener("hashchange", reveal);
  reveal();

  for (const table of document.querySelectorAll(".table table")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, column, heading));
      heading.append(button);
    });
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => row.cells.length > 1);
    if (rows.length < MANY) continue;
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "Find a row";
    field.ariaLabel = `Find a row of ${table.caption.textContent}`;
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    });
    table.closest(".scroll").before(field);
  }
})();
